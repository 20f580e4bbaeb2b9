"""The errors of a paid life cycle in sentences: what happened, what it cost, what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from songflow import errors
from songflow.accounts import place_text
from songflow.gateways import RefusalKind, Refused
from songflow.ledger.rows import Song, Submission
from songflow.ledger.states import State
from songflow.ledger.submissions import Twin

__all__ = [
    "failed_error",
    "lost_error",
    "not_collected_error",
    "not_recorded_error",
    "not_sent_error",
    "overdue_error",
    "paid_from_here",
    "refused_error",
    "setup_error_after_payment",
    "stopped_error",
    "twin_error",
    "unexpected_after_payment",
    "unknown_error",
    "unsettled_error",
]


def twin_error(twin: Twin) -> errors.UnsettledTwin:
    """A crashed run left the same body unsettled under another key."""
    known = f", generation {twin.submission.any_id}" if twin.submission.any_id else ""
    return errors.UnsettledTwin(
        f"The same request was made before under the key {twin.key!r}{known}, is '{twin.submission.state}' "
        f"(billed: {twin.submission.billed}), and no process works on it any more. Nothing was sent now.",
        key=twin.key,
        generation_id=twin.submission.any_id,
        state=twin.submission.state,
        billed=twin.submission.billed,
        next=f"run with --key {twin.key} to collect it, or `songflow rescue`; "
        "to pay for another song anyway: --if-unsettled new.",
    )


def _place(submission: Submission) -> str:
    """The gateway of a submission, for messages."""
    return place_text(submission.gateway, submission.base_url)


def not_sent_error(
    key: str, submission: Submission, reason: str, retry_after: float | None = None
) -> errors.RequestNotSent:
    """No byte of the request left this machine."""
    return errors.RequestNotSent(
        f"{_place(submission)} was not reached: {reason}. Nothing was sent or billed.",
        key=key,
        state=State.UNSENT,
        repeatable=True,
        retry_after=retry_after,
        next="check the address and the network, then run the same command again.",
    )


_ADVICE = {
    RefusalKind.INVALID_REQUEST: "correct the request.",
    RefusalKind.CREDENTIALS: "check the key: is it right, not expired, and allowed for this model and address?",
    RefusalKind.NO_CREDIT: "top up the account at the gateway.",
    RefusalKind.UNAVAILABLE: "try again in some minutes, or use another gateway.",
    RefusalKind.RATE_LIMITED: "try again later, or with less at once.",
    RefusalKind.UPSTREAM: "the gateway's own supplier refused it: try again later, or use another gateway.",
    RefusalKind.CONFIGURATION: "check --gateway and --base-url: this address does not take songs.",
    RefusalKind.OTHER: "read the gateway's message.",
}


def refused_error(key: str, submission: Submission, outcome: Refused) -> errors.RequestRefused:
    """The gateway refused the request."""
    return errors.RequestRefused(
        f"{_place(submission)} refused the request ({outcome.kind}, HTTP {outcome.answer.status}): "
        f"{outcome.message or 'without a reason'}. It is not billed.",
        kind=outcome.kind,
        key=key,
        state=State.REFUSED,
        repeatable=outcome.repeatable,
        retry_after=outcome.retry_after,
        next=_ADVICE[outcome.kind],
    )


def unknown_error(key: str, reason: str) -> errors.OutcomeUnknown:
    """The request may have been billed."""
    return errors.OutcomeUnknown(
        f"The request was sent, but what became of it is unknown: {reason}. It may have been billed, so it is "
        "never sent again automatically.",
        key=key,
        state=State.UNKNOWN,
        next="`songflow rescue --list` shows what it answered, if anything; look into the gateway's own log, then "
        "`songflow rescue` (it can adopt the id, write it off or resubmit).",
    )


def lost_error(submission: Submission, reason: str) -> errors.GenerationLost:
    """The gateway accepted it, and no longer knows it."""
    return errors.GenerationLost(
        f"{_place(submission)} no longer knows the generation {submission.any_id}: {reason}.",
        key=submission.key,
        generation_id=submission.any_id,
        state=State.LOST,
        billed="maybe",
        next="`songflow rescue` asks for it again; otherwise ask the gateway's support with that id.",
    )


def failed_error(submission: Submission, reason: str) -> errors.GenerationFailed:
    """The gateway accepted it and reported a failure."""
    return errors.GenerationFailed(
        f"The generation {submission.any_id} failed at {submission.gateway}: {reason}. Whether it is refunded is "
        "the gateway's decision.",
        key=submission.key,
        generation_id=submission.any_id,
        state=State.FAILED,
        next="change the request, or run again with another key (or --retry-errors) to pay for a new try.",
    )


def overdue_error(submission: Submission, reason: str) -> errors.StillRunning:
    """We stopped waiting; the generation is still running."""
    return errors.StillRunning(
        f"The generation {submission.any_id} still runs at {submission.gateway} (account {submission.account!r}) "
        f"and is billed: {reason}.",
        key=submission.key,
        generation_id=submission.any_id,
        state=State.OVERDUE,
        next=f"run the same command with --key {submission.key}, or `songflow rescue`, to collect it.",
    )


@contextmanager
def paid_from_here(submission: Submission) -> Iterator[None]:
    """Convert errors of the set-up, which say "nothing was sent" and are true only before the POST, to NotCollected.

    Raises:
        NotCollected: the library, or the environment's proxies or certificates, cannot be used.
    """
    try:
        yield
    except (errors.LibraryError, errors.InvalidEnvironment) as error:
        raise setup_error_after_payment(submission, error.message) from error


def setup_error_after_payment(submission: Submission, reason: str) -> errors.NotCollected:
    """It is paid for, and the library or the network's settings cannot be used now."""
    return errors.NotCollected(
        f"The generation {submission.any_id} is paid for, but not collected: {reason}",
        key=submission.key,
        generation_id=submission.any_id,
        state=submission.state,
        next=f"mend that, then run the same command with --key {submission.key} on this machine, or "
        "`songflow rescue`: it costs nothing more.",
    )


def unexpected_after_payment(submission: Submission, error: Exception) -> errors.NotCollected:
    """It is paid for, and an exception of our own code, or of the machine, prevents its collection."""
    return errors.NotCollected(
        f"The generation {submission.any_id} is not collected: something unexpected went wrong "
        f"({type(error).__name__}: {error}).",
        key=submission.key,
        generation_id=submission.any_id,
        state=submission.state,
        billed=submission.billed,
        next="`songflow rescue` tries again and costs nothing; SONGFLOW_DEBUG=1 shows the details.",
    )


def not_recorded_error(key: str, accepted_id: str, row: Submission | None) -> errors.NotCollected:
    """The gateway accepted it, and the ledger's row of it is gone or was settled otherwise meanwhile."""
    why = (
        "the ledger has no row of this request any more (was it replaced or restored?)"
        if row is None
        else f"the ledger has it as generation {row.any_id or 'without an id'} in the state '{row.state}' already"
    )
    return errors.NotCollected(
        f"The gateway accepted the request as generation {accepted_id}, and bills it, but {why}.",
        key=key,
        generation_id=accepted_id,
        state=State.ACCEPTED,
        next=f"note the id {accepted_id}; `songflow rescue --adopt {accepted_id} --key {key}` takes it, or look for "
        "it in the gateway's own log.",
    )


def not_collected_error(submission: Submission, songs: list[Song]) -> errors.NotCollected:
    """It is paid for and has ended, and no take could be stored."""
    reasons = "; ".join(sorted({song.error or "no reason is known" for song in songs}))
    return errors.NotCollected(
        f"The generation {submission.any_id} succeeded, but none of its songs could be stored: {reasons}.",
        key=submission.key,
        generation_id=submission.any_id,
        state=submission.state,
        next=f"run the same command with --key {submission.key}, or `songflow rescue`, to try again; "
        "it is paid for and costs nothing more.",
    )


def stopped_error(key: str, reason: str) -> errors.SpendingStopped:
    """Over budget, or spending is paused."""
    return errors.SpendingStopped(
        f"Nothing was sent: {reason}.",
        key=key,
        next="raise the budget, or `songflow resume` where spending is paused; what runs is still collected.",
    )


def unsettled_error(submission: Submission) -> errors.Unsettled:
    """Why rescue cannot collect a submission without a person."""
    if submission.state is State.SENDING:
        return errors.OutcomeUnknown(
            "Its process is sending it now.",
            key=submission.key,
            state=submission.state,
            next="look again later.",
        )
    return unknown_error(submission.key, submission.error or "its answer was lost")
