"""The POST: sent in turn and at most once, shielded, and its outcome committed before anything else.

`songflow.generation.submit` has committed the intent for this process. An accepted id goes to the local spool and
then into the ledger, which is tried until it commits; as the last resort it is written to stderr.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from songflow import errors, events
from songflow.accounts import Access
from songflow.families.registry import models
from songflow.gateways import Accepted, Answer, NotSent, Outcome, RefusalKind, Refused, Unknown
from songflow.generation.error_texts import not_sent_error, refused_error, told_as_paid, unknown_error
from songflow.generation.session import Session
from songflow.ledger.rows import Intent, Submission
from songflow.ledger.spool import SpoolEntry
from songflow.ledger.states import State
from songflow.runtime.failpoints import reached
from songflow.runtime.retry import persist
from songflow.runtime.shutdown import answers_first, is_told_to_end, may_begin

__all__ = ["send_in_turn", "shielded"]

log = logging.getLogger("songflow.generation.submit")

# The intent's lease must outlive the wait for a slot.
_LONGEST_TURN_SECONDS = 45.0
_T = TypeVar("_T")


async def send_in_turn(
    session: Session,
    intent: Intent,
    access: Access,
    submission: Submission,
    before_post: Callable[[], None],
) -> Submission | None:
    """Wait for a slot where this key is slowed down, then send; a slot too far away counts as not sent.

    `before_post` is called when the turn has come: where it raises, nothing is sent.
    """
    ledger = session.library.ledger
    reason = "it was given up before its turn to be sent"
    try:
        longest = min(session.settings.repeat_within, _LONGEST_TURN_SECONDS)
        pause = await ledger.pace.slot(access.pace_name, longest)
        if pause is not None and pause > longest:
            reason = "the gateway has asked everybody with this key to slow down"
            raise not_sent_error(intent.key, submission, reason, retry_after=pause)
        if pause:
            log.info("The gateway has asked to slow down: sending in %.0f s.", pause)
            await asyncio.sleep(pause)
        await may_begin()
        before_post()
    except BaseException:
        await _give_up(session, submission, reason)
        raise
    with answers_first():
        sent = await _send_shielded(session, intent, access, submission, paced=pause is not None)
    if pause is not None and sent is not None:
        with suppress(errors.LibraryError):  # it is paid for; only the next one goes slower than it need
            await ledger.pace.speed_up(access.pace_name)
    return sent


async def _give_up(session: Session, submission: Submission, reason: str) -> None:
    """Nothing of ours is sent; a row that another process has taken over while this one slept is left to it."""
    with suppress(errors.LibraryError):  # what is raised on says more, and its lease ends by itself
        await shielded(
            session.library.ledger.submissions.never_sent(submission.id, submission.lease.fence, reason)
        )


async def _send_shielded(
    session: Session, intent: Intent, access: Access, submission: Submission, *, paced: bool
) -> Submission | None:
    try:
        return await shielded(_send(session, intent, access, submission, paced))
    except asyncio.CancelledError:
        # This process lives on, but nobody in it looks after the submission any more.
        with suppress(errors.LibraryError):
            await shielded(session.library.ledger.submissions.release(submission.id, submission.lease.fence))
        raise


async def _send(
    session: Session, intent: Intent, access: Access, submission: Submission, paced: bool
) -> Submission | None:
    """The POST and the commit of its outcome; None where another process took the intent over."""
    ledger = session.library.ledger.submissions
    try:
        gateway = await session.gateway(access)
    except BaseException:
        await _give_up(session, submission, "the gateway's client could not be opened")
        raise
    seconds = session.settings.submit_timeout + session.settings.lease_margin
    # Counted from before the lease is written: the POST never outlives it.
    send_before = _awake_clock() + seconds
    lease = submission.lease.extended(seconds)
    if not await ledger.begin_send(submission.id, lease):
        return None
    log.info("Sending the request (key %s, %s, price %g).", intent.key, intent.gateway, intent.price)
    outcome: Outcome
    reached("post: before request")
    try:
        outcome = await gateway.submit(json.loads(intent.body), why_not=lambda: _why_not(send_before))
    except Exception as error:
        log.exception("The gateway's client failed.")
        outcome = Unknown(f"our own client failed ({type(error).__name__})", None)
    reached("post: after request")
    return await _commit_outcome(session, intent, access, submission, outcome, paced)


def _why_not(send_before: float) -> str | None:
    """The last look before a request's first byte: much may have happened while its connection was made."""
    if is_told_to_end():
        return "this process was told to end before the request could be sent"
    if _awake_clock() >= send_before:
        return "the lease ran out before the request could be sent"
    return None


def _awake_clock() -> float:
    """Seconds that go on while the process is stopped or the machine sleeps: a lease's time does, too."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


async def _commit_outcome(
    session: Session, intent: Intent, access: Access, submission: Submission, outcome: Outcome, paced: bool
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
                await _tell_accepted(session, taken)
                return await ledger.get(submission.id)
        case NotSent(reason):
            await persist(lambda: ledger.settle_sending(submission.id, State.UNSENT, reason))
            raise not_sent_error(intent.key, submission, reason)
        case Refused():
            await persist(
                lambda: ledger.settle_sending(
                    submission.id, State.REFUSED, outcome.message, _answer_row(outcome.answer)
                )
            )
            if outcome.kind is RefusalKind.RATE_LIMITED:
                with suppress(errors.LibraryError):  # the refusal itself is what the caller must hear
                    await session.library.ledger.pace.slow_down(
                        access.pace_name, outcome.retry_after, paced=paced
                    )
            refused = refused_error(intent.key, submission, outcome)
            if not outcome.repeatable:
                session.tell(events.trouble("refused", submission, refused))
            raise refused
        case Unknown(reason, answer):  # pragma: no branch (there is no fifth outcome)
            try:
                await persist(
                    lambda: ledger.settle_sending(
                        submission.id, State.UNKNOWN, reason, _answer_row(answer) if answer else None
                    )
                )
            except errors.LibraryError as error:
                # It stays `sending`, which means the same as soon as its lease has ended.
                log.error("%s", error)
            unknown = unknown_error(intent.key, reason)
            session.tell(events.trouble("unknown", submission, unknown))
            raise unknown


async def _tell_accepted(session: Session, taken: Submission) -> None:
    session.tell(events.accepted(taken))
    with suppress(errors.LibraryError):  # a courtesy: the id is committed
        await session.tell_of_budgets(taken.intended_at.date().isoformat())


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
    lease = submission.lease.extended(
        session.deadline(models()[intent.model_type]) + session.settings.lease_margin
    )
    try:
        await persist(
            lambda: session.library.ledger.submissions.accepted(
                submission.id, outcome.generation_id, outcome.track_ids, _answer_row(outcome.answer), lease
            )
        )
    except BaseException:
        # The last resort: a paid id must reach a person even if nothing can be written any more.
        sys.stderr.write(f"songflow: PAID, and the ledger cannot be written: generation {named}\n")
        raise


def _answer_row(answer: Answer) -> dict[str, Any]:
    fields = asdict(answer)
    return {name: fields[name] for name in ("status", "headers", "body")}


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
