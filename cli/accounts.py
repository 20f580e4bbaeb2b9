"""Whose key: the account that a command line names, and the one that took a stored submission."""

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
        return gateway.access()
    _spare_prefect_telemetry()
    from blocks.resolver import load_credentials

    return (await load_credentials(gateway.credentials)).get_access()


async def given_access(gateway: Gateway) -> Access | None:
    """The access that the options name; None where they name none, and the ledger's aliases find it."""
    if gateway.gateway is None and gateway.credentials is None and gateway.base_url is None:
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
    """Without a server Prefect starts one for a block; its telemetry would write a traceback to our stderr."""
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
