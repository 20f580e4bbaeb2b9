"""Limit submits per gateway key in Prefect: how many at once, and how many a second.

Both are global concurrency limits of a Prefect server, shared by all workers and visible in its UI. They are created
when missing, and their numbers are never changed afterwards: `Songflow: requests at once to GATEWAY (key FINGERPRINT)`
(10; a slot is held while a request is sent, not while its song is made) and `Songflow: requests per second to ...` (20
in one go, then 2 a second: its slots return by decay). A submit makes three calls to Prefect's server for them.

These limits act before the gateway has complained. The reaction to its 429 is `songflow.ledger.pace`, which also
applies without Prefect; the cells of a sweep use `songflow.sweeps.window` instead of these limits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Literal

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError, concurrency, rate_limit
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError

from songflow.accounts import Access

__all__ = [
    "DEFAULT_BURST",
    "DEFAULT_LIMIT",
    "DEFAULT_PER_SECOND",
    "ensure_limit",
    "limit_name",
    "limits_of",
    "rate_name",
    "submit_slot",
]

log = logging.getLogger(f"songflow.{__name__}")

DEFAULT_LIMIT = 10
DEFAULT_BURST = 20
DEFAULT_PER_SECOND = 2.0


def limit_name(access: Access) -> str:
    """Name of the limit on simultaneous submits with this account's key."""
    return f"Songflow: requests at once to {access.gateway} (key {access.account.fingerprint})"


def rate_name(access: Access) -> str:
    """Name of the limit on the rate of submits with this account's key."""
    return f"Songflow: requests per second to {access.gateway} (key {access.account.fingerprint})"


def limits_of(access: Access) -> tuple[GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitCreate]:
    """Both limits of an account, as they are created: the number at once, and the rate."""
    return (
        GlobalConcurrencyLimitCreate(name=limit_name(access), limit=DEFAULT_LIMIT),
        GlobalConcurrencyLimitCreate(
            name=rate_name(access), limit=DEFAULT_BURST, slot_decay_per_second=DEFAULT_PER_SECOND
        ),
    )


async def ensure_limit(
    client: PrefectClient, access: Access, limit: GlobalConcurrencyLimitCreate
) -> Literal["made", "changed", "kept"]:
    """Create a limit of an account, or rename the one of an older version, which keeps the numbers set by a person."""
    former = f"songflow-{access.gateway}-{access.account.fingerprint}"
    former += "-rate" if limit.name == rate_name(access) else ""
    with suppress(ObjectNotFound):
        await client.read_global_concurrency_limit_by_name(limit.name)
        return "kept"
    with suppress(ObjectNotFound):
        await client.read_global_concurrency_limit_by_name(former)
        await client.update_global_concurrency_limit(former, GlobalConcurrencyLimitUpdate(name=limit.name))
        return "changed"
    await client.create_global_concurrency_limit(limit)
    return "made"


@asynccontextmanager
async def submit_slot(access: Access) -> AsyncIterator[None]:
    """Wait for the rate of a key, then hold one of its slots.

    Errors of Prefect are logged as warnings: they must neither prevent nor lose a submit.
    """
    async with AsyncExitStack() as held:
        if not access.is_embedded:  # an embedded simulator serves this process only
            at_once, rate = limits_of(access)
            await _acquired(lambda: rate_limit(rate.name, strict=True), access, rate)
            await _acquired(lambda: held.enter_async_context(_slot(at_once.name)), access, at_once)
        try:
            yield
        finally:
            await _leave(held)


async def _leave(held: AsyncExitStack) -> None:
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        await held.aclose()
    except Exception as error:
        log.warning("The slot could not be given back (%s); it expires by itself.", type(error).__name__)
    if task is not None and task.cancelling() > before:
        # Prefect swallows a cancellation that arrives while it releases a slot.
        raise asyncio.CancelledError


async def _acquired(
    acquire: Callable[[], Awaitable[None]], access: Access, limit: GlobalConcurrencyLimitCreate
) -> None:
    """Acquire from a limit, creating it if it is missing."""
    try:
        try:
            await acquire()
        except ConcurrencySlotAcquisitionError:
            await _create(access, limit)
            await acquire()
    except Exception as error:
        log.warning(
            "Submitting without the limit %s: Prefect cannot give it (%s).", limit.name, type(error).__name__
        )


def _slot(name: str) -> AbstractAsyncContextManager[None]:
    # Without `strict` a missing limit would not limit. A lease that Prefect cannot renew must not interrupt a POST.
    return concurrency(name, strict=True, raise_on_lease_renewal_failure=False)


async def _create(access: Access, limit: GlobalConcurrencyLimitCreate) -> None:
    async with get_client() as client:
        try:
            outcome = await ensure_limit(client, access, limit)
        except (ObjectAlreadyExists, PrefectHTTPStatusError):
            # Another run created it first. On PostgreSQL, the server answers the second of two at once with 500.
            return
    if outcome == "made":
        log.info("Created the concurrency limit '%s' (%d).", limit.name, limit.limit)
