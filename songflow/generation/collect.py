"""From an accepted id to songs on the store: wait, commit what was announced, fetch every take.

Everything here may be repeated by any process at any time: asking is free, a stored take is not fetched again,
and two processes that collect the same take take turns.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from songflow import events
from songflow.accounts import Access
from songflow.audio.id3 import Picture
from songflow.downloads.covers import fetching_cover
from songflow.downloads.downloader import TRANSFER_SECONDS, Downloaded, DownloadProblem, locked
from songflow.families.family import Request
from songflow.gateways import Gateway, Report, ReportStatus, TakeReport
from songflow.generation.error_texts import failed_error, lost_error, overdue_error, told_as_paid
from songflow.generation.leases import held
from songflow.generation.session import Session
from songflow.ledger.rows import Song, Submission, Timing
from songflow.ledger.songs import AnnouncedTake, Lineage, Origin, payload_text
from songflow.ledger.states import SongState, State
from songflow.library.source_check import look_for_source
from songflow.library.storing import keep
from songflow.polling import Watch
from songflow.polling.loop import Overdue, Schedule, Vanished, wait_until_settled
from songflow.runtime.concurrency import all_ended
from songflow.runtime.retry import persist

__all__ = ["Progress", "collect", "look_again", "store_song", "wait"]

log = logging.getLogger("songflow.generation.collect")

# The takes come side by side, and a try of one ends by then.
_COLLECTING_SECONDS = TRANSFER_SECONDS

Progress = Callable[[str, float | None, float], Awaitable[None]]
"""Told while waiting: the status word, the gateway's progress (0..1, where it gives one), seconds since accepted."""


async def wait(
    session: Session, submission: Submission, access: Access | None = None, progress: Progress | None = None
) -> list[Song]:
    """Wait until a submission's generation has ended and commit its takes, before the first download.

    Returns:
        A row per take, in the gateway's order; at once where the ledger already knows the end.

    Raises:
        StillRunning: our deadline passed or the key was refused; it runs on and is billed.
        GenerationFailed: the gateway reports a failure and no song.
        GenerationLost: the gateway no longer knows the id.
        NotCollected: the ledger cannot be used.
        MissingCredentials: the account that took it is not at hand.
    """
    if submission.state is State.SUCCEEDED:
        with told_as_paid(submission):
            return await session.library.ledger.songs.of_submission(submission.id)
    access = await session.access_for(submission, access)
    with told_as_paid(submission):
        gateway = await session.gateway(access)
        request = await _request_of(session, submission)
        deadline = session.deadline(request.model)
        async with held(session, submission, deadline):
            schedule, watch = await session.schedule(access, request), Watch(submission)
            report = await _until_settled(session, gateway, submission, schedule, watch, deadline, progress)
            timing = watch.timing(report)
            songs = await _commit_end(
                session, submission, request, report, refund=access.refunds_failed, timing=timing
            )
            session.took(access, request, timing)
            return songs


async def collect(
    session: Session, submission: Submission, songs: Sequence[Song], access: Access | None = None
) -> list[Song]:
    """Store every take that was announced and is not stored yet; what cannot be stored says why in its row.

    Returns:
        The same takes, as they stand now.

    Raises:
        NotCollected: the library cannot be used.
        MissingCredentials: a dead URL needs to be asked for again, and the account is not at hand.
    """
    missing = [song for song in songs if song.state is SongState.ANNOUNCED]
    collected: dict[int, Song] = {}
    with told_as_paid(submission):
        if missing:
            async with held(session, submission, _COLLECTING_SECONDS):
                work = (store_song(session, submission, song, access) for song in missing)
                for done in await all_ended(*work):
                    if isinstance(done, BaseException):
                        raise done
                    collected[done.id] = done
    return [collected.get(song.id, song) for song in songs]


async def look_again(session: Session, submission: Submission, access: Access | None = None) -> list[Song]:
    """Ask once more for a generation that ended: takes that a gateway lists late are paid for, too.

    Returns:
        A row per take, those that were known before first.

    Raises:
        MissingCredentials: the account that took it is not at hand.
    """
    access = await session.access_for(submission, access)
    gateway = await session.gateway(access)
    answer = await gateway.fetch(submission.generation_id, submission.track_ids)
    known = await session.library.ledger.songs.of_submission(submission.id)
    if not isinstance(answer, Report) or len(answer.takes) <= len(known):
        return known
    log.info("The gateway lists %d takes of %s now.", len(answer.takes), submission.any_id)
    request = await _request_of(session, submission)
    return await _commit_end(session, submission, request, answer, refund=False)


async def store_song(
    session: Session, submission: Submission, song: Song, access: Access | None = None
) -> Song:
    """Fetch, verify and store one take. A failure is committed on its row and returned, not raised: it is retried
    by the next collect, and must not hide the other takes.

    Raises:
        MissingCredentials: a dead URL needs to be asked for again, and the account is not at hand.
    """
    library = session.library
    part = library.store.parts / f"{take_uid(song)}.part"
    async with locked(part):
        origin = await library.ledger.songs.origin(song.id)
        song = origin.song
        if song.state is not SongState.ANNOUNCED:
            return song
        downloads = await session.downloads(submission.base_url)

        async def ask_again() -> str | None:
            return await _fresh_url(session, access, submission, song)

        try:
            url = song.song_url or await ask_again()
            if url is None:
                raise DownloadProblem("the gateway has announced no address for it")
            offered = song.image_url if library.settings.covers else None
            async with fetching_cover(downloads, offered) as cover:
                done = await downloads.fetch(url, part, song.announced_seconds, ask_again)
                song = await _store(session, origin, done, await cover)
        except (DownloadProblem, OSError) as problem:
            log.warning("'%s' could not be stored: %s.", song.title, problem)
            song = await library.ledger.songs.problem(song, f"could not be stored: {problem}")
    if song.state is SongState.STORED:
        session.tell(events.stored(submission, song))
    return song


def take_uid(song: Song) -> str:
    """A short name of one take that no other take of any ledger has."""
    return hashlib.sha256(f"{song.submission_id}/{song.take}".encode()).hexdigest()[:10]


async def _until_settled(
    session: Session,
    gateway: Gateway,
    submission: Submission,
    schedule: Schedule,
    watch: Watch,
    deadline: float,
    progress: Progress | None,
) -> Report:
    ledger = session.library.ledger.submissions
    age = (datetime.now(UTC) - (submission.answered_at or submission.intended_at)).total_seconds()
    age = max(0.0, age)
    seen_running = submission.state is State.RUNNING

    async def on_report(report: Report, seconds: float) -> None:
        nonlocal seen_running
        watch.look(report, seconds)
        if not seen_running and report.status is not ReportStatus.QUEUED:
            seen_running = True
            await ledger.running(submission.id)
        if progress is not None:
            await progress(str(report.status), report.progress, seconds)

    try:
        return await wait_until_settled(
            lambda: gateway.fetch(submission.generation_id, submission.track_ids),
            schedule,
            age=age,
            deadline=deadline,
            track_ids=submission.track_ids,
            # Somebody may have waited before us: what is already there should not wait for us again.
            first_delay=None if age < max(1.0, schedule.delay(0.0)) else 0.0,
            on_report=on_report,
        )
    except Overdue as error:
        if error.last is not None and error.last.collectable:
            log.warning(
                "Not every take of %s is ready (%s): storing those that are.", submission.any_id, error
            )
            return error.last
        await ledger.stop_waiting(submission.id, State.OVERDUE, str(error), pending_at=watch.pending_at)
        overdue = overdue_error(submission, str(error))
        if submission.state is not State.OVERDUE:  # a rescue asks again and again
            session.tell(events.trouble("overdue", submission, overdue))
        raise overdue from None
    except Vanished as error:
        await ledger.stop_waiting(submission.id, State.LOST, str(error))
        lost = lost_error(submission, str(error))
        if submission.state is not State.LOST:
            session.tell(events.trouble("lost", submission, lost))
        raise lost from None


async def _commit_end(
    session: Session,
    submission: Submission,
    request: Request,
    report: Report,
    *,
    refund: bool,
    timing: Timing | None = None,
) -> list[Song]:
    """The raw payload and every take in one transaction; a failure without any good take is one."""
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
        session.tell(events.trouble("failed", submission, failed))
        raise failed
    return songs


def _failure_of(report: Report) -> str | None:
    """Why a settled generation failed as a whole, or None where there is anything to collect."""
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
        song_url=take.song_path,
        image_url=take.image_path,
        # A finished song with an address is worth collecting whatever else was said of it.
        error=None if take.collectable else take.error,
        payload=payload_text(take.payload),
    )


def _promised(submission: Submission, report: Report) -> list[AnnouncedTake]:
    """The takes that the submit's answer promised and the report does not list: paid for, so asked for again."""
    listed = {take.song_id for take in report.takes}
    return [
        AnnouncedTake(track_id, None, (), None, None, None, None, None, payload="{}")
        for track_id in submission.track_ids
        if listed.intersection(submission.track_ids) and track_id not in listed
    ]


async def _request_of(session: Session, submission: Submission) -> Request:
    generation = await session.library.ledger.submissions.generation(submission.key)
    assert generation is not None, "a submission has a generation (foreign key)"
    return generation.request


async def _fresh_url(
    session: Session, access: Access | None, submission: Submission, song: Song
) -> str | None:
    gateway = await session.gateway(await session.access_for(submission, access))
    answer = await gateway.fetch(submission.generation_id, submission.track_ids)
    if not isinstance(answer, Report):
        return None
    return next((take.song_path for take in answer.takes if take.song_id == song.song_id), None)


async def _store(session: Session, origin: Origin, done: Downloaded, cover: Picture | None) -> Song:
    library, song = session.library, origin.song
    source = await look_for_source(library, song, done)
    file = await keep(library, origin, done, uid=take_uid(song), cover=cover, source=source)
    # It has its name already: without the row nobody would know of it.
    stored = await persist(lambda: library.ledger.songs.stored(song, file, source))
    log.info("Stored '%s' as %s.", song.title, file.path)
    return stored
