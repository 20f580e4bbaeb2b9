"""Accounts: the one that a command line names, and the one that took a stored submission."""

from __future__ import annotations

import logging
import os

from cli.options import Gateway
from cli.prefect_mode import configured_server, load_prefect, trouble_with
from songflow.accounts import Access, resolve_from_environment
from songflow.errors import MissingCredentials
from songflow.ledger.rows import Submission

__all__ = ["access_of", "given_access", "resolve"]

log = logging.getLogger(f"songflow.{__name__}")

_BLOCK = "block:"
_UNSAVED = "/unsaved"


async def access_of(gateway: Gateway) -> Access:
    """The access that the options name: a credentials block, or a gateway whose key the environment holds.

    Raises:
        InputError, MissingCredentials: nothing was sent.
    """
    if gateway.credentials is None:
        return gateway.account().access()
    trouble = await _prefect_trouble()
    if trouble is not None:
        raise MissingCredentials(
            f"The credentials block {gateway.credentials!r} cannot be loaded: {trouble}.",
            next="start that server (`prefect server start`), or correct PREFECT_API_URL; nothing was sent.",
        )
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
    trouble = await _prefect_trouble()
    if trouble is not None:
        log.warning("The block of the account %s cannot be loaded: %s.", submission.account, trouble)
        return await resolve_from_environment(submission)
    from blocks.resolver import resolve_access

    return await resolve_access(submission)


async def _prefect_trouble() -> str | None:
    """Prepare to load a block with Prefect: why the configured server cannot give it, or None.

    Raises:
        InvalidEnvironment: a setting that Prefect would read cannot be used.
    """
    server = configured_server()
    trouble = await trouble_with(server) if server is not None else None
    if server is not None and trouble is not None:
        return f"the Prefect server at {server.shown} {trouble}"
    _spare_prefect_telemetry()
    load_prefect()
    return None


def _spare_prefect_telemetry() -> None:
    """Switch off the telemetry of the server that Prefect starts for a block; it would print a traceback."""
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
