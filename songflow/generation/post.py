"""The POST: handed to the sender, sent at most once, and its outcome committed before anything else.

`songflow.generation.submit` has committed the intent for this process. The sender (`songflow.sender`) writes every
outcome to the local spool before it answers; then it goes into the ledger, which is retried until it commits. A caller
that is cancelled, or dies, leaves that to the sender. As the last resort an accepted id is written to stderr.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from songflow import errors, events
from songflow.accounts import Access
from songflow.families.registry import family_of_model, priced_models
from songflow.gateways import Accepted, Account, Answer, NotSent, Outcome, RefusalKind, Refused, Unknown
from songflow.generation.error_texts import (
    not_recorded_error,
    not_sent_error,
    paid_from_here,
    refused_error,
    unknown_error,
)
from songflow.generation.session import Session
from songflow.ledger.lease import Lease, ProcessIdentity
from songflow.ledger.rows import Intent, Submission, spooled_intent
from songflow.ledger.spool import SpoolEntry
from songflow.ledger.states import State
from songflow.ledger.submissions import Submissions
from songflow.runtime.concurrency import shielded
from songflow.runtime.failpoints import reached
from songflow.runtime.retry import persist
from songflow.sender.client import Answered, Sender, SenderGone, sender_for
from songflow.sender.orders import Order, awake_clock, outcome_of
from songflow.settings import amount

__all__ = ["Post"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")

# The intent's lease must outlive the wait for a slot.
_LONGEST_TURN_SECONDS = 45.0
# A cancelled caller waits so long for the answer, and then leaves it to the sender.
_DETACH_SECONDS = 1.0


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
            return await shielded(self._send_at_pace(rate_limited=rate_limited), patience=_DETACH_SECONDS)
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
        intent = self.intent
        try:
            gateway = await self.session.gateways.get(self.access)
            sender = await sender_for(intent.gateway)
        except BaseException:
            await self._give_up("the gateway's client could not be opened")
            raise
        seconds = self.session.settings.submit_timeout + self.session.settings.lease_margin
        # Counted from before the lease is written: the POST never outlives it.
        send_before = awake_clock() + seconds
        if not await self._begin(self._lease_of(sender.identity, seconds)):
            return None
        cost = f"{intent.gateway}, price {amount(intent.price, self.session.library.settings.unit)}"
        if self.access.is_simulated:
            cost = "simulated, nothing is billed"
        self._log_progress("Sending the request (key %s, %s).", intent.key, cost)
        order = self._order(gateway.account, send_before)
        reached("sender: before handover")
        answered = await self._answer_of(sender, order)
        reached("sender: after handover")
        return await self._commit(answered, sender)

    async def _begin(self, lease: Lease) -> bool:
        begin = self._submissions.begin_send(self.submission.id, lease)
        try:
            return await shielded(begin)
        except asyncio.CancelledError:
            # It may say `sending` now, and nothing was handed to the sender.
            reason = "it was given up before it was sent"
            with suppress(errors.LibraryError):
                await shielded(
                    self._submissions.settle_sending(
                        self.submission.id, State.UNSENT, reason, fence=lease.fence
                    )
                )
            raise

    def _lease_of(self, sender: ProcessIdentity, seconds: float) -> Lease:
        """The lease of the POST names the sender: it alone knows whether the request leaves."""
        return replace(self.submission.lease, owner=sender).extended(seconds)

    def _order(self, account: Account, send_before: float) -> Order:
        intent, submission, library = self.intent, self.submission, self.session.library.settings
        entry = SpoolEntry(
            submission_id=submission.id,
            key=intent.key,
            gateway=intent.gateway,
            base_url=intent.base_url,
            account=intent.account,
            generation_id=None,
            track_ids=(),
            accepted_at="",
            fence=submission.lease.fence,
            intent=spooled_intent(intent, submission),
        )
        return Order(
            entry=entry,
            family=family_of_model(intent.model_type).name,
            url=account.base_url,
            secret=account.secret,
            timeout=self.session.settings.submit_timeout,
            send_before=send_before,
            folder=str(library.folder.absolute()),
            ledger_url=library.ledger_url,
            callback=None if account.callback is None else (account.callback.url, account.callback.secret),
        )

    async def _answer_of(self, sender: Sender, order: Order) -> Answered:
        """What the sender answers; if it died, what it has written to the spool."""
        try:
            answered = await sender.post(order)
        except SenderGone:
            entry = await asyncio.to_thread(self.session.library.spool.find, order.id)
            if entry is not None:
                return Answered(outcome_of(entry, order.family))
            return Answered(Unknown("its sender died while the request was under way", None))
        if answered.failure is not None:
            log.error("The gateway's client failed (%s).", answered.failure)
        return answered

    async def _commit(self, answered: Answered, sender: Sender) -> Submission:
        """Commit the outcome; raise the matching error if it is not an acceptance."""
        outcome: Outcome = answered.outcome
        match outcome:
            case Accepted():
                return await self._accept(outcome, answered.unspooled, sender)
            case NotSent(reason):
                await self._settle(sender, State.UNSENT, reason)
                raise not_sent_error(self.intent.key, self.submission, reason)
            case Refused():
                await self._settle(sender, State.REFUSED, outcome.message, outcome.answer)
                refused = refused_error(self.intent.key, self.submission, outcome)
                if not outcome.repeatable:
                    self.session.events.emit(events.trouble("refused", self.submission, refused))
                raise refused
            case Unknown(reason, answer):  # pragma: no branch (there is no fifth outcome)
                try:
                    await self._settle(sender, State.UNKNOWN, reason, answer)
                except errors.LibraryError as error:
                    # The row stays `sending`, which means the same as soon as its lease has ended.
                    log.error("%s", error)
                unknown = unknown_error(self.intent.key, reason)
                self.session.events.emit(events.trouble("unknown", self.submission, unknown))
                raise unknown

    async def _settle(self, sender: Sender, state: State, reason: str, answer: Answer | None = None) -> None:
        row = answer.as_kept() if answer else None
        await self._persist(
            sender, lambda: self._submissions.settle_sending(self.submission.id, state, reason, row)
        )

    async def _persist(self, sender: Sender, write: Callable[[], Awaitable[_T]]) -> _T:
        """Retry a commit of the outcome; what cannot be committed here is left to the sender."""
        try:
            committed = await persist(write)
        except BaseException:
            sender.leave(self.submission.id)
            raise
        sender.settled(self.submission.id)
        return committed

    async def _accept(self, outcome: Accepted, unspooled: str | None, sender: Sender) -> Submission:
        taken = replace(
            self.submission,
            state=State.ACCEPTED,
            generation_id=outcome.generation_id,
            track_ids=outcome.track_ids,
        )
        with paid_from_here(taken):
            accepted = await self._commit_accepted(outcome, unspooled, sender)
            self._log_progress("Accepted as generation %s.", taken.any_id)
            self.session.events.emit(events.accepted(taken, self.session.library.settings.unit))
            with suppress(errors.LibraryError):  # only a notice: the id is committed
                await self.session.events.emit_budgets(taken.intended_at.date().isoformat())
            return accepted

    async def _commit_accepted(self, outcome: Accepted, unspooled: str | None, sender: Sender) -> Submission:
        """Retry the ledger until it has the id."""
        session, intent, submission = self.session, self.intent, self.submission
        answer = outcome.answer.as_kept()
        named = f"{outcome.generation_id or list(outcome.track_ids)} (key {intent.key}, {intent.gateway})"
        if unspooled is not None:
            log.error("The spool would not take the accepted generation %s: %s", named, unspooled)
        deadline = session.polling.deadline(priced_models()[intent.model_type])
        lease = submission.lease.extended(deadline + session.settings.lease_margin)
        try:
            committed = await self._persist(
                sender,
                lambda: self._submissions.accepted(
                    submission.id, outcome.generation_id, outcome.track_ids, answer, lease
                ),
            )
            if committed is None:
                raise await self._why_not_committed(outcome)
            return committed
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
