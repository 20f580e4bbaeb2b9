"""The frame of every paying command: the request key, the account, Prefect or not, and Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from cli.accounts import access_of, given_access, resolve
from cli.flow_calls import generate_as_flow, shared_parameters
from cli.options import Common, Gateway, Paying, Waiting
from cli.output import SIMULATED, Output
from cli.prefect_mode import use_prefect
from cli.run_display import generation_name, run_display
from songflow.accounts import Access
from songflow.errors import OutcomeUnknown, RequestNotSent, SongflowError, StillRunning
from songflow.families.family import Request
from songflow.families.field_types import Join
from songflow.gateways import DIALECTS, bills_nothing
from songflow.generation.lifecycle import generate_in, mint_key
from songflow.generation.policy import PayingPolicy
from songflow.generation.results import GenerationResult
from songflow.generation.session import Session
from songflow.ledger.queries import leading_submission
from songflow.ledger.rows import Submission
from songflow.ledger.states import RULES
from songflow.parameters import session_settings
from songflow.settings import debugging, gateway_address, gateway_key

__all__ = ["NewSong", "Order", "guarded", "hint_at_unused_keys", "named", "nothing_sent", "run_paid"]

_T = TypeVar("_T")
_Made = TypeVar("_Made", covariant=True)

log = logging.getLogger(f"songflow.{__name__}")


class Order(Protocol[_Made]):
    """What a paying command makes."""

    @property
    def needs_account(self) -> bool:
        """True if the options must name the account that pays (a gateway's key, a block, or the simulator)."""

    async def plan(
        self, session: Session, given: Access | None, fallbacks: Sequence[Access]
    ) -> tuple[Request, Access]:
        """The request and the account for it, of the one that the options name (None: they name none)."""

    async def run_flow(self, shared: dict[str, Any]) -> _Made:
        """Make it in a flow run, with the parameters that all flows share."""

    def result(self, made: GenerationResult) -> _Made:
        """What the command returns of a generation that was made in this process."""


@dataclass(frozen=True)
class NewSong:
    """A song from a request of its own, by the account that the options name."""

    request: Request
    needs_account: bool = True

    async def plan(
        self, _session: Session, given: Access | None, _fallbacks: Sequence[Access]
    ) -> tuple[Request, Access]:
        assert given is not None, "a new song needs an account"
        return self.request, given

    async def run_flow(self, shared: dict[str, Any]) -> GenerationResult:
        return await generate_as_flow(self.request, shared)

    def result(self, made: GenerationResult) -> GenerationResult:
        return made


def run_paid(
    output: Output,
    order: Order[_Made],
    paying: Paying,
    gateway: Gateway,
    waiting: Waiting,
    common: Common,
    *,
    join: Join = "local",
) -> _Made:
    """Make one generation as a flow run if a Prefect server is configured, else in plain Python.

    Raises:
        SongflowError: with everything that is needed to continue.
    """
    key = paying.key or mint_key()
    if paying.key is None:
        # Even with --quiet: without the key, a killed command could not be resumed.
        output.err.print(f"key: {key}", markup=False)
    if order.needs_account:
        hint_at_unused_keys(gateway)
    come_back = f"run the same command with --key {key}"
    return guarded(
        lambda: _run_paid(output, order, key, paying, gateway, waiting, common, join), key, common, come_back
    )


may_be_paid: str | None = None
"""How to continue the paying command that this process runs, from the moment a request could leave."""


def guarded(
    work: Callable[[], Awaitable[_T]],
    key: str | None,
    common: Common,
    come_back: str,
    left: Callable[[], Awaitable[SongflowError]] | None = None,
) -> _T:
    """Run a paying command; every error says what it may have cost and how to continue (`come_back`).

    `left` describes what Ctrl-C leaves behind, if the key is not that of one generation.

    Raises:
        SongflowError: with everything that is needed to continue.
    """
    global may_be_paid
    may_be_paid = come_back
    with named(key):
        try:
            return asyncio.run(_detaching(work, left or (lambda: _detached(key or "", common))))
        except KeyboardInterrupt:
            raise OutcomeUnknown(
                "Interrupted twice, so the outcome of the request was not looked up in the ledger.",
                next=f"{come_back}: it pays once at most.",
            ) from None
        except SongflowError:
            raise
        except Exception as error:
            if debugging():
                raise
            raise SongflowError(
                f"Something unexpected went wrong ({type(error).__name__}: {error}).",
                billed="maybe",
                next=f"{come_back}: it pays once at most, and the ledger has what was paid for; "
                "SONGFLOW_DEBUG=1 shows the details.",
            ) from None


@contextmanager
def named(key: str | None) -> Iterator[None]:
    """Add the request key to errors that do not have it."""
    try:
        yield
    except SongflowError as error:
        error.key = error.key or key
        raise


async def _run_paid(
    output: Output,
    order: Order[_Made],
    key: str,
    paying: Paying,
    gateway: Gateway,
    waiting: Waiting,
    common: Common,
    join: Join,
) -> _Made:
    policy = paying.safety(key).policy()  # a missing key of a fallback is an error before anything is sent
    if await use_prefect():
        if order.needs_account and gateway.credentials is None:
            gateway.account().access()  # so is a missing key of the gateway, before a flow run exists
        shared = await shared_parameters(gateway, waiting, paying.safety(key), paying.budget, common)
        with run_display(output, generation_name):
            return await order.run_flow(shared)
    return await _in_process(output, order, key, policy, paying, gateway, waiting, common, join)


async def _in_process(
    output: Output,
    order: Order[_Made],
    key: str,
    policy: PayingPolicy,
    paying: Paying,
    gateway: Gateway,
    waiting: Waiting,
    common: Common,
    join: Join,
) -> _Made:
    given = await (access_of if order.needs_account else given_access)(gateway)
    settings = replace(session_settings(waiting.group(), paying.safety(), paying.budget), join=join)
    async with Session(common.library_settings(), settings, resolve) as session:
        request, access = await order.plan(session, given, policy.fallbacks)
        with output.waiting(await generation_name(session, request)) as progress:
            await progress.expect(session, access, request.model_type, request.mode.value)
            made = await generate_in(session, request, access, key=key, policy=policy, progress=progress)
            return order.result(made)


async def _detaching(work: Callable[[], Awaitable[_T]], left: Callable[[], Awaitable[SongflowError]]) -> _T:
    try:
        return await work()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        raise await left() from None


async def _detached(key: str, common: Common) -> SongflowError:
    """Describe what Ctrl-C leaves behind, from the ledger."""
    settings, current = common.library_settings(), None
    if settings.exists():
        async with Session(settings, reads_only=True) as session:
            current = await _unfinished(session, key)
    if current is None or RULES[current.state].billed.value == "no":
        return nothing_sent(key)
    billed = f" ({SIMULATED})" if bills_nothing(current.gateway) else " and is billed"
    return StillRunning(
        f"Detached. The generation {current.any_id or ''} (state '{current.state}') continues at the gateway{billed}.",
        key=key,
        generation_id=current.any_id,
        state=current.state,
        billed=current.billed,
        next=f"run the same command with --key {key}, or `songflow rescue`.",
    )


def nothing_sent(key: str) -> RequestNotSent:
    """The error of a command that was interrupted before it paid."""
    return RequestNotSent("Interrupted before anything was sent.", key=key, next="run the command again.")


async def _unfinished(session: Session, key: str) -> Submission | None:
    """The submission of a key that is still at work: its own, else one that completes it under a key below it."""
    ledger = session.library.ledger.submissions
    current = leading_submission(await ledger.of_key(key))
    if current is None or RULES[current.state].unsettled:
        return current
    below = [leading_submission(await ledger.of_key(one)) for one in await ledger.states_by_prefix(f"{key}/")]
    return next((one for one in below if one is not None and RULES[one.state].unsettled), current)


def hint_at_unused_keys(gateway: Gateway) -> None:
    """Log that a key in the environment does not choose its gateway: spending money takes --gateway."""
    if gateway.gateway or gateway.credentials:
        return
    for dialect in DIALECTS.values():
        variable = dialect.key_variable if gateway_key(dialect.key_variable) else dialect.address_variable
        if dialect.base_url and (gateway_key(dialect.key_variable) or gateway_address(variable)):
            log.info(
                "%s is set, but no --gateway was given: using the built-in simulator. "
                "For real songs: --gateway %s.",
                variable,
                dialect.name,
            )
