"""Check after the download whether an extension contains its source.

The gateways' documentation suggests that a precede or a continuation returns the whole song (source and new part), but
no published example proves it. So each extension is compared with its source's file, if this library has it. The result
is stored with the song; a failed comparison never fails the download.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from songflow.audio.alignment import HOLDS, Match, find_source
from songflow.audio.decoding import AudioProblem
from songflow.downloads.downloader import Downloaded
from songflow.families.family import Mode, Request
from songflow.families.registry import starts_in_seconds
from songflow.ledger.rows import Song, SourceFound
from songflow.ledger.states import SongState
from songflow.library.library import Library

__all__ = [
    "NOT_KEPT",
    "check_source",
    "compare",
    "compare_songs",
    "contains_source",
    "in_compare_thread",
    "seam_of",
    "source_of",
    "without_errors",
]

log = logging.getLogger(__name__)

_PARTLY = 0.2

_NOT_LONGER_SECONDS = 0.5
_NOT_COMPARED = "not compared with its source"
NOT_KEPT = f"{_NOT_COMPARED}: this library does not have it"
"""The remark on an extension whose source is at the gateway only."""

# One separate thread: comparing two songs of six minutes takes 200 MB, and must not delay the threads that sync files
# and store songs.
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="songflow-compare")


def contains_source(song: Song) -> bool | None:
    """Whether an extension contains its source; None if they were not compared."""
    return None if song.source_score is None else song.source_score >= HOLDS


def seam_of(song: Song) -> float | None:
    """Position (seconds) in an extension where its source and its new part meet; None if unknown, or in no file."""
    if song.whole_path is not None:
        return None
    if song.source_at is None or song.seconds is None or song.added_seconds is None:
        return None
    return song.source_at + (0.0 if song.mode == Mode.PRECEDE else song.seconds - song.added_seconds)


async def check_source(
    library: Library, song: Song, request: Request, done: Downloaded
) -> SourceFound | None:
    """Compare a verified download with the song that its request extends; None for a song without a source.

    Never raises: the song is paid for, and is stored in any case.
    """
    if song.parent_song_id is None or done.facts is None:
        return None
    compared = _compare_with_source(library, song, done.part, done.facts.seconds, kept_seconds(request))
    found = await without_errors(song, compared)
    if found.note:
        log.warning("'%s': %s.", song.title, found.note)
    return found


async def compare_songs(library: Library, source: Song, whole: Song) -> SourceFound:
    """Compare two stored songs: how much of `source`, as far as it was kept, is in `whole`. Never raises."""
    return await without_errors(whole, _compare_stored(library, source, whole))


async def _compare_stored(library: Library, source: Song, whole: Song) -> SourceFound:
    if source.path is None or whole.path is None or whole.seconds is None:
        return SourceFound(note=f"{_NOT_COMPARED}: one of them is not stored")
    kept = None
    if whole.parent_song_id == source.song_id:
        kept = kept_seconds((await library.ledger.songs.origin(whole.id)).generation.request)
    async with library.store.open_local(source.path) as one, library.store.open_local(whole.path) as other:
        return await _compare_in_thread(one, other, source.seconds, whole.seconds, kept)


async def _compare_with_source(
    library: Library, song: Song, file: Path, seconds: float, kept: float | None
) -> SourceFound:
    source = await source_of(library, song)
    if source is None or source.path is None:
        return SourceFound(note=NOT_KEPT)
    async with library.store.open_local(source.path) as other:
        return await _compare_in_thread(other, file, source.seconds, seconds, kept)


async def _compare_in_thread(
    source: Path, whole: Path, source_seconds: float | None, whole_seconds: float, kept: float | None
) -> SourceFound:
    return await in_compare_thread(compare, source, whole, source_seconds, whole_seconds, kept)


async def in_compare_thread(work: Callable[..., SourceFound], *arguments: object) -> SourceFound:
    """Run work on whole songs in the one thread that there is for it."""
    return await asyncio.get_running_loop().run_in_executor(_thread, work, *arguments)


async def without_errors(song: Song, work: Awaitable[SourceFound]) -> SourceFound:
    """The result of a comparison; what it raises becomes a remark, because the song is paid for."""
    try:
        return await work
    except (AudioProblem, OSError) as problem:
        return SourceFound(note=f"{_NOT_COMPARED}: {problem}")
    except Exception as error:  # a paid song is stored even if the comparison has a bug
        log.warning("'%s' could not be compared with its source.", song.title, exc_info=error)
        return SourceFound(note=f"{_NOT_COMPARED}: {type(error).__name__}")


async def source_of(library: Library, song: Song) -> Song | None:
    """Find the stored source of an extension, at the same gateway: ids of two gateways may collide."""
    ledger = library.ledger
    home = await ledger.submissions.get(song.submission_id)
    for source in reversed(await ledger.songs.by_song_id(song.parent_song_id or "")):
        maker = await ledger.submissions.get(source.submission_id)
        if source.state is SongState.STORED and maker.place == home.place:
            return source
    return None


def kept_seconds(request: Request) -> float | None:
    """How much of its source an extension is to contain, from the source's beginning; None for all of it."""
    return request.start if starts_in_seconds(request.model_type) else None


def compare(
    source: Path,
    whole: Path,
    source_seconds: float | None,
    whole_seconds: float,
    kept: float | None = None,
) -> SourceFound:
    """Compare an extension's file with its source's, given their lengths and how much was kept (seconds).

    Raises:
        AudioProblem, OSError: one of them cannot be read.
    """
    match = find_source(source, whole, kept)
    longer = None if source_seconds is None else whole_seconds - source_seconds
    # The new part replaces what was not kept.
    replaced = 0.0 if kept is None or source_seconds is None else max(0.0, source_seconds - kept)
    contained = match.share >= HOLDS
    return SourceFound(
        source_score=round(match.share, 4),
        source_at=round(match.at, 4) if contained else None,
        added_seconds=round(longer + replaced, 4) if longer is not None else None,
        note=_remark(match, longer),
    )


def _remark(match: Match, longer: float | None) -> str | None:
    remarks = []
    if longer is not None and longer < _NOT_LONGER_SECONDS:
        remarks.append("it is not longer than its source")
    if match.share < HOLDS:
        little = match.share < _PARTLY
        found = (
            "it does not contain its source"
            if little
            else f"it contains only {match.share:.0%} of its source"
        )
        remarks.append(f"{found} (if it is only the new part, `songflow stitch` joins them)")
    return "; ".join(remarks) or None
