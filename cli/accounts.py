"""Accounts: the one that a command line names, and the one that took a stored submission."""

from __future__ import annotations

import os

from cli.options import Gateway
from songflow.accounts import Access, resolve_from_environment
from songflow.ledger.rows import Submission

__all__ = ["access_of", "given_access", "resolve"]

_BLOCK = "block:"
_UNSAVED = "/unsaved"


async def access_of(gateway: Gateway) -> Access:
    """The access that the options name: a credentials block, or a gateway whose key the environment holds.

    Raises:
        InputError, MissingCredentials: nothing was sent.
    """
    if gateway.credentials is None:
        return gateway.account().access()
    _spare_prefect_telemetry()
    from blocks.resolver import load_credentials

    return (await load_credentials(gateway.credentials)).get_access()


async def given_access(gateway: Gateway) -> Access | None:
    """The access that the options name; None if they name none, and the ledger knows the account."""
    if gateway.credentials is None and gateway.account().is_empty:
        return None
    return await access_of(gateway)


async def resolve(submission: Submission) -> Access | None:
    """The access of a stored submission. Prefect is imported (1.5 s) only for one that a saved block took."""
    if not submission.account.startswith(_BLOCK) or submission.account.endswith(_UNSAVED):
        return await resolve_from_environment(submission)
    _spare_prefect_telemetry()
    from blocks.resolver import resolve_access

    return await resolve_access(submission)


def _spare_prefect_telemetry() -> None:
    """Switch off the telemetry of the server that Prefect starts for a block; it would print a traceback."""
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
