"""The paid step: from a request to an accepted id, with a committed row before each outward act.

    intended  committed with body, account, price and lease     -> anybody may read what was about to be paid
    sending   compare-and-set by the lease's fence               -> nobody else may send
    POST      leaves once, shielded until its answer is stored   -> accepted | unsent | refused | unknown
    accepted  spool (synced) first, then the ledger

A process that meets an existing key takes what stands there instead. What remains is the machine that dies
between the gateway's reading of the POST and our reading of its answer: that is `unknown`, and never resent.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from songflow import errors
from songflow.access import Access
from songflow.gateways import Accepted, Answer, NotSent, Outcome, Refused, Unknown
from songflow.ledger.lease import Lease
from songflow.ledger.rows import Intent, RunIds, Submission
from songflow.ledger.spool import SpoolEntry
from songflow.ledger.states import State
from songflow.ledger.submissions import Claim
from songflow.messages import (
    failed_error,
    lost_error,
    not_sent_error,
    refused_error,
    told_as_paid,
    twin_error,
    unknown_error,
)
from songflow.request import HASH_VERSION, SongRequest, body_hash, differing_fields
from songflow.session import Session

__all__ = ["repeat_refusals", "shielded", "submit"]

log = logging.getLogger("songflow.paid")

INTENT_LEASE_SECONDS = 60.0
# Another process holds the key's intent or POST: how often to look whether it has moved.
_LOOK_AGAIN_SECONDS = 0.1
_COMMIT_PATIENCE_SECONDS = 60.0
_T = TypeVar("_T")


async def submit(
    session: Session,
    request: SongRequest,
    access: Access,
    *,
    key: str,
    runs: RunIds | None = None,
    if_unsettled: str = "stop",
    retry_errors: bool = False,
) -> Submission:
    """Pay for a request once, or re-attach to what its key already stands for. Sends one POST at most.

    Returns:
        A submission that is accepted, running, overdue or succeeded: wait for it, then collect it.

    Raises:
        KeyConflict, LibraryError: nothing was sent.
        RequestRefused, RequestNotSent: not billed; `repeatable` says whether to try again.
        GenerationFailed: this key's generation failed earlier (and `retry_errors` is off).
        OutcomeUnknown, GenerationLost, UnsettledTwin: never sent again by itself.
        NotCollected: accepted and in the spool, but the ledger would not take it.
    """
    library = session.library
    library.require_space()
    intent = _intent(request, access, key, runs or session.settings.runs)
    while True:
        lease = Lease.take(INTENT_LEASE_SECONDS)
        claim = await library.ledger.submissions.intend(
            intent, lease, stop_at_twin=if_unsettled == "stop", retry_failed=retry_errors
        )
        submission = _claimed(claim, intent)
        if claim.mine:
            sent = await _send_shielded(session, intent, access, submission)
            if sent is not None:
                return sent
        elif submission.state is State.SENDING and submission.lease.is_dead():
            await settle_dead_sender(session, submission)
        elif submission.state is State.UNKNOWN and await _adopt(session, submission):
            continue
        elif submission.state in {State.INTENDED, State.SENDING}:
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        else:
            return _reattached(submission)


async def shielded(work: Coroutine[Any, Any, _T]) -> _T:
    """Run work to its end even if we are cancelled meanwhile; the cancellation then takes effect."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
        except Exception:
            break  # the task's own error: raised from result() below
    if cancelled is not None:
        if not task.cancelled() and task.exception() is not None:
            log.error("%s", task.exception())
        raise cancelled
    return task.result()


async def repeat_refusals(
    attempt: Callable[[], Awaitable[_T]],
    *,
    retries: int,
    within: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> _T:
    """Repeat what was certainly not billed and may be repeated, at most `retries` times and `within` seconds.

    Raises:
        NotBilled: the last refusal, when it is final or the patience is used up.
    """
    start, number = clock(), 0
    while True:
        try:
            return await attempt()
        except errors.NotBilled as error:
            # Doubling from 1 s, spread so that many processes do not come back together.
            pause = error.retry_after or 2**number * (0.5 + random.random() / 2)
            if not error.repeatable or number >= retries or clock() - start + pause > within:
                raise
            log.warning("%s Trying again in %.0f s.", error.message, pause)
            await sleep(pause)
            number += 1


async def settle_dead_sender(session: Session, submission: Submission) -> None:
    """A sender died in its POST: `accepted` if its answer reached the spool of this disk, else `unknown`."""
    if not await _adopt(session, submission):
        await session.library.ledger.submissions.unknown(
            submission.id, submission.lease.fence, "its process died while the request was under way"
        )


async def _adopt(session: Session, submission: Submission) -> bool:
    """Make a submission `accepted` where its answer reached the spool of this disk; False where it did not."""
    entry = await asyncio.to_thread(session.library.spool.find, submission.id)
    if entry is None:
        return False
    await session.library.ledger.submissions.accepted(
        submission.id, entry.generation_id, entry.track_ids, answer=None
    )
    return True


def _intent(request: SongRequest, access: Access, key: str, runs: RunIds) -> Intent:
    return Intent(
        key=key,
        body=request.canonical(),
        body_hash=body_hash(request.body()),
        hash_version=HASH_VERSION,
        gateway=access.gateway,
        dialect=access.dialect_text(),
        base_url=access.account.base_url,
        account=access.account.alias,
        key_fingerprint=access.account.fingerprint,
        price=access.price_of(request),
        runs=runs,
    )


def _claimed(claim: Claim, intent: Intent) -> Submission:
    """The submission of a claim, or the error that the claim stands for."""
    if claim.conflict is not None:
        fields = differing_fields(json.loads(claim.conflict.body), json.loads(intent.body))
        raise errors.KeyConflict(
            f"The key {intent.key!r} already stands for another request; these fields differ: {', '.join(fields)}.",
            key=intent.key,
            next="use another key (in a flow: another step) for another song; nothing was sent.",
        )
    if claim.twin is not None:
        raise twin_error(claim.twin)
    assert claim.submission is not None
    return claim.submission


async def _send_shielded(
    session: Session, intent: Intent, access: Access, submission: Submission
) -> Submission | None:
    try:
        return await shielded(_send(session, intent, access, submission))
    except asyncio.CancelledError:
        # This process lives on, but nobody in it looks after the submission any more.
        with suppress(errors.LibraryError):
            await shielded(session.library.ledger.submissions.release(submission.id, submission.lease.fence))
        raise


async def _send(
    session: Session, intent: Intent, access: Access, submission: Submission
) -> Submission | None:
    """The POST and the commit of its outcome; None where another process took the intent over."""
    ledger = session.library.ledger.submissions
    try:
        gateway = await session.gateway(access)
    except BaseException:
        await ledger.release(
            submission.id, submission.lease.fence
        )  # nothing left: let the next one try at once
        raise
    seconds = session.settings.submit_timeout + session.settings.lease_margin
    lease = submission.lease.extended(seconds)
    if not await ledger.begin_send(submission.id, lease):
        return None
    send_before = _awake_clock() + seconds
    log.info("Sending the request (key %s, %s, price %g).", intent.key, intent.gateway, intent.price)
    outcome: Outcome
    try:
        outcome = await gateway.submit(json.loads(intent.body), may_send=lambda: _awake_clock() < send_before)
    except Exception as error:
        log.exception("The gateway's client failed.")
        outcome = Unknown(f"our own client failed ({type(error).__name__})", None)
    return await _commit_outcome(session, intent, submission, outcome)


def _awake_clock() -> float:
    """Seconds that go on while the process is stopped or the machine sleeps: a lease's time does, too."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


async def _commit_outcome(
    session: Session, intent: Intent, submission: Submission, outcome: Outcome
) -> Submission:
    ledger = session.library.ledger.submissions
    match outcome:
        case Accepted():
            taken = replace(
                submission,
                state=State.ACCEPTED,
                generation_id=outcome.generation_id,
                track_ids=outcome.track_ids,
            )
            with told_as_paid(taken):
                await _commit_accepted(session, intent, submission, outcome)
                log.info("Accepted as generation %s.", taken.any_id)
                return await ledger.get(submission.id)
        case NotSent(reason):
            await _persist(lambda: ledger.settle_sending(submission.id, State.UNSENT, reason))
            raise not_sent_error(intent.key, submission, reason)
        case Refused():
            await _persist(
                lambda: ledger.settle_sending(
                    submission.id, State.REFUSED, outcome.message, _answer_row(outcome.answer)
                )
            )
            raise refused_error(intent.key, submission, outcome)
        case Unknown(reason, answer):  # pragma: no branch (there is no fifth outcome)
            try:
                await _persist(
                    lambda: ledger.settle_sending(
                        submission.id, State.UNKNOWN, reason, _answer_row(answer) if answer else None
                    )
                )
            except errors.LibraryError as error:
                # It stays `sending`, which means the same as soon as its lease has ended.
                log.error("%s", error)
            raise unknown_error(intent.key, reason)


async def _commit_accepted(
    session: Session, intent: Intent, submission: Submission, outcome: Accepted
) -> None:
    """The id goes to the local spool, then into the ledger until it commits."""
    entry = SpoolEntry(
        submission_id=submission.id,
        key=intent.key,
        gateway=intent.gateway,
        base_url=intent.base_url,
        account=intent.account,
        generation_id=outcome.generation_id,
        track_ids=outcome.track_ids,
        accepted_at=datetime.now(UTC).isoformat(),
    )
    named = f"{outcome.generation_id or list(outcome.track_ids)} (key {intent.key}, {intent.gateway})"
    try:
        await asyncio.to_thread(session.library.spool.append, entry)
    except OSError as error:
        log.error("The spool would not take the accepted generation %s: %s", named, error)
    lease = submission.lease.extended(session.deadline(_model_of(intent)) + session.settings.lease_margin)
    try:
        await _persist(
            lambda: session.library.ledger.submissions.accepted(
                submission.id, outcome.generation_id, outcome.track_ids, _answer_row(outcome.answer), lease
            )
        )
    except BaseException:
        # The last resort: a paid id must reach a person even if nothing can be written any more.
        sys.stderr.write(f"songflow: PAID, and the ledger cannot be written: generation {named}\n")
        raise


async def _persist(commit: Callable[[], Awaitable[bool]]) -> None:
    """Try a commit that must not be given up lightly, for a minute.

    Raises:
        LibraryError: the database's last word.
    """
    end = time.monotonic() + _COMMIT_PATIENCE_SECONDS
    pause = 0.1
    while True:
        try:
            await commit()
            return
        except errors.LibraryError as error:
            if time.monotonic() + pause > end:
                raise
            log.warning("%s Trying again.", error.message)
        await asyncio.sleep(pause)
        pause = min(2 * pause, 5.0)


def _model_of(intent: Intent) -> Any:
    return SongRequest.from_body(json.loads(intent.body)).model


def _answer_row(answer: Answer) -> dict[str, Any]:
    fields = asdict(answer)
    return {name: fields[name] for name in ("status", "headers", "body")}


def _reattached(submission: Submission) -> Submission:
    """What an existing submission means for the process that meets it."""
    match submission.state:
        case State.UNKNOWN:
            raise unknown_error(submission.key, submission.error or "its answer was lost")
        case State.LOST:
            raise lost_error(submission, submission.error or "the gateway does not know it any more")
        case State.FAILED:
            raise failed_error(submission, submission.error or "the gateway gave no reason")
    log.info("Key %s is already %s: nothing is sent again.", submission.key, submission.state)
    return submission
