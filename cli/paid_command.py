"""What every paying command does around its request: the key, the access, Prefect or not, and Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from cli.accounts import access_of, resolve
from cli.options import Common, Gateway, Paying, Waiting
from cli.output import Output
from cli.prefect_mode import use_prefect
from songflow.access import fallbacks_from_environment
from songflow.api import generate_in, mint_key
from songflow.errors import OutcomeUnknown, RequestNotSent, SongflowError, StillRunning
from songflow.gateways import DIALECTS
from songflow.ledger.states import RULES
from songflow.ledger.submissions import speaker
from songflow.request import SongRequest
from songflow.results import GenerationResult
from songflow.session import Session

if TYPE_CHECKING:
    from prefect.blocks.core import Block

__all__ = ["guarded", "hint_at_unused_keys", "named", "run_paid"]

_T = TypeVar("_T")

log = logging.getLogger("songflow")


def run_paid(
    output: Output, request: SongRequest, paying: Paying, gateway: Gateway, waiting: Waiting, common: Common
) -> GenerationResult:
    """Make one generation as a flow run where a Prefect server is configured, else in plain Python.

    Raises:
        SongflowError: with everything a person needs to go on.
    """
    key = paying.key or mint_key()
    if paying.key is None:
        # Always, even with --quiet: without it a killed command could not be come back to.
        output.err.print(f"key: {key}", markup=False)
    hint_at_unused_keys(gateway)
    come_back = f"run the same command with --key {key}"
    return guarded(
        lambda: _run_paid(output, request, key, paying, gateway, waiting, common), key, common, come_back
    )


def guarded(
    work: Callable[[], Awaitable[_T]],
    key: str,
    common: Common,
    come_back: str,
    left: Callable[[], Awaitable[SongflowError]] | None = None,
) -> _T:
    """Run what pays under a key; whatever ends it, the error says what it may have cost and how to `come_back`.

    `left` tells what Ctrl-C leaves behind, where the key is not that of one generation.

    Raises:
        SongflowError: with everything a person needs to go on.
    """
    with named(key):
        try:
            return asyncio.run(_detaching(work, left or (lambda: _detached(key, common))))
        except KeyboardInterrupt:
            raise OutcomeUnknown(
                "Interrupted twice, so the ledger was not asked what became of the request.",
                next=f"{come_back}: it pays once at most.",
            ) from None
        except SongflowError:
            raise
        except Exception as error:
            if os.environ.get("SONGFLOW_DEBUG"):
                raise
            raise SongflowError(
                f"Something unexpected went wrong ({type(error).__name__}: {error}).",
                billed="maybe",
                next=f"{come_back}: it pays once at most, and the ledger has what was paid for; "
                "SONGFLOW_DEBUG=1 shows the details.",
            ) from None


@contextmanager
def named(key: str | None) -> Iterator[None]:
    """Errors that do not know the request key are given it."""
    try:
        yield
    except SongflowError as error:
        error.key = error.key or key
        raise


async def _run_paid(
    output: Output,
    request: SongRequest,
    key: str,
    paying: Paying,
    gateway: Gateway,
    waiting: Waiting,
    common: Common,
) -> GenerationResult:
    fallbacks_from_environment(paying.fallback)  # a missing key is said here, before anything is sent
    if use_prefect():
        return await _as_flow(request, key, paying, gateway, waiting, common)
    return await _in_process(output, request, key, paying, gateway, waiting, common)


async def _detaching(work: Callable[[], Awaitable[_T]], left: Callable[[], Awaitable[SongflowError]]) -> _T:
    try:
        return await work()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        raise await left() from None


async def _in_process(
    output: Output,
    request: SongRequest,
    key: str,
    paying: Paying,
    gateway: Gateway,
    waiting: Waiting,
    common: Common,
) -> GenerationResult:
    access = await access_of(gateway)
    async with (
        Session(common.library_settings(), paying.session_settings(waiting), resolve) as session,
        output.waiting(f"'{request.prompt[:40]}'") as progress,
    ):
        return await generate_in(
            session,
            request,
            access,
            key=key,
            if_unsettled=paying.if_unsettled,
            retry_errors=paying.retry_errors,
            fallbacks=fallbacks_from_environment(paying.fallback),
            progress=progress,
        )


async def _as_flow(
    request: SongRequest, key: str, paying: Paying, gateway: Gateway, waiting: Waiting, common: Common
) -> GenerationResult:
    from blocks import SongLibrary
    from blocks.resolver import load_credentials
    from flows.generate import generate_song

    credentials: Block | None = None
    if gateway.credentials is not None:
        credentials = await load_credentials(gateway.credentials)
    else:
        gateway.access()  # a missing key is said here, before a flow run exists
    result: GenerationResult = await generate_song(
        **request.model_dump(mode="json"),
        credentials=credentials,
        gateway=gateway.gateway,
        base_url=gateway.base_url,
        submit_path=gateway.submit_path,
        fetch_path=gateway.fetch_path,
        shape=gateway.shape,
        library=SongLibrary.of(common.library_settings()),
        key=key,
        if_unsettled=paying.if_unsettled,
        retry_errors=paying.retry_errors,
        retries=paying.retries,
        poll_interval=waiting.poll_interval,
        deadline=waiting.deadline,
        budget=paying.budget,
        fallback_gateways=list(paying.fallback) or None,
    )
    return result


async def _detached(key: str, common: Common) -> SongflowError:
    """What Ctrl-C leaves behind, read from the ledger."""
    async with Session(common.library_settings()) as session:
        current = speaker(await session.library.ledger.submissions.of_key(key))
    if current is None or RULES[current.state].billed.value == "no":
        return RequestNotSent("Interrupted before anything was sent.", key=key, next="run the command again.")
    return StillRunning(
        f"Detached. The generation {current.any_id or ''} (state '{current.state}') goes on at the gateway "
        "and is billed.",
        key=key,
        generation_id=current.any_id,
        state=current.state,
        billed=current.billed,
        next=f"come back with the same command and --key {key}, or `songflow rescue`.",
    )


def hint_at_unused_keys(gateway: Gateway) -> None:
    """A key in the environment does not choose its gateway: spending money takes an explicit word."""
    if gateway.gateway or gateway.credentials:
        return
    for dialect in DIALECTS.values():
        if dialect.base_url and os.environ.get(dialect.key_variable):
            log.info(
                "%s is set, but no --gateway was given: using the built-in simulator. "
                "For real songs: --gateway %s.",
                dialect.key_variable,
                dialect.name,
            )
