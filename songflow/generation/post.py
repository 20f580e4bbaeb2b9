"""The POST: sent at most once, shielded from cancellation, and its outcome committed before anything else.

`songflow.generation.submit` has committed the intent for this process. An accepted id goes to the local spool and
then into the ledger, which is retried until it commits; as the last resort the id is written to stderr.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from songflow import errors, events
from songflow.accounts import Access
from songflow.families.registry import family_of_model, models
from songflow.gateways import Accepted, Answer, NotSent, Outcome, RefusalKind, Refused, Unknown
from songflow.generation.error_texts import (
    not_recorded_error,
    not_sent_error,
    paid_from_here,
    refused_error,
    unknown_error,
)
from songflow.generation.session import Session
from songflow.ledger.rows import Intent, Submission, spooled_intent
from songflow.ledger.spool import SpoolEntry
from songflow.ledger.states import State
from songflow.ledger.submissions import Submissions
from songflow.runtime.concurrency import shielded
from songflow.runtime.failpoints import reached
from songflow.runtime.retry import persist
from songflow.runtime.shutdown import answers_first, may_begin, termination_requested

__all__ = ["Post"]

log = logging.getLogger(__name__)

# The intent's lease must outlive the wait for a slot.
_LONGEST_TURN_SECONDS = 45.0


@dataclass(frozen=True, slots=True)
class Post:
    """One POST of a committed intent.

    Attributes:
        session: The open session.
        intent: What the ledger holds of the request.
        access: The account that pays.
        submission: The row of this POST, in state `intended`.
    """

    session: Session
    intent: Intent
    access: Access
    submission: Submission

    async def send_in_turn(self, before_post: Callable[[], None]) -> Submission | None:
        """Wait for a slot if this key is rate-limited, then send.

        Args:
            before_post: Called when the turn has come; if it raises, nothing is sent.

        Returns:
            The accepted submission; None if another process took the intent over.

        Raises:
            RequestNotSent: also if the next slot is too far away.
            RequestRefused, OutcomeUnknown, NotCollected: see `songflow.generation.submit.submit_once`.
        """
        slot = await self._wait_for_turn(before_post)
        with answers_first():
            sent = await self._send_shielded(rate_limited=slot is not None)
        if slot is not None and sent is not None:
            with suppress(errors.LibraryError):  # it is paid for; only the next one goes slower than it need
                await self.session.library.ledger.pace.speed_up(self.access.pace_name)
        return sent

    async def _wait_for_turn(self, before_post: Callable[[], None]) -> float | None:
        """Wait for the key's slot; returns the seconds that it was away, None if the key is not rate-limited."""
        reason = "it was given up before its turn to be sent"
        try:
            longest = min(self.session.settings.repeat_within, _LONGEST_TURN_SECONDS)
            pause = await self.session.library.ledger.pace.slot(self.access.pace_name, longest)
            if pause is not None and pause > longest:
                reason = "the gateway has asked everybody with this key to slow down"
                raise not_sent_error(self.intent.key, self.submission, reason, retry_after=pause)
            if pause:
                self._log_progress("The gateway has asked to slow down: sending in %.0f s.", pause)
                await asyncio.sleep(pause)
            await may_begin()
            before_post()
        except BaseException:
            await self._give_up(reason)
            raise
        return pause

    async def _give_up(self, reason: str) -> None:
        """Settle the row as not sent, unless another process has taken it over meanwhile."""
        # A LibraryError must not replace the caller's exception; the lease expires anyway.
        with suppress(errors.LibraryError):
            await shielded(
                self._submissions.never_sent(self.submission.id, self.submission.lease.fence, reason)
            )

    async def _send_shielded(self, *, rate_limited: bool) -> Submission | None:
        try:
            return await shielded(self._send_at_pace(rate_limited=rate_limited))
        except asyncio.CancelledError:
            # This process lives on, but nothing in it works on the submission any more.
            with suppress(errors.LibraryError):
                await shielded(self._submissions.release(self.submission.id, self.submission.lease.fence))
            raise

    async def _send_at_pace(self, *, rate_limited: bool) -> Submission | None:
        """Send, and slow the key down for everybody if the gateway asks for it."""
        try:
            return await self._send()
        except errors.RequestRefused as refused:
            if refused.kind == RefusalKind.RATE_LIMITED:
                with suppress(errors.LibraryError):  # the caller must see the refusal itself
                    await self.session.library.ledger.pace.slow_down(
                        self.access.pace_name, refused.retry_after, paced=rate_limited
                    )
            raise

    async def _send(self) -> Submission | None:
        """The POST and the commit of its outcome; None if another process took the intent over."""
        intent, submission = self.intent, self.submission
        try:
            gateway = await self.session.gateways.get(self.access)
        except BaseException:
            await self._give_up("the gateway's client could not be opened")
            raise
        seconds = self.session.settings.submit_timeout + self.session.settings.lease_margin
        # Counted from before the lease is written: the POST never outlives it.
        send_before = _awake_clock() + seconds
        if not await self._submissions.begin_send(submission.id, submission.lease.extended(seconds)):
            return None
        self._log_progress(
            "Sending the request (key %s, %s, price %g).", intent.key, intent.gateway, intent.price
        )
        outcome: Outcome
        reached("post: before request")
        try:
            outcome = await gateway.submit(
                family_of_model(intent.model_type).name,
                json.loads(intent.body),
                why_not=lambda: _why_not(send_before),
            )
        except Exception as error:
            log.exception("The gateway's client failed.")
            outcome = Unknown(f"our own client failed ({type(error).__name__})", None)
        reached("post: after request")
        return await self._commit(outcome)

    async def _commit(self, outcome: Outcome) -> Submission:
        """Commit the outcome; raise the matching error if it is not an acceptance."""
        match outcome:
            case Accepted():
                return await self._accept(outcome)
            case NotSent(reason):
                await self._settle(State.UNSENT, reason)
                raise not_sent_error(self.intent.key, self.submission, reason)
            case Refused():
                await self._settle(State.REFUSED, outcome.message, outcome.answer)
                refused = refused_error(self.intent.key, self.submission, outcome)
                if not outcome.repeatable:
                    self.session.events.emit(events.trouble("refused", self.submission, refused))
                raise refused
            case Unknown(reason, answer):  # pragma: no branch (there is no fifth outcome)
                try:
                    await self._settle(State.UNKNOWN, reason, answer)
                except errors.LibraryError as error:
                    # The row stays `sending`, which means the same as soon as its lease has ended.
                    log.error("%s", error)
                unknown = unknown_error(self.intent.key, reason)
                self.session.events.emit(events.trouble("unknown", self.submission, unknown))
                raise unknown

    async def _settle(self, state: State, reason: str, answer: Answer | None = None) -> None:
        row = _answer_row(answer) if answer else None
        await persist(lambda: self._submissions.settle_sending(self.submission.id, state, reason, row))

    async def _accept(self, outcome: Accepted) -> Submission:
        taken = replace(
            self.submission,
            state=State.ACCEPTED,
            generation_id=outcome.generation_id,
            track_ids=outcome.track_ids,
        )
        with paid_from_here(taken):
            await self._commit_accepted(outcome)
            self._log_progress("Accepted as generation %s.", taken.any_id)
            self.session.events.emit(events.accepted(taken))
            with suppress(errors.LibraryError):  # only a notice: the id is committed
                await self.session.events.emit_budgets(taken.intended_at.date().isoformat())
            return await self._submissions.get(taken.id)

    async def _commit_accepted(self, outcome: Accepted) -> None:
        """Append the id to the local spool, then retry the ledger until it commits."""
        session, intent, submission = self.session, self.intent, self.submission
        answer = _answer_row(outcome.answer)
        entry = SpoolEntry(
            submission_id=submission.id,
            key=intent.key,
            gateway=intent.gateway,
            base_url=intent.base_url,
            account=intent.account,
            generation_id=outcome.generation_id,
            track_ids=outcome.track_ids,
            accepted_at=datetime.now(UTC).isoformat(),
            answer=answer,
            fence=submission.lease.fence,
            intent=spooled_intent(intent, submission),
        )
        named = f"{outcome.generation_id or list(outcome.track_ids)} (key {intent.key}, {intent.gateway})"
        try:
            await asyncio.to_thread(session.library.spool.append, entry)
        except OSError as error:
            log.error("The spool would not take the accepted generation %s: %s", named, error)
        deadline = session.polling.deadline(models()[intent.model_type])
        lease = submission.lease.extended(deadline + session.settings.lease_margin)
        try:
            committed = await persist(
                lambda: self._submissions.accepted(
                    submission.id, outcome.generation_id, outcome.track_ids, answer, lease
                )
            )
            if not committed:
                raise await self._why_not_committed(outcome)
        except errors.OutcomeUnknown:
            raise
        except BaseException:
            # The last resort: a paid id must reach a person even if nothing can be written any more.
            sys.stderr.write(
                f"songflow: PAID, and the ledger cannot be written: generation {named}. Once it can: "
                f"songflow rescue --adopt {outcome.generation_id or outcome.track_ids[0]} --key {intent.key}\n"
            )
            raise

    async def _why_not_committed(self, outcome: Accepted) -> errors.Unsettled:
        """The error of an accepted id that the ledger did not take."""
        rows = await self._submissions.of_key(self.intent.key)
        row = next((one for one in rows if one.id == self.submission.id), None)
        if row is None or row.state is not State.UNKNOWN:
            return not_recorded_error(
                self.intent.key, outcome.generation_id or ", ".join(outcome.track_ids), row
            )
        unknown = unknown_error(
            self.intent.key, row.error or "the gateway answered with the id of another request"
        )
        self.session.events.emit(events.trouble("unknown", row, unknown))
        return unknown

    @property
    def _submissions(self) -> Submissions:
        return self.session.library.ledger.submissions

    def _log_progress(self, text: str, *values: object) -> None:
        log.log(self.session.events.success_level, text, *values)


def _why_not(send_before: float) -> str | None:
    """The last check before a request's first byte: much may have happened while its connection was made."""
    if termination_requested():
        return "this process received a termination signal before the request could be sent"
    if _awake_clock() >= send_before:
        return "the lease ran out before the request could be sent"
    return None


def _awake_clock() -> float:
    """Seconds that go on while the process is stopped or the machine sleeps, as a lease's time does."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


def _answer_row(answer: Answer) -> dict[str, Any]:
    fields = asdict(answer)
    return {name: fields[name] for name in ("status", "headers", "body")}
