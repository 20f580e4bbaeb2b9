"""The paid step: from a request to an accepted id, with a committed row before each outward act.

    intended  committed with body, account, price and lease     -> anybody can read what was about to be paid
    sending   compare-and-set by the lease's fence               -> nobody else may send
    POST      leaves once, shielded until its answer is stored   -> accepted | unsent | refused | unknown
    accepted  spool (synced) first, then the ledger

A process that finds its key in the ledger re-attaches to that submission. One window remains: a machine that dies
between the gateway's reading of the POST and our reading of its answer. That is `unknown`, and never sent again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from songflow import errors, events
from songflow.accounts import Access, reason_not_to_ask
from songflow.families.registry import differing_fields, family_of_model
from songflow.generation.error_texts import (
    failed_error,
    lost_error,
    stopped_error,
    twin_error,
    unknown_error,
)
from songflow.generation.policy import PAY_ONCE, PaidRequest, PayingPolicy
from songflow.generation.post import Post
from songflow.generation.session import Session
from songflow.ledger.adoption import adopt_entry
from songflow.ledger.lease import Lease
from songflow.ledger.queries import leading_submission
from songflow.ledger.rows import Caps, Intent, Submission
from songflow.ledger.states import RULES, State
from songflow.ledger.submissions import Claim
from songflow.runtime.concurrency import shielded
from songflow.runtime.retry import Attempts, Backoff, Clock, Sleep, retry
from songflow.settings import network_error

__all__ = ["retry_refusals", "settle_dead_sender", "submit_once"]

log = logging.getLogger(__name__)

INTENT_LEASE_SECONDS = 60.0
# How often to read the ledger while another process holds the key's intent or POST.
_OTHER_SENDER = Backoff(first=0.1, factor=1.5, longest=1.0)
_T = TypeVar("_T")


async def submit_once(
    session: Session,
    paid: PaidRequest,
    access: Access,
    policy: PayingPolicy = PAY_ONCE,
    *,
    before_post: Callable[[], None] = lambda: None,
) -> Submission:
    """Pay for a request at one account, or re-attach to the submission of its key. Sends one POST at most.

    Args:
        paid: The request and its key.
        access: The account that pays.
        policy: When the request may be paid for (again); the fallbacks are the caller's to try.
        before_post: Called directly before the POST, which may be long after this call began. If it raises, nothing
            is sent and its exception propagates.

    Returns:
        A submission that is accepted, running, overdue or succeeded: wait for it, then collect it.

    Raises:
        InputError: the account's gateway does not sell this model family, or cannot make this song, or the
            environment's proxies or certificates cannot be used.
        KeyConflict, LibraryError: nothing was sent.
        RequestRefused, RequestNotSent: not billed; `repeatable` says whether to try again.
        GenerationFailed: this key's generation failed earlier.
        SpendingStopped: over budget, or paused.
        LedgerOutdated: the spool knows paid generations that the ledger does not; nothing was sent.
        OutcomeUnknown, GenerationLost, UnsettledTwin: never sent again automatically.
        NotCollected: accepted and in the spool, but the ledger could not be written.
    """
    await _require_ready(session, paid, access, policy)
    intent = _intent(session, paid, access)
    other_sender = Attempts(_OTHER_SENDER)
    while True:
        lease = Lease.take(INTENT_LEASE_SECONDS)
        claim = await _intend(session, intent, lease, policy)
        if claim.stopped is not None:
            stopped = stopped_error(paid.key, claim.stopped)
            session.events.emit_once(events.used_up(paid.key, stopped))
            raise stopped
        submission = _claimed(claim, intent)
        if claim.mine:
            sent = await Post(session, intent, access, submission).send_in_turn(before_post)
            if sent is not None:
                return sent
        elif submission.state is State.SENDING and submission.lease.is_dead():
            await settle_dead_sender(session, submission)
        elif submission.state is State.UNKNOWN and await _adopt(session, submission):
            continue
        elif submission.state in {State.INTENDED, State.SENDING}:
            await asyncio.sleep(other_sender.next_pause() or 0.0)
        else:
            found = _reattached(submission)
            level = session.events.success_level
            log.log(level, "Key %s is already %s: nothing is sent again.", found.key, found.state)
            return found


async def _intend(session: Session, intent: Intent, lease: Lease, policy: PayingPolicy) -> Claim:
    """Commit the intent to pay; if this task is cancelled meanwhile, nothing stays reserved."""
    ledger = session.library.ledger.submissions
    claims: list[Claim] = []

    async def intend() -> None:
        stop_at_twin = policy.if_unsettled == "stop"
        claims.append(
            await ledger.intend(intent, lease, stop_at_twin=stop_at_twin, pay_again=policy.repayable)
        )

    try:
        await shielded(intend())
    except asyncio.CancelledError:
        for claim in claims:
            if claim.mine and claim.submission is not None:
                with suppress(errors.LibraryError):  # the lease expires anyway
                    await shielded(
                        ledger.never_sent(
                            claim.submission.id, lease.fence, "it was cancelled before it was sent"
                        )
                    )
        raise
    return claims[0]


async def retry_refusals(
    attempt: Callable[[], Awaitable[_T]],
    backoff: Backoff,
    *,
    clock: Clock = time.monotonic,
    sleep: Sleep = lambda seconds: asyncio.sleep(seconds),
) -> _T:
    """Retry a submit that was certainly not billed and may be repeated, after the pause that the gateway asks for.

    Raises:
        NotBilled: the last refusal, if it is final or the backoff is used up.
    """
    return await retry(
        attempt,
        on=errors.NotBilled,
        when=lambda error: error.repeatable,
        asked=lambda error: error.retry_after,
        backoff=backoff,
        clock=clock,
        sleep=sleep,
    )


async def settle_dead_sender(session: Session, submission: Submission) -> None:
    """Settle a submission whose sender died in its POST: as this machine's spool says, else as `unknown`.

    The spool is read after the death was seen, and a row that has moved meanwhile stays as it is.
    """
    if await _adopt(session, submission):
        return
    reason = "its process died while the request was under way"
    moved = await session.library.ledger.submissions.unknown(submission.id, submission.lease.fence, reason)
    if moved:
        session.events.emit(events.trouble("unknown", submission, unknown_error(submission.key, reason)))


async def _adopt(session: Session, submission: Submission) -> bool:
    """Settle a submission as this machine's spool says; False if the spool knows no more than the ledger."""
    entry = await asyncio.to_thread(session.library.spool.find, submission.id)
    if entry is None or entry.outcome == submission.state:
        return False
    return await adopt_entry(session.library.ledger.submissions, entry)


async def _require_ready(session: Session, paid: PaidRequest, access: Access, policy: PayingPolicy) -> None:
    """Raise what forbids to pay for a request here and now, unless its key has a submission to re-attach to.

    A re-attached submission is paid for already: what prevents its collection is an error of another kind.
    """
    reason = await _reason_not_to_pay(session, paid, access)
    if reason is None:
        return
    known = leading_submission(await session.library.ledger.submissions.of_key(paid.key))
    if known is None or _may_post(known.state, policy):
        raise reason


async def _reason_not_to_pay(
    session: Session, paid: PaidRequest, access: Access
) -> errors.SongflowError | None:
    """There is no room, no gateway for it, no way to send it, or a ledger that is older than its spool."""
    reason = reason_not_to_ask(access, paid.request) or network_error()
    if reason is not None:
        return reason
    try:
        session.library.require_space()
        await session.library.require_current_ledger()
    except (errors.LibraryError, errors.LedgerOutdated) as error:
        return error
    return None


def _may_post(state: State, policy: PayingPolicy) -> bool:
    """True if a POST may follow for a key whose submission is in this state."""
    return state is State.INTENDED or RULES[state].sends or state in policy.repayable


def _intent(session: Session, paid: PaidRequest, access: Access) -> Intent:
    request, limits = paid.request, session.library.settings
    family = family_of_model(request.model_type)
    runs = paid.runs or session.settings.runs
    return Intent(
        key=paid.key,
        body=request.canonical(),
        body_hash=family.body_hash(request.body()),
        hash_version=family.hash_version,
        model_type=request.model_type,
        mode=request.mode.value,
        gateway=access.gateway,
        dialect=access.dialect_text(),
        base_url=access.account.base_url,
        account=access.account.alias,
        key_fingerprint=access.account.fingerprint,
        price=access.price_of(request),
        runs=runs,
        caps=Caps(limits.budget, limits.budget_per_day, session.settings.budget),
        budget_run=session.settings.budget_run
        or runs.root_flow_run_id
        or _own_run(session, paid.part_of or paid.key),
        kin=paid.kin,
    )


def _own_run(session: Session, key: str) -> str | None:
    """A request without a run counts as a run of its own, if the session has a budget."""
    return key if session.settings.budget is not None else None


def _claimed(claim: Claim, intent: Intent) -> Submission:
    """The submission of a claim.

    Raises:
        KeyConflict: the key belongs to another request.
        UnsettledTwin: a crashed run left the same request unsettled.
    """
    if claim.conflict is not None:
        fields = differing_fields(json.loads(claim.conflict.body), json.loads(intent.body))
        raise errors.KeyConflict(
            f"The key {intent.key!r} is already used for another request; these fields differ: {', '.join(fields)}.",
            key=intent.key,
            next="use another key (in a flow: another step) for another song; nothing was sent.",
        )
    if claim.twin is not None:
        raise twin_error(claim.twin)
    assert claim.submission is not None
    return claim.submission


def _reattached(submission: Submission) -> Submission:
    """An existing submission that can be waited for.

    Raises:
        OutcomeUnknown, GenerationLost, GenerationFailed: it cannot.
    """
    match submission.state:
        case State.UNKNOWN:
            raise unknown_error(submission.key, submission.error or "its answer was lost")
        case State.LOST:
            raise lost_error(submission, submission.error or "the gateway does not know it any more")
        case State.FAILED:
            raise failed_error(submission, submission.error or "the gateway gave no reason")
    return submission
