"""Rebuild ledger rows from song files that carry their provenance.

It can be repeated, and run on a ledger in use: existing rows are not changed. The files may come from anywhere, so
their metadata is not trusted. Above all it names the gateway the song came from, and extending the song sends a key
there: files from a gateway that is not published, not in the ledger and not trusted by the caller are skipped.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from songflow.accounts import EMBEDDED_URL
from songflow.audio.checksums import audio_sha256_of, sha256_of
from songflow.audio.decoding import AudioFacts, AudioProblem, measure
from songflow.documents.text import joined_notes
from songflow.downloads.covers import ENDINGS
from songflow.errors import InputError
from songflow.gateways import DIALECTS, Dialect, Place, custom_dialect, place_of
from songflow.gateways.dialects import CUSTOM, why_unknown
from songflow.ledger.restore import RestorableSong, RestoreOutcome
from songflow.ledger.rows import JOINED_BY_GATEWAY, JOINED_HERE, Song, json_list
from songflow.ledger.states import SongState
from songflow.library.audio_store import TRASH
from songflow.library.finishing import FINISHED
from songflow.library.joining import is_new_part, only_new_part
from songflow.library.library import Library
from songflow.library.provenance import (
    MEASURES,
    AudioRecord,
    NoProvenance,
    SongMetadata,
    SourceRecord,
    read_provenance,
)
from songflow.library.storing import OTHER_ENDINGS, WHOLE_ENDING

__all__ = ["Finding", "Found", "Place", "rebuild", "require_folder"]

log = logging.getLogger(__name__)

_AT_ONCE = 50
"""Songs in one transaction."""


class Found(StrEnum):
    """Result for one file."""

    ADDED = "added"
    KNOWN = "known"
    MOVED = "moved"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One file and its result.

    `reason` is why it was skipped, or a remark; `trust` the gateway (NAME=URL) to trust before it can be taken.
    """

    path: str
    found: Found
    song_id: str | None = None
    title: str | None = None
    reason: str | None = None
    trust: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON; the reason names the gateway to trust."""
        return {name: value for name, value in asdict(self).items() if name != "trust"}


async def rebuild(library: Library, folder: Path, trusted: Sequence[Place] = ()) -> list[Finding]:
    """Add every song with valid metadata below `folder` to the library's ledger; the files stay where they are.

    Args:
        trusted: Gateways to accept, beside the published ones and those in the ledger.

    Raises:
        InputError: there is no such folder.
        LibraryError: the ledger cannot be used; rows added before stay, and the next call continues.
    """
    require_folder(folder)
    known = {*_published(), *trusted, *await library.ledger.restore.places()}
    places = {place_of(*place) for place in known}
    findings: list[Finding] = []
    sortable: list[tuple[tuple[Any, ...], Path]] = []
    for path in await asyncio.to_thread(lambda: list(_songs_below(folder.resolve()))):
        try:
            sortable.append((await asyncio.to_thread(_sort_key, path, places), path))
        except NoProvenance as why:
            if not _is_joined_here(path) and path.parent.name != FINISHED:
                findings.append(_skipped(path, why))
    in_order = [path for _, path in sorted(sortable)]
    for start in range(0, len(in_order), _AT_ONCE):
        findings += await _restore(library, in_order[start : start + _AT_ONCE], places)
    return findings


def _skipped(path: Path, why: NoProvenance) -> Finding:
    trust = why.trust if isinstance(why, _UntrustedGateway) else None
    return Finding(str(path), Found.SKIPPED, reason=str(why), trust=trust)


class _UntrustedGateway(NoProvenance):
    """The file comes from a gateway that nobody has vouched for."""

    def __init__(self, gateway: str, base_url: str) -> None:
        self.trust = f"{gateway}={base_url}"
        super().__init__(
            f"it comes from {gateway} at {base_url}, which this library does not know: if you trust it, run "
            f"again with --trust {self.trust}"
        )


def require_folder(folder: Path) -> None:
    """Raise InputError if the folder does not exist."""
    if not folder.is_dir():
        raise InputError(
            f"There is no folder {folder}.", next="give the folder that holds the songs; nothing was changed."
        )


def _published() -> set[Place]:
    """The published addresses of gateways, and the simulator's own."""
    known = {(dialect.name, dialect.base_url) for dialect in DIALECTS.values() if dialect.base_url}
    return {*known, ("simulator", EMBEDDED_URL)}


def _songs_below(folder: Path) -> Iterator[Path]:
    """Regular files with a song's ending, in a stable order; hidden folders hold unfinished downloads."""
    for place, folders, names in os.walk(folder, onerror=_warn_of):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place) / name
            # Opening a pipe would block, and a link could lead anywhere.
            with suppress(FileNotFoundError):  # somebody moves files meanwhile
                if path.suffix.lower() in _ENDINGS and stat.S_ISREG(path.lstat().st_mode):
                    yield path


def _warn_of(error: OSError) -> None:
    log.warning("The folder %s cannot be read (%s): its songs are left out.", error.filename, error.strerror)


def _is_joined_here(path: Path) -> bool:
    """True for a whole song beside the new part that it was joined from here: the part's own file is the song."""
    stem = path.name.removesuffix(WHOLE_ENDING)
    return stem != path.name and any(path.with_name(f"{stem}{ending}").is_file() for ending in _ENDINGS)


_ENDINGS = {".mp3", *OTHER_ENDINGS}


# --- reading files ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _SongFile:
    """A file, its metadata and the rows to add; `remark` tells how it differs from its metadata."""

    path: Path
    metadata: SongMetadata
    rows: RestorableSong
    remark: str | None


def _sort_key(path: Path, places: set[Place]) -> tuple[Any, ...]:
    """Sort key of a song: rows are added in the order in which the songs were paid for."""
    provenance = _read_metadata(path, places).provenance
    paid = provenance.submission
    return paid.intended_at, paid.id, paid.ordinal, provenance.song.take, str(path)


def _read_metadata(path: Path, places: set[Place]) -> SongMetadata:
    try:
        with path.open("rb") as file:
            metadata = read_provenance(file)
    except OSError as error:
        raise NoProvenance(f"it cannot be read: {error.strerror or error}") from None
    paid = metadata.provenance.submission
    if place_of(paid.gateway, paid.base_url) not in places:
        raise _UntrustedGateway(paid.gateway, paid.base_url)
    return metadata


def _read(path: Path, places: set[Place]) -> _SongFile:
    """Read a file completely, and compare its audio with its metadata.

    Raises:
        NoProvenance: it cannot be added to the ledger.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise NoProvenance("its path is not UTF-8, which the ledger cannot store: rename it") from None
    metadata = _read_metadata(path, places)
    provenance = metadata.provenance
    try:
        with path.open("rb") as file:
            audio_sha256 = audio_sha256_of(file)
        size, sha256 = path.stat().st_size, sha256_of(path)
        facts: AudioRecord | AudioFacts = provenance.audio
        remark = None
        if audio_sha256 != provenance.audio.sha256:
            facts, remark = measure(path), "its audio has changed since it was stored"
    except OSError as error:
        raise NoProvenance(f"it cannot be read: {error.strerror or error}") from None
    except AudioProblem as error:
        raise NoProvenance(f"its audio has changed since it was stored, and is broken: {error}") from None
    whole, source = None, provenance.source
    # The record of a new part tells of the whole song, if it was joined when it was stored.
    if is_new_part(metadata.request):
        whole, source = _whole_of(path, source)
    song = {
        **provenance.song.model_dump(exclude={"tags"}),
        "tags": json_list(provenance.song.tags),
        "payload": metadata.payload,
        "path": str(path),
        "bytes": size,
        "sha256": sha256,
        "audio_sha256": audio_sha256,
        "cover_path": _cover_beside(path),
        "trashed_at": datetime.now(UTC) if path.parent.name == TRASH else None,
        "whole_path": None if whole is None else whole.path,
        "joined_by": None if whole is None else whole.by,
        **source.model_dump(exclude={"note"}),
        "note": joined_notes(source.note, remark),
        **{name: getattr(facts, name) for name in MEASURES},
    }
    return _SongFile(
        path,
        metadata,
        RestorableSong(provenance.key, metadata.request, provenance.hash_version, _paid(metadata), song),
        remark,
    )


def _paid(metadata: SongMetadata) -> dict[str, Any]:
    paid = metadata.provenance.submission
    return {
        **paid.model_dump(exclude={"paths", "track_ids"}),
        "track_ids": json_list(paid.track_ids),
        "dialect": _dialect(metadata).stored(),
    }


def _dialect(metadata: SongMetadata) -> Dialect:
    """The gateway's dialect: the one of its name, or a custom one built from the file's paths."""
    paid = metadata.provenance.submission
    if paid.gateway in DIALECTS:
        return DIALECTS[paid.gateway]
    if paid.gateway != CUSTOM:
        raise NoProvenance(why_unknown(paid.gateway))
    try:
        return custom_dialect(paid.base_url, **(paid.paths or {}))
    except (TypeError, ValueError):
        raise NoProvenance("its gateway's paths are invalid") from None


def _cover_beside(path: Path) -> str | None:
    covers = (path.with_suffix(ending) for ending in ENDINGS.values())
    return next((str(cover) for cover in covers if cover.is_file()), None)


@dataclass(frozen=True, slots=True)
class _Whole:
    """The whole song of a new part, and who joined it."""

    path: str
    by: str


def _whole_of(part: Path, stored: SourceRecord) -> tuple[_Whole | None, SourceRecord]:
    """The whole song beside a new part, and what it contains of its source.

    Args:
        part: The new part's file.
        stored: The same as the part's own file tells it.
    """
    alone, whole = only_new_part().note, part.with_suffix(WHOLE_ENDING)
    if not whole.is_file():
        return None, SourceRecord(note=alone)
    try:
        with whole.open("rb") as file:
            source = read_provenance(file).provenance.source
    except (NoProvenance, OSError):
        joined_later = stored.note == alone
        return _Whole(str(whole), JOINED_HERE), SourceRecord() if joined_later else stored
    return _Whole(str(whole), JOINED_BY_GATEWAY), source


# --- adding rows --------------------------------------------------------------------------------------------


async def _restore(library: Library, paths: Sequence[Path], places: set[Place]) -> list[Finding]:
    findings, read = [], []
    for path in paths:
        try:
            read.append(await asyncio.to_thread(_read, path, places))
        except NoProvenance as why:
            findings.append(_skipped(path, why))
    outcomes = await library.ledger.restore.add([one.rows for one in read])
    for one, outcome in zip(read, outcomes, strict=True):
        found, reason = await _classify(library, one, outcome)
        song = one.metadata.provenance.song
        findings.append(Finding(str(one.path), found, song.song_id, song.title, reason))
    return findings


async def _classify(library: Library, one: _SongFile, outcome: RestoreOutcome) -> tuple[Found, str | None]:
    if outcome.added:
        return Found.ADDED, one.remark
    if outcome.known is None:
        return Found.SKIPPED, outcome.reason
    song, path = outcome.known, str(one.path)
    if song.path == path:
        return Found.KNOWN, one.remark
    if song.state is not SongState.STORED:
        # The gateway no longer has it; a process renamed the file and died before it wrote the row.
        if song.error and one.remark is None and await library.ledger.restore.adopt(song, one.rows):
            return Found.ADDED, "its take was paid for and not yet stored"
        return (
            Found.SKIPPED,
            f"its take is {song.state} in the ledger: `songflow rescue` collects it",
        )
    lost = one.rows.song["sha256"] == song.sha256 and not await _still_stored(library, song)
    if lost and await library.ledger.restore.move(song, path, _moved(one, song)):
        return Found.MOVED, f"the ledger had it at {song.path}"
    return Found.KNOWN, f"the ledger has this take at {song.path}"


def _moved(one: _SongFile, song: Song) -> dict[str, Any]:
    """The columns that change with a song's place: the files beside it, and what a new part's whole song contains."""
    row = one.rows.song
    columns = {name: row[name] for name in ("cover_path", "whole_path", "joined_by", "trashed_at")}
    if song.whole_path is None or row["whole_path"] is not None:
        return columns
    alone = only_new_part()
    return columns | asdict(alone) | {"note": joined_notes(song.note, alone.note)}


async def _still_stored(library: Library, song: Song) -> bool:
    return song.path is not None and await library.store.has_file(song.path, song.bytes)
