"""Rescue: collect what was paid for and not collected, and settle submissions whose outcome is unknown.

Everything here is safe to run at any time, twice, or on two machines at once: asking is free, state changes are
compare-and-set, and the submissions of live processes are left alone. Only `resubmit` pays, and only for a person.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from songflow import errors
from songflow.accounts import Access
from songflow.gateways import Report, candidate_ids
from songflow.gateways.answer import RAW_BODY
from songflow.generation.ending import list_late_takes
from songflow.generation.error_texts import (
    not_collected_error,
    unexpected_after_payment,
    unsettled_error,
)
from songflow.generation.lifecycle import complete
from songflow.generation.policy import BY_A_PERSON, PaidRequest, PayingPolicy
from songflow.generation.results import GenerationResult, SongResult, as_plain_data
from songflow.generation.session import Session
from songflow.generation.submit import settle_dead_sender, submit_once
from songflow.ledger.queries import leading_submission
from songflow.ledger.references import full_key
from songflow.ledger.rows import Generation, Song, StoredAnswer, Submission
from songflow.ledger.spool import SpoolEntry
from songflow.ledger.states import RULES, SongState, State
from songflow.polling.loop import look
from songflow.settings import debugging

__all__ = [
    "Evidence",
    "Rescued",
    "adopt",
    "evidence_of",
    "exit_code",
    "rescue",
    "resubmit",
    "resubmittable",
    "stranded",
    "write_off",
]

log = logging.getLogger(__name__)

# Generations polled at once: enough to be quick, few enough not to be rate-limited.
_AT_ONCE = 8
# Relays forget a task after a day: no further takes are listed later.
_LATE_TAKES = timedelta(days=1)
_IN_DOUBT = frozenset({State.UNKNOWN, State.LOST, State.OVERDUE})
MAX_EVIDENCE = 4096
_MOST_CANDIDATES = 20


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the gateway answered to a POST whose outcome, or whose id, is in doubt.

    Attributes:
        status: The HTTP status.
        body: The answer as text, at most `MAX_EVIDENCE` characters of it.
        raw: Its bytes in base64, if the text does not hold all of them.
        candidate_ids: The ids in it that may name the generation, for `adopt`.
    """

    status: int | None
    body: str
    raw: str | None = None
    candidate_ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, answer: StoredAnswer, ids: Sequence[str]) -> Evidence:
        """The evidence in a stored answer."""
        return cls(answer.status, answer.body[:MAX_EVIDENCE], answer.headers.get(RAW_BODY), tuple(ids))


@dataclass(frozen=True, slots=True)
class Rescued:
    """The outcome of a rescue for one generation; `error` and `next` are set if it is not collected.

    `answer` is there where a person may find an id in it: the outcome is unknown, or the id leads nowhere.
    """

    key: str
    submission: int
    generation_id: str | None
    gateway: str
    base_url: str
    account: str
    state: str
    billed: str
    price: float
    asked_at: str
    songs: tuple[SongResult, ...] = ()
    error: str | None = None
    next: str | None = None
    exit_code: int = 0
    answer: Evidence | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return as_plain_data(self)

    @classmethod
    def of(
        cls,
        submission: Submission,
        songs: Sequence[Song] = (),
        error: errors.SongflowError | None = None,
        answer: Evidence | None = None,
    ) -> Rescued:
        """A row of the answer from ledger rows."""
        return cls(
            key=submission.key,
            submission=submission.ordinal,
            generation_id=submission.any_id,
            gateway=submission.gateway,
            base_url=submission.base_url,
            account=submission.account,
            state=str(submission.state),
            billed=submission.billed,
            price=submission.price,
            asked_at=submission.intended_at.isoformat(),
            songs=tuple(SongResult.of(song) for song in songs),
            error=error.message if error else None,
            next=error.next if error else None,
            exit_code=_exit_code_of(error),
            answer=answer,
        )

    @classmethod
    def of_spool(cls, entry: SpoolEntry, error: str) -> Rescued:
        """A row of the answer for a generation that only the spool knows."""
        return cls(
            key=entry.key,
            submission=entry.intent.ordinal if entry.intent else 1,
            generation_id=entry.generation_id or next(iter(entry.track_ids), None),
            gateway=entry.gateway,
            base_url=entry.base_url,
            account=entry.account,
            state=str(State.ACCEPTED if entry.is_accepted else State.UNKNOWN),
            billed="yes" if entry.is_accepted else "maybe",
            price=entry.intent.price if entry.intent else 0.0,
            asked_at=entry.accepted_at,
            error=f"Only the spool knows it: {error}",
            next="`songflow rebuild` takes its songs from their files. If there are none and you give it up, remove "
            "its line from the spool.",
            exit_code=errors.Unsettled.exit_code,
            answer=_spooled_evidence(entry),
        )


def _spooled_evidence(entry: SpoolEntry) -> Evidence | None:
    if entry.is_accepted or entry.answer is None:
        return None
    kept = entry.answer
    answer = StoredAnswer(kept.get("status"), kept.get("headers") or {}, kept.get("body") or "")
    return Evidence.of(answer, candidate_ids(answer.body))


async def evidence_of(session: Session, submission: Submission) -> Evidence | None:
    """The gateway's answer to a POST, where its outcome is unknown or its id leads nowhere; None without one."""
    if submission.state not in _IN_DOUBT:
        return None
    ledger = session.library.ledger.submissions
    answer = await ledger.submit_answer(submission.id)
    if answer is None:
        return None
    candidates = []
    for one in (await ledger.known_ids(submission.id))[:_MOST_CANDIDATES]:
        owners = await _owners_of(session, one)
        if all(owner.place != submission.place for owner in owners):
            candidates.append(one)
    return Evidence.of(answer, candidates)


def _exit_code_of(error: errors.SongflowError | None) -> int:
    """The exit code; an error that prevents the collection of a paid generation (a missing key) counts as unsettled."""
    return 0 if error is None else errors.worst_exit_code([error.exit_code])


def exit_code(rescued: Sequence[Rescued]) -> int:
    """The worst exit code of all, in the order 0 3 4 5 6."""
    return errors.worst_exit_code(one.exit_code for one in rescued)


async def stranded(session: Session) -> list[Submission]:
    """Every submission that may be paid for, is not collected, and has no live process, or only its sender."""
    return [one for one in await session.library.ledger.submissions.uncollected() if one.is_left]


async def rescue(session: Session, given: Access | None = None) -> list[Rescued]:
    """Collect everything that is stranded, and list what cannot be collected with the reason.

    The session's deadline is how long to wait for each generation that still runs (0: ask once).
    """
    not_taken = await _take_in_spooled(session)
    await _settle_senders(session)
    await _look_for_late_takes(session, given)
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(submission: Submission) -> Rescued:
        async with limit:
            return await _rescue_one(session, submission, given)

    return [*not_taken, *await asyncio.gather(*(one(submission) for submission in await stranded(session)))]


async def _take_in_spooled(session: Session) -> list[Rescued]:
    """Add to the ledger what only the spool knows; returns what cannot be added, with the reason."""
    left: list[Rescued] = []
    for entry in await session.library.missing_from_ledger():
        reason = await session.library.ledger.restore.take_in(entry)
        if reason is not None:
            left.append(Rescued.of_spool(entry, reason))
        else:
            log.info("Took in %s from the spool: the ledger did not know it.", entry.key)
    return left


async def _look_for_late_takes(session: Session, given: Access | None) -> None:
    """Ask again, for a day, about generations that ended with one take; a second take is then stranded."""
    since = datetime.now(UTC) - _LATE_TAKES
    for submission in await session.library.ledger.submissions.of_one_take(since):
        if submission.lease.is_dead():
            try:
                await list_late_takes(session, submission, given)
            except Exception:  # it has ended well, so this is optional
                log.debug("Its late takes could not be listed: %s.", submission.any_id, exc_info=True)


async def _settle_senders(session: Session) -> None:
    """Settle submissions of dead processes: `accepted` if this machine's spool has the answer, else `unknown`.

    An intent whose process died before it sent anything becomes `unsent`, and its reservation is released.
    """
    ledger = session.library.ledger.submissions
    entries = await asyncio.to_thread(session.library.spool.entries)
    spooled = {entry.submission_id for entry in entries if entry.is_accepted}
    for submission in await ledger.in_states([State.SENDING, State.UNKNOWN]):
        dead = submission.state is State.UNKNOWN or submission.lease.is_dead()
        if dead and (submission.state is State.SENDING or submission.id in spooled):
            await settle_dead_sender(session, submission)
    for submission in await ledger.in_states([State.INTENDED]):
        if submission.lease.is_dead():
            await ledger.never_sent(
                submission.id, submission.lease.fence, "its process died before it sent anything"
            )


async def _rescue_one(session: Session, submission: Submission, given: Access | None) -> Rescued:
    ledger = session.library.ledger
    error: errors.SongflowError | None = None
    try:
        if RULES[submission.state].waits or submission.state in {State.LOST, State.SUCCEEDED}:
            await complete(session, submission, given)
        else:
            error = unsettled_error(submission)
    except errors.SongflowError as problem:
        error = problem
    except Exception as problem:  # it must not leave the others behind
        if debugging():
            raise
        error = unexpected_after_payment(submission, problem)
    submission = await ledger.submissions.get(submission.id)
    songs = await ledger.songs.of_submission(submission.id)
    if error is None and any(song.state is SongState.ANNOUNCED for song in songs):
        error = not_collected_error(submission, [song for song in songs if song.path is None])
    return Rescued.of(submission, songs, error, await evidence_of(session, submission))


async def adopt(
    session: Session, generation_id: str, *, key: str | None = None, given: Access | None = None
) -> Rescued:
    """Adopt a generation found at the gateway as the outcome of a submission that has none, and collect it.

    That is one whose outcome is unknown, or whose own id leads nowhere (lost, overdue): the gateway may have answered
    with two ids. The former id is kept.

    Args:
        generation_id: The gateway's id, from its own log or web page.
        key: The request key it belongs to, or the beginning of just one; needed if it fits several requests.

    Raises:
        InputError: no request is open, the id is another request's, the gateway does not know it, or it fits several
            requests.
    """
    await _settle_senders(session)
    ledger = session.library.ledger.submissions
    key = None if key is None else await full_key(session.library.ledger, key)
    owners = await _owners_of(session, generation_id)
    open_ones = [
        one
        for one in await ledger.in_states([State.UNKNOWN, State.LOST, State.OVERDUE])
        # Whoever waits for its former id would take that one's songs for it.
        if key in (None, one.key) and (one.state is State.UNKNOWN or one.lease.is_dead())
    ]
    candidates = [one for one in open_ones if all(owner.place != one.place for owner in owners)]
    if not candidates and owners:
        raise errors.InputError(
            f"The id {generation_id} is in the ledger already: it belongs to the key {owners[0].key!r}.",
            next=f"see `songflow rescue --list`, or run with --key {owners[0].key} to come back to it.",
        )
    if not candidates:
        whose = f" under the key {key}" if key else ""
        raise errors.InputError(
            f"No request is unknown, lost or overdue{whose}.", next="see `songflow rescue --list`."
        )
    matching: list[Submission] = []
    no_key: errors.MissingCredentials | None = None
    for one in candidates:
        try:
            if await _may_be(session, one, generation_id, given, sure=key is not None):
                matching.append(one)
        except errors.MissingCredentials as error:
            no_key = error
    if no_key is not None and not matching:
        raise no_key
    # Several under one key (a person has resubmitted it) have the same request: any will do.
    if len({one.key for one in matching}) != 1:
        keys = ", ".join(one.key for one in (matching or candidates))
        problem = (
            "fits several open requests"
            if matching
            else "is not known to the gateway, has no songs yet, or fits no open request"
        )
        raise errors.InputError(
            f"The generation {generation_id} {problem} ({keys}).",
            next="name the request with --key, or check the id.",
        )
    chosen = min(matching, key=lambda one: one.state is not State.UNKNOWN)
    if not await _take_id(session, chosen, generation_id):
        raise errors.InputError(
            f"The request {chosen.key} is not '{chosen.state}' any more: its answer has just come in.",
            next="see `songflow rescue --list`.",
        )
    log.info("The request %s is now known as generation %s.", chosen.key, generation_id)
    return await _rescue_one(session, await ledger.get(chosen.id), given)


async def _take_id(session: Session, submission: Submission, generation_id: str) -> bool:
    ledger = session.library.ledger.submissions
    if submission.state is State.UNKNOWN:
        return await ledger.accepted(submission.id, generation_id, (), answer=None) is not None
    return await ledger.rename(submission, generation_id, "a person has adopted another id") is not None


async def _owners_of(session: Session, any_id: str) -> list[Submission]:
    """The submissions that have this id as their generation's, as one of their tracks', or as a song's."""
    ledger = session.library.ledger
    unsettled = [state for state, rule in RULES.items() if rule.unsettled]
    return [
        *await ledger.submissions.by_generation_id(any_id),
        *[await ledger.submissions.get(song.submission_id) for song in await ledger.songs.by_song_id(any_id)],
        *[one for one in await ledger.submissions.in_states(unsettled) if any_id in one.track_ids],
    ]


async def _may_be(
    session: Session, submission: Submission, generation_id: str, given: Access | None, *, sure: bool
) -> bool:
    """True if the submission's gateway knows the id, and (unless `sure`) for the same prompt."""
    gateway = await session.gateways.get(await session.gateways.access_for(submission, given))
    answer = await look(lambda: gateway.fetch(submission.family, generation_id))
    if not isinstance(answer, Report):
        return False
    if sure:
        return True
    generation = await session.library.ledger.submissions.generation(submission.key)
    assert generation is not None, "a submission has a generation (foreign key)"
    return any(take.prompt == generation.request.prompt for take in answer.takes)


async def write_off(session: Session, key: str) -> Rescued:
    """Give up on an unknown outcome: the reservation is released, the rows stay.

    If a person has resubmitted it, every open submission is written off; the last one is returned. The beginning of
    the key is enough.

    Raises:
        InputError: there is nothing to write off under this key.
    """
    await _settle_senders(session)
    ledger = session.library.ledger.submissions
    key = await full_key(session.library.ledger, key)
    known = await ledger.of_key(key)
    ended = [one for one in known if await ledger.write_off(one.id)]
    if not ended:
        current = leading_submission(known)
        state = f" (it is '{current.state}')" if current else ""
        raise errors.InputError(
            f"There is nothing to write off under the key {key!r}{state}.",
            next="see `songflow rescue --list`.",
        )
    return Rescued.of(await ledger.get(ended[-1].id))


async def resubmittable(session: Session, key: str) -> tuple[Generation, Submission]:
    """The generation and submission that `resubmit` would pay for again; the beginning of a key is enough.

    Raises:
        InputError: the key is not known, or its state needs no second payment.
    """
    await _settle_senders(session)  # an answer in the spool needs no second payment
    ledger = session.library.ledger.submissions
    key = await full_key(session.library.ledger, key)
    generation, current = await ledger.generation(key), leading_submission(await ledger.of_key(key))
    if generation is None or current is None:
        raise errors.InputError(
            f"The ledger does not know the key {key!r}.", next="see `songflow rescue --list`."
        )
    if current.state not in BY_A_PERSON:
        raise errors.InputError(
            f"The request {key!r} is '{current.state}': there is nothing to pay again.",
            next=f"run it with --key {key} to come back to it.",
        )
    return generation, current


async def resubmit(session: Session, key: str, given: Access | None = None) -> GenerationResult:
    """Pay again for a request whose outcome is unknown, lost, overdue or failed; only for a person who confirmed it.

    Raises:
        InputError: the key is not known, or its state needs no second payment.
        SongflowError: as a first submit would.
    """
    generation, current = await resubmittable(session, key)
    access = await session.gateways.access_for(current, given)
    paid = PaidRequest(generation.request, generation.key)
    submission = await submit_once(session, paid, access, PayingPolicy(resubmit=True))
    return await complete(session, submission, access)
