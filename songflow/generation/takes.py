"""Store one take of a generation: fetch its file, verify it, put it on the store, commit its row.

Any process may repeat this at any time: asking is free, a stored take is not fetched again, and two processes that
collect the same take do it one after the other.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from songflow import events
from songflow.accounts import Access
from songflow.audio.id3 import Picture
from songflow.downloads.covers import fetching_cover
from songflow.downloads.downloader import Downloaded, DownloadProblem, locked
from songflow.errors import SongflowError
from songflow.families.family import Product
from songflow.families.registry import makes
from songflow.gateways import Account, Report
from songflow.gateways.dialects import stored_dialect
from songflow.generation.session import Session
from songflow.ledger.rows import Song, Submission
from songflow.ledger.songs import Origin
from songflow.ledger.states import SongState
from songflow.library.joining import JoinedPart, is_new_part, join_part, not_joined, only_new_part
from songflow.library.source_check import check_source
from songflow.library.storing import tag_and_store
from songflow.library.wholes import part_of, store_joined
from songflow.polling.loop import look
from songflow.runtime.retry import persist

__all__ = ["store_song", "take_uid"]

log = logging.getLogger(__name__)


async def store_song(
    session: Session, submission: Submission, song: Song, access: Access | None = None
) -> Song:
    """Fetch, verify and store one take.

    A failure is committed to the take's row and returned, not raised: the next collect tries again, and the other
    takes go on.

    Raises:
        MissingCredentials: its URL is dead, and the account that could give a fresh one is not available.
        LibraryError: songs cannot be written to the store.
    """
    library = session.library
    library.require_store()
    part = library.store.parts / f"{take_uid(song)}.part"
    try:
        async with locked(part):
            return await _store_locked(session, submission, song, part, access)
    except OSError as error:  # nothing can be written to the store, not even the lock
        return await _not_stored(session, song, error.strerror or str(error))


async def _store_locked(
    session: Session, submission: Submission, song: Song, part: Path, access: Access | None
) -> Song:
    library = session.library
    origin = await library.ledger.songs.origin(song.id)
    song = origin.song
    if song.state is not SongState.ANNOUNCED:
        return song
    downloads = await session.downloads(
        submission.base_url, await _key_for_files(session, submission, access)
    )

    async def refresh_url() -> str | None:
        return await _fresh_url(session, access, submission, song)

    try:
        url = song.song_url or await refresh_url()
        if url is None:
            raise DownloadProblem("the gateway has announced no address for it")
        offered = song.image_url if library.settings.covers else None
        async with fetching_cover(downloads, offered) as cover:
            done = await downloads.fetch(url, part, song.announced_seconds, refresh_url)
            song = await _store(session, origin, done, await cover)
    except SongflowError:
        raise
    except (DownloadProblem, OSError) as problem:
        return await _not_stored(session, song, str(problem))
    except Exception as error:
        # It is paid for: whatever is raised, the other takes are stored, and a rescue tries this one again.
        log.debug("Storing '%s' failed.", song.title, exc_info=True)
        return await _not_stored(session, song, f"{type(error).__name__}: {error}")
    if song.state is SongState.STORED:
        session.events.emit(events.stored(submission, song))
        if session.measuring is not None:
            session.measuring.arrived(song)
    return song


async def _key_for_files(session: Session, submission: Submission, access: Access | None) -> Account | None:
    """The account whose key the gateway wants for its songs; None where they need none.

    Raises:
        MissingCredentials: that account is not available.
    """
    dialect = stored_dialect(submission.gateway, submission.dialect)
    service = None if dialect is None else dialect.services.get(submission.family)
    if service is None or not service.key_for_files:
        return None
    return (await session.gateways.access_for(submission, access)).account


async def _not_stored(session: Session, song: Song, reason: str) -> Song:
    log.warning("'%s' could not be stored: %s.", song.title, reason)
    return await session.library.ledger.songs.problem(song, f"could not be stored: {reason}")


def take_uid(song: Song) -> str:
    """A short name of one take that no other take of any ledger has."""
    return hashlib.sha256(f"{song.submission_id}/{song.take}".encode()).hexdigest()[:10]


async def _fresh_url(
    session: Session, access: Access | None, submission: Submission, song: Song
) -> str | None:
    gateway = await session.gateways.get(await session.gateways.access_for(submission, access))
    answer = await look(
        lambda: gateway.fetch(submission.family, submission.generation_id, submission.track_ids)
    )
    if not isinstance(answer, Report):
        return None
    # Takes may share an id, or have none: the one in this take's place comes first.
    candidates = (*answer.takes[song.take : song.take + 1], *answer.takes)
    return next(
        (take.song_path for take in candidates if take.song_id == song.song_id and take.collectable), None
    )


async def _store(session: Session, origin: Origin, done: Downloaded, cover: Picture | None) -> Song:
    library, song, request = session.library, origin.song, origin.generation.request
    if makes(request.model_type) is Product.WHOLE_SONG:
        return await _store_whole(session, origin, done, cover)
    part = await _joined(session, origin, done) if is_new_part(request) else None
    source = part.found if part else await check_source(library, song, request, done)
    whole = part.draft if part else None
    file = await tag_and_store(
        library, origin, done, uid=take_uid(song), cover=cover, source=source, whole=whole
    )
    if whole is not None and file.whole_path is None:
        source = not_joined("the whole song could not be stored")
    # The file has its final name already: without the row nobody would find it.
    stored = await persist(lambda: library.ledger.songs.stored(song, file, source))
    log.log(session.events.success_level, "Stored '%s' as %s.", song.title, file.path)
    return stored


async def _joined(session: Session, origin: Origin, done: Downloaded) -> JoinedPart:
    """An extension that is only the new part, joined with its source unless the session leaves that out."""
    if session.settings.join != "local":  # the gateway joins what is stored
        return JoinedPart(None, only_new_part())
    return await join_part(session.library, origin, done.part, done.part.with_suffix(".whole"))


async def _store_whole(session: Session, origin: Origin, done: Downloaded, cover: Picture | None) -> Song:
    """Store the whole song that the gateway made of a new part; the part's row names it."""
    part = await part_of(session.library, origin.song)
    song = await store_joined(
        session.library,
        origin,
        done,
        part,
        uid=take_uid(origin.song),
        part_uid=take_uid(part),
        cover=cover,
    )
    log.log(session.events.success_level, "Stored the whole song of '%s' as %s.", part.title, song.path)
    return song
