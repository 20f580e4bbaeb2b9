"""A ledger from files alone: every song that carries its story becomes a row again.

It may be repeated, and run on a ledger that is in use: what the ledger knows stays as it is. The files may come
from anywhere, so nothing in them is believed that could do harm. Above all a file names the gateway that the
song came from, and whoever extends the song sends a key there: a file from a gateway that is neither published,
nor known to the ledger, nor trusted by the caller is left out.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from songflow.accounts import EMBEDDED_URL
from songflow.audio.checksums import audio_sha256_of, sha256_of
from songflow.audio.decoding import AudioFacts, AudioProblem, measure
from songflow.downloads.covers import ENDINGS
from songflow.errors import InputError
from songflow.gateways import DIALECTS, Dialect, Place, custom_dialect, place_of
from songflow.ledger.restore import RestorableSong, RestoreOutcome
from songflow.ledger.rows import Song, json_list
from songflow.ledger.states import SongState
from songflow.library.library import Library
from songflow.library.provenance import AudioStory, NoStory, Told, read_story
from songflow.library.storing import MEASURES, OTHER_ENDINGS

__all__ = ["Finding", "Found", "Place", "rebuild", "require_folder"]

log = logging.getLogger(__name__)

_AT_ONCE = 50
"""Songs in one transaction."""


class Found(StrEnum):
    """What became of a file."""

    ADDED = "added"
    KNOWN = "known"
    MOVED = "moved"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One file: what became of it, and why it was skipped or what is remarkable about it."""

    path: str
    found: Found
    song_id: str | None = None
    title: str | None = None
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


async def rebuild(library: Library, folder: Path, trusted: Sequence[Place] = ()) -> list[Finding]:
    """Add every song below `folder` that tells its story to the library's ledger; the files stay where they are.

    Args:
        trusted: Gateways, beside those published and those that the ledger knows, whose songs are taken.

    Raises:
        InputError: there is no such folder.
        LibraryError: the ledger cannot be used; what was added before stays, and the next call goes on.
    """
    require_folder(folder)
    known = {*_PUBLISHED, *trusted, *await library.ledger.restore.places()}
    places = {place_of(*place) for place in known}
    findings: list[Finding] = []
    told: list[tuple[tuple[Any, ...], Path]] = []
    for path in await asyncio.to_thread(lambda: list(_songs_below(folder.resolve()))):
        try:
            told.append((await asyncio.to_thread(_order, path, places), path))
        except NoStory as why:
            findings.append(Finding(str(path), Found.SKIPPED, reason=str(why)))
    in_order = [path for _, path in sorted(told)]
    for start in range(0, len(in_order), _AT_ONCE):
        findings += await _restore(library, in_order[start : start + _AT_ONCE], places)
    return findings


def require_folder(folder: Path) -> None:
    """Raise InputError where there is no such folder."""
    if not folder.is_dir():
        raise InputError(
            f"There is no folder {folder}.", next="give the folder that holds the songs; nothing was changed."
        )


_PUBLISHED = {
    *((dialect.name, dialect.base_url) for dialect in DIALECTS.values() if dialect.base_url),
    ("simulator", EMBEDDED_URL),
}


def _songs_below(folder: Path) -> Iterator[Path]:
    """Regular files with the ending of a song, in a lasting order; hidden folders hold what is unfinished."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place) / name
            # A pipe would be waited for, and a link could lead anywhere.
            if path.suffix.lower() in _ENDINGS and stat.S_ISREG(path.lstat().st_mode):
                yield path


_ENDINGS = {".mp3", *OTHER_ENDINGS}


# --- what a file tells ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Read:
    """A file, what it tells, and the rows that come of it; `remark` is where it does not match its own story."""

    path: Path
    told: Told
    rows: RestorableSong
    remark: str | None


def _order(path: Path, places: set[Place]) -> tuple[Any, ...]:
    """Where a song stands among all: rows are made in the order in which the songs were."""
    story = _told(path, places).story
    paid = story.submission
    return paid.intended_at, paid.id, paid.ordinal, story.song.take, str(path)


def _told(path: Path, places: set[Place]) -> Told:
    try:
        with path.open("rb") as file:
            told = read_story(file)
    except OSError as error:
        raise NoStory(f"it cannot be read: {error.strerror or error}") from None
    paid = told.story.submission
    if place_of(paid.gateway, paid.base_url) not in places:
        raise NoStory(
            f"it comes from {paid.gateway} at {paid.base_url}, which this library does not know: if you do, run "
            f"again with --trust {paid.gateway}={paid.base_url}"
        )
    return told


def _read(path: Path, places: set[Place]) -> _Read:
    """Everything of one file, its audio compared with what its story says of it.

    Raises:
        NoStory: it cannot become a row.
    """
    told = _told(path, places)
    story = told.story
    try:
        with path.open("rb") as file:
            audio_sha256 = audio_sha256_of(file)
        size, sha256 = path.stat().st_size, sha256_of(path)
        facts: AudioStory | AudioFacts = story.audio
        remark = None
        if audio_sha256 != story.audio.sha256:
            facts, remark = measure(path), "its audio is not the one that was stored"
    except OSError as error:
        raise NoStory(f"it cannot be read: {error.strerror or error}") from None
    except AudioProblem as error:
        raise NoStory(f"its audio is not the one that was stored, and broken: {error}") from None
    song = {
        **story.song.model_dump(exclude={"tags"}),
        "tags": json_list(story.song.tags),
        "payload": told.payload,
        "path": str(path),
        "bytes": size,
        "sha256": sha256,
        "audio_sha256": audio_sha256,
        "cover_path": _cover_beside(path),
        **story.source.model_dump(exclude={"note"}),
        "note": "; ".join(note for note in (story.source.note, remark) if note) or None,
        **{name: getattr(facts, name) for name in MEASURES},
    }
    return _Read(
        path, told, RestorableSong(story.key, told.request, story.hash_version, _paid(told), song), remark
    )


def _paid(told: Told) -> dict[str, Any]:
    paid = told.story.submission
    return {
        **paid.model_dump(exclude={"paths", "track_ids"}),
        "track_ids": json_list(paid.track_ids),
        "dialect": _dialect(told).stored(),
    }


def _dialect(told: Told) -> Dialect:
    """How the gateway is spoken to: as this songflow knows it, a custom one as the file says."""
    paid = told.story.submission
    if paid.gateway in DIALECTS:
        return DIALECTS[paid.gateway]
    try:
        return custom_dialect(paid.base_url, **(paid.paths or {}))
    except (TypeError, ValueError):
        raise NoStory("its gateway's paths cannot be believed") from None


def _cover_beside(path: Path) -> str | None:
    covers = (path.with_suffix(ending) for ending in ENDINGS.values())
    return next((str(cover) for cover in covers if cover.is_file()), None)


# --- into the ledger --------------------------------------------------------------------------------------------


async def _restore(library: Library, paths: Sequence[Path], places: set[Place]) -> list[Finding]:
    findings, read = [], []
    for path in paths:
        try:
            read.append(await asyncio.to_thread(_read, path, places))
        except NoStory as why:
            findings.append(Finding(str(path), Found.SKIPPED, reason=str(why)))
    outcomes = await library.ledger.restore.add([one.rows for one in read])
    for one, outcome in zip(read, outcomes, strict=True):
        found, reason = await _judged(library, one, outcome)
        song = one.told.story.song
        findings.append(Finding(str(one.path), found, song.song_id, song.title, reason))
    return findings


async def _judged(library: Library, one: _Read, outcome: RestoreOutcome) -> tuple[Found, str | None]:
    if outcome.added:
        return Found.ADDED, one.remark
    if outcome.known is None:
        return Found.SKIPPED, outcome.reason
    song, path = outcome.known, str(one.path)
    if song.path == path:
        return Found.KNOWN, one.remark
    if song.state is not SongState.STORED:
        # Its gateway could not give it any more; whoever named the file died before the row was written.
        if song.error and one.remark is None and await library.ledger.restore.adopt(song, one.rows):
            return Found.ADDED, "its take was paid for and not yet collected"
        return (
            Found.SKIPPED,
            f"the ledger knows its take as {song.state}: `songflow rescue` collects what is there",
        )
    if one.rows.song["sha256"] == song.sha256 and not await _is_there(library, song):
        cover = one.rows.song["cover_path"]
        if await library.ledger.restore.move(song, path, cover):
            return Found.MOVED, f"the ledger had it at {song.path}"
    return Found.KNOWN, f"the ledger has this take at {song.path}"


async def _is_there(library: Library, song: Song) -> bool:
    return song.path is not None and await library.store.holds(song.path, song.bytes)
