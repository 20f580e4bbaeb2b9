"""One limit for everybody who submits with a gateway's key, shared by all runs of a Prefect server.

It is a global concurrency limit named `songflow-<gateway>-<fingerprint of the key>`: 10 submits at once unless
somebody set another number in Prefect's UI, which is then never changed. It holds while a request is sent, not
while a song is waited for. Where Prefect cannot give it, the ledger's own pace (`songflow.ledger.pace`) still holds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError, concurrency
from prefect.exceptions import ObjectAlreadyExists

from songflow.access import Access

__all__ = ["DEFAULT_LIMIT", "limit_name", "submit_slot"]

log = logging.getLogger("songflow.tasks")

DEFAULT_LIMIT = 10


def limit_name(access: Access) -> str:
    """The limit that this account shares with everybody who has its key."""
    return f"songflow-{access.gateway}-{access.account.fingerprint}"


@asynccontextmanager
async def submit_slot(access: Access) -> AsyncIterator[None]:
    """Hold one of the key's slots. Trouble with Prefect is a warning: it must neither stop nor lose a submit."""
    async with AsyncExitStack() as held:
        if not access.is_embedded:  # nobody else can reach it
            await _enter(held, limit_name(access))
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


async def _enter(held: AsyncExitStack, name: str) -> None:
    try:
        try:
            await held.enter_async_context(_slot(name))
        except ConcurrencySlotAcquisitionError:
            await _create(name)
            await held.enter_async_context(_slot(name))
    except Exception as error:
        log.warning(
            "Submitting without the limit %s: Prefect cannot give it (%s).", name, type(error).__name__
        )


def _slot(name: str) -> AbstractAsyncContextManager[None]:
    # strict: without it a missing limit is no limit. A lease that Prefect cannot renew must not cut off a POST.
    return concurrency(name, strict=True, raise_on_lease_renewal_failure=False)


async def _create(name: str) -> None:
    async with get_client() as client:
        try:
            await client.create_global_concurrency_limit(
                GlobalConcurrencyLimitCreate(name=name, limit=DEFAULT_LIMIT)
            )
        except ObjectAlreadyExists:
            return  # another run was first
    log.info("Created the concurrency limit %s (%d at once).", name, DEFAULT_LIMIT)
