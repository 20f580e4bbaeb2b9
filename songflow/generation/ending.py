"""The end of a generation at the gateway: poll until it has ended, then commit what the gateway reports."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from songflow import events
from songflow.accounts import Access
from songflow.errors import InputError
from songflow.families.family import Request
from songflow.gateways import FetchProblem, Gateway, Report, ReportStatus, TakeReport, Wanted
from songflow.generation.error_texts import failed_error, lost_error, overdue_error
from songflow.generation.session import Session
from songflow.ledger.rows import Song, Submission, Timing
from songflow.ledger.songs import AnnouncedTake, Lineage, payload_text
from songflow.ledger.states import State
from songflow.polling import Watch
from songflow.polling.loop import Overdue, Schedule, Vanished, look, wait_until_settled

__all__ = [
    "Ended",
    "Progress",
    "commit_report",
    "list_late_takes",
    "poll_until_ended",
    "request_of_submission",
]

log = logging.getLogger(__name__)

Progress = Callable[[str, float | None, float], Awaitable[None]]
"""Called while waiting: the status word, the gateway's progress (0..1, if it reports one), seconds since accepted."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The gateway's last report on a generation, and when each stage was seen."""

    report: Report
    timing: Timing


async def poll_until_ended(
    session: Session,
    submission: Submission,
    access: Access,
    schedule: Schedule,
    deadline: float,
    progress: Progress | None,
) -> Ended:
    """Poll a submission until its generation has ended, or until the deadline (seconds).

    If some takes are ready at the deadline and others are not, those that are ready count as the end.

    Raises:
        StillRunning: nothing is ready at the deadline, or the key is refused; it runs on and is billed.
        GenerationLost: the gateway no longer knows the id.
        LibraryError: the ledger cannot be written.
    """
    ledger = session.library.ledger.submissions
    polls, watch = await session.gateways.polls(access, submission.family), Watch(submission)
    age = (datetime.now(UTC) - (submission.answered_at or submission.intended_at)).total_seconds()
    age = max(0.0, age)
    seen_running = submission.state is State.RUNNING
    newest: Report | FetchProblem | None = None

    async def get() -> Report | FetchProblem:
        nonlocal newest
        newest = await waiter.get()
        return newest

    async def on_report(report: Report, seconds: float) -> None:
        nonlocal seen_running
        watch.observe(report, waiter.asked_age)
        if not seen_running and report.status is not ReportStatus.QUEUED:
            seen_running = True
            await ledger.running(submission.id)
        if progress is not None:
            await progress(str(report.status), report.progress, seconds)

    try:
        with polls.waiting(_wanted(submission), schedule, age, deadline) as waiter:
            report = await wait_until_settled(
                get,
                schedule,
                age=age,
                deadline=deadline,
                track_ids=submission.track_ids,
                # If another process waited before us, the generation may have ended already: ask at once.
                first_delay=None if age < max(1.0, schedule.delay(0.0)) else 0.0,
                on_report=on_report,
                sleep=waiter.sleep,
            )
    except Overdue as error:
        if error.last is None or not error.last.collectable:
            await ledger.stop_waiting(
                submission.id, State.OVERDUE, str(error), pending_at=watch.pending_at, answer=_raw(newest)
            )
            overdue = overdue_error(submission, str(error))
            if submission.state is not State.OVERDUE:  # a rescue asks again and again
                session.events.emit(events.trouble("overdue", submission, overdue))
            raise overdue from None
        log.warning("Not every take of %s is ready (%s): storing those that are.", submission.any_id, error)
        report = error.last
    except Vanished as error:
        found = await _by_another_id(session, await session.gateways.get(access), submission)
        if found is not None:
            return await poll_until_ended(session, found, access, schedule, deadline, progress)
        if error.last is None or not error.last.collectable:
            await ledger.stop_waiting(submission.id, State.LOST, str(error), answer=_raw(newest))
            lost = lost_error(submission, str(error))
            if submission.state is not State.LOST:
                session.events.emit(events.trouble("lost", submission, lost))
            raise lost from None
        log.warning("%s is gone (%s): storing the takes that were ready before.", submission.any_id, error)
        report = error.last
    return Ended(report, watch.timing(report))


def _wanted(submission: Submission) -> Wanted:
    return Wanted(submission.generation_id, tuple(submission.track_ids))


def _raw(newest: Report | FetchProblem | None) -> dict[str, Any] | None:
    """The last answer of a wait that ended without a song, for a report on the problem."""
    if isinstance(newest, Report):
        return {"status": 200, "body": newest.raw}
    return None if newest is None or newest.answer is None else newest.answer.as_kept()


async def _by_another_id(session: Session, gateway: Gateway, submission: Submission) -> Submission | None:
    """The submission under another id that its gateway's answer named, if the gateway knows that one."""
    ledger = session.library.ledger.submissions
    current = await ledger.get(submission.id)
    for other in await ledger.known_ids(submission.id):
        if other in (submission.generation_id, *submission.track_ids):
            continue
        if not isinstance(await look(partial(gateway.fetch, submission.family, other)), Report):
            continue
        with suppress(InputError):  # it is another request's
            renamed = await ledger.rename(current, other, "the gateway does not know the former id")
            if renamed is not None:
                log.info("The generation %s is known to its gateway as %s.", submission.any_id, other)
            return renamed
    return None


async def commit_report(
    session: Session,
    submission: Submission,
    request: Request,
    report: Report,
    *,
    refund: bool = False,
    timing: Timing | None = None,
) -> list[Song]:
    """Commit the raw answer and a row per take in one transaction.

    Raises:
        GenerationFailed: the report has no song to collect; `refund` says whether the gateway gives the price back.
    """
    failure = _failure_of(report)
    songs = await session.library.ledger.songs.ended(
        submission.id,
        submission.key,
        Lineage(request.mode.value, request.source_song_id),
        [*map(_announced, report.takes), *_promised(submission, report)],
        {"status": 200, "body": report.raw},
        failure,
        refund=refund and failure is not None,
        timing=timing,
    )
    if failure is not None:
        failed = failed_error(submission, failure)
        session.events.emit(events.trouble("failed", submission, failed))
        raise failed
    return songs


async def list_late_takes(
    session: Session, submission: Submission, access: Access | None = None
) -> list[Song]:
    """Ask the gateway once more about a generation that has ended: takes that it lists late are paid for, too.

    Returns:
        A row per take, those that were known before first.

    Raises:
        MissingCredentials: the account that took it is not available.
    """
    gateway = await session.gateways.get(await session.gateways.access_for(submission, access))
    answer = await gateway.fetch(submission.family, submission.generation_id, submission.track_ids)
    known = await session.library.ledger.songs.of_submission(submission.id)
    if not isinstance(answer, Report) or len(answer.takes) <= len(known):
        return known
    if _failure_of(answer) is not None:  # songs that are stored have not failed, whatever it says of them now
        return known
    log.info("The gateway lists %d takes of %s now.", len(answer.takes), submission.any_id)
    return await commit_report(session, submission, await request_of_submission(session, submission), answer)


async def request_of_submission(session: Session, submission: Submission) -> Request:
    """The request that a submission was made for."""
    generation = await session.library.ledger.submissions.generation(submission.key)
    assert generation is not None, "a submission has a generation (foreign key)"
    return generation.request


def _failure_of(report: Report) -> str | None:
    """Why a generation failed as a whole; None if there is a song to collect."""
    failed = report.status is ReportStatus.FAILED or all(take.error is not None for take in report.takes)
    if report.collectable or not failed:
        return None
    return report.failure or "; ".join(take.error for take in report.takes if take.error)


def _announced(take: TakeReport) -> AnnouncedTake:
    return AnnouncedTake(
        song_id=take.song_id,
        title=take.title,
        tags=tuple(take.tags),
        lyrics=take.lyrics,
        seconds=take.duration,
        # Before the end an address may have a part of the song; a rescue asks for that of the whole one.
        song_url=take.song_path if take.collectable else None,
        image_url=take.image_path,
        # A finished song with an address is worth collecting, whatever error comes with it.
        error=None if take.collectable else take.error,
        payload=payload_text(take.payload),
        complete=take.is_text and take.collectable,
    )


def _promised(submission: Submission, report: Report) -> list[AnnouncedTake]:
    """The takes that the answer to the POST named and the report does not list: they are paid for, so ask again."""
    listed = {take.song_id for take in report.takes}
    return [
        AnnouncedTake(track_id, None, (), None, None, None, None, None, payload="{}")
        for track_id in submission.track_ids
        if listed.intersection(submission.track_ids) and track_id not in listed
    ]
