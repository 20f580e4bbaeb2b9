"""How many submits at once, and how many a second: two limits for everybody who has a gateway's key.

Both are global concurrency limits of a Prefect server, made where they are missing and never changed after that:
`songflow-<gateway>-<fingerprint of the key>` (10 submits at once; it holds while a request is sent, not while a
song is waited for) and the same with `-rate` (20 in one go, then 2 a second: its slots come back by decay).
Where Prefect cannot give them, the ledger's own pace (`songflow.ledger.pace`) still holds.
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
    """The limit that this account shares with everybody who has its key."""
    return f"songflow-{access.gateway}-{access.account.fingerprint}"


def rate_name(access: Access) -> str:
    """The rate that this account shares with everybody who has its key."""
    return f"{limit_name(access)}-rate"


def limits_of(access: Access) -> tuple[GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitCreate]:
    """Both limits of an account, as they are made where they are missing: the number at once, and the rate."""
    return (
        GlobalConcurrencyLimitCreate(name=limit_name(access), limit=DEFAULT_LIMIT),
        GlobalConcurrencyLimitCreate(
            name=rate_name(access), limit=DEFAULT_BURST, slot_decay_per_second=DEFAULT_PER_SECOND
        ),
    )


@asynccontextmanager
async def submit_slot(access: Access) -> AsyncIterator[None]:
    """Wait for the key's rate and hold one of its slots.

    Trouble with Prefect is a warning: it must neither stop nor lose a submit.
    """
    async with AsyncExitStack() as held:
        if not access.is_embedded:  # nobody else can reach it
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
        log.warning("The slot could not be given back (%s): it ends by itself.", type(error).__name__)
    if task is not None and task.cancelling() > before:
        # Prefect 3.8 swallows a cancellation that comes while it gives a slot back.
        raise asyncio.CancelledError


async def _acquired(acquire: Callable[[], Awaitable[None]], limit: GlobalConcurrencyLimitCreate) -> None:
    """Acquire from a limit, which is made where it is missing."""
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
    # strict: without it a missing limit is no limit. A lease that Prefect cannot renew must not cut off a POST.
    return concurrency(name, strict=True, raise_on_lease_renewal_failure=False)


async def _create(limit: GlobalConcurrencyLimitCreate) -> None:
    async with get_client() as client:
        try:
            await client.create_global_concurrency_limit(limit)
        except (ObjectAlreadyExists, PrefectHTTPStatusError):
            # Another run was first; to the second of two at the same moment, a server on PostgreSQL answers 500.
            return
    log.info("Created the concurrency limit %s (%d at once).", limit.name, limit.limit)
