"""Limit submits per gateway key in Prefect: how many at once, and how many a second.

Both are global concurrency limits of a Prefect server, shared by all workers and visible in its UI. They are created
when missing and never changed afterwards: `songflow-<gateway>-<fingerprint of the key>` (10 submits at once; a slot
is held while a request is sent, not while its song is made) and the same name with `-rate` (20 in one go, then 2 a
second: its slots return by decay). A submit makes three calls to Prefect's server for them.

These limits act before the gateway has complained. The reaction to its 429 is `songflow.ledger.pace`, which also
applies without Prefect; the cells of a sweep use `songflow.sweeps.window` instead of these limits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError, concurrency, rate_limit
from prefect.exceptions import ObjectAlreadyExists, PrefectHTTPStatusError

from songflow.accounts import Access

__all__ = [
    "DEFAULT_BURST",
    "DEFAULT_LIMIT",
    "DEFAULT_PER_SECOND",
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
    return f"songflow-{access.gateway}-{access.account.fingerprint}"


def rate_name(access: Access) -> str:
    """Name of the limit on the rate of submits with this account's key."""
    return f"{limit_name(access)}-rate"


def limits_of(access: Access) -> tuple[GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitCreate]:
    """Both limits of an account, as they are created: the number at once, and the rate."""
    return (
        GlobalConcurrencyLimitCreate(name=limit_name(access), limit=DEFAULT_LIMIT),
        GlobalConcurrencyLimitCreate(
            name=rate_name(access), limit=DEFAULT_BURST, slot_decay_per_second=DEFAULT_PER_SECOND
        ),
    )


@asynccontextmanager
async def submit_slot(access: Access) -> AsyncIterator[None]:
    """Wait for the rate of a key, then hold one of its slots.

    Errors of Prefect are logged as warnings: they must neither prevent nor lose a submit.
    """
    async with AsyncExitStack() as held:
        if not access.is_embedded:  # an embedded simulator serves this process only
            at_once, rate = limits_of(access)
            await _acquired(lambda: rate_limit(rate.name, strict=True), rate)
            await _acquired(lambda: held.enter_async_context(_slot(at_once.name)), at_once)
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


async def _acquired(acquire: Callable[[], Awaitable[None]], limit: GlobalConcurrencyLimitCreate) -> None:
    """Acquire from a limit, creating it if it is missing."""
    try:
        try:
            await acquire()
        except ConcurrencySlotAcquisitionError:
            await _create(limit)
            await acquire()
    except Exception as error:
        log.warning(
            "Submitting without the limit %s: Prefect cannot give it (%s).", limit.name, type(error).__name__
        )


def _slot(name: str) -> AbstractAsyncContextManager[None]:
    # Without `strict` a missing limit would not limit. A lease that Prefect cannot renew must not interrupt a POST.
    return concurrency(name, strict=True, raise_on_lease_renewal_failure=False)


async def _create(limit: GlobalConcurrencyLimitCreate) -> None:
    async with get_client() as client:
        try:
            await client.create_global_concurrency_limit(limit)
        except (ObjectAlreadyExists, PrefectHTTPStatusError):
            # Another run created it first. On PostgreSQL, the server answers the second of two at once with 500.
            return
    log.info("Created the concurrency limit %s (%d at once).", limit.name, limit.limit)
