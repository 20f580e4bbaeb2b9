"""The receiver of gateways' callbacks: each becomes a hint in the ledger, which makes a wait ask at once."""

from songflow.webhooks.app import webhook_app

__all__ = ["webhook_app"]
