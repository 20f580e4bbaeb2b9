"""Store a verified download as a song: write its tag and cover, and move it to its final name.

    .part      the verified download; unchanged until the song is stored, so that any process can start again from it
    .tagged    the same audio with our tag; rewritten by every attempt, never resumed
    *.mp3      renamed from .tagged after an fsync: only complete songs have this ending; the ledger row is written next

The audio is copied byte for byte: only the tag at its head is replaced. Files that are not mp3 are stored as received.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from songflow.audio.checksums import hash_range
from songflow.audio.id3 import Picture, Tag, audio_span, encode, read_tag
from songflow.audio.mpeg import is_mpeg_audio
from songflow.documents.text import joined_notes
from songflow.downloads.covers import ENDINGS
from songflow.downloads.downloader import Downloaded, discard_part
from songflow.ledger.rows import JOINED_HERE, Song, SourceFound, StoredFile
from songflow.ledger.songs import Origin
from songflow.library.audio_store import AudioStore
from songflow.library.file_names import file_name
from songflow.library.library import Library
from songflow.library.provenance import MEASURES, provenance_of, tag_of
from songflow.runtime.concurrency import shielded

__all__ = [
    "OTHER_ENDINGS",
    "WHOLE_ENDING",
    "WHOLE_MARK",
    "stem_of",
    "store_whole",
    "tag_and_store",
]

log = logging.getLogger(__name__)

_CONTAINERS = {
    b"RIFF": ".wav",
    b"fLaC": ".flac",
    b"OggS": ".ogg",
    b"FORM": ".aiff",
    b"\x1aE\xdf\xa3": ".webm",
}
_MP4_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"sidx")
_MP4, _AAC, _UNKNOWN = ".m4a", ".aac", ".audio"

OTHER_ENDINGS = (*_CONTAINERS.values(), _MP4, _AAC, _UNKNOWN)
"""File endings of songs that are not mp3."""

WHOLE_MARK = ".whole"
WHOLE_ENDING = f"{WHOLE_MARK}.mp3"
"""The ending of the file in which a new part is joined with its source, beside the new part's own."""


async def tag_and_store(
    library: Library,
    origin: Origin,
    done: Downloaded,
    *,
    uid: str,
    cover: Picture | None = None,
    source: SourceFound | None = None,
    whole: Path | None = None,
    name: str | None = None,
) -> StoredFile:
    """Move a verified download to its final name in the store; the caller then writes its ledger row.

    Args:
        origin: The take with its submission and generation.
        done: Its download.
        uid: A short text that is unique to the take.
        cover: Its cover.
        source: The result of comparing it with the song that it extends.
        whole: A draft of the whole song that it was joined into; moved beside it.
        name: Its name in the store without ending (None: by the library's template).

    Raises:
        OSError: the store failed; the part file is unchanged.
    """
    song, stored_at = origin.song, datetime.now(UTC)

    def tag(audio_sha256: str, found: Tag) -> Tag:
        noted = _with_note(source, done.note)
        provenance = provenance_of(
            origin, audio_sha256=audio_sha256, facts=done.facts, source=noted, stored_at=stored_at
        )
        return tag_of(provenance, origin, cover, found)

    stem = name or stem_of(library, song, uid)
    # The files beside the song first: once the song is in the store, nothing is missing.
    cover_path = await _store_cover(library, cover, done.part, stem) if cover is not None else None
    whole_path = await store_whole(library, whole, stem) if whole is not None else None
    # A cancellation waits for the thread: it must not go on when the part is no longer locked.
    ready, path = await shielded(asyncio.to_thread(_put, library.store, done.part, stem, tag))
    discard_part(done.part)
    return StoredFile(
        path=path,
        bytes=ready.bytes,
        sha256=ready.sha256,
        audio_sha256=ready.audio_sha256,
        cover_path=cover_path,
        whole_path=whole_path,
        joined_by=None if whole_path is None else JOINED_HERE,
        note=joined_notes(done.note, ready.note),
        stored_at=stored_at,
        **{name: getattr(done.facts, name, None) for name in MEASURES},
    )


def stem_of(library: Library, song: Song, uid: str) -> str:
    """A song's name in the store, without its ending."""
    template = library.settings.name_template
    return file_name(template, title=song.title, song_id=song.song_id, uid=uid, ending="")


def _with_note(source: SourceFound | None, note: str | None) -> SourceFound | None:
    """What a file tells of its source, with the song's other notes, as the ledger's row has them."""
    if note is None:
        return source
    source = source or SourceFound()
    return replace(source, note=joined_notes(source.note, note))


@dataclass(frozen=True, slots=True)
class _Ready:
    """A file ready to be moved; `note` is the reason if it has no tag."""

    file: Path
    ending: str
    bytes: int
    sha256: str
    audio_sha256: str
    note: str | None = None


def _put(store: AudioStore, part: Path, stem: str, tag: Callable[[str, Tag], Tag]) -> tuple[_Ready, str]:
    """Prepare a part's file and move it into the store; returns its address there, too."""
    ready = _prepare(part, tag)
    try:
        return ready, store.put_sync(ready.file, f"{stem}{ready.ending}")
    except BaseException:
        if ready.file != part:
            ready.file.unlink(missing_ok=True)
        raise


def _prepare(part: Path, tag: Callable[[str, Tag], Tag]) -> _Ready:
    """Write the part's audio with a tag to a new file; if it cannot be tagged, use the part itself."""
    with part.open("rb") as source:
        start, end = audio_span(source)
        if not is_mpeg_audio(source, start):
            return _untagged(part, source, _ending(source), "it is not an mp3")
        audio_sha256 = hash_range(source, start, end).hexdigest()
        try:
            head = encode(tag(audio_sha256, read_tag(source)))
        except ValueError as error:
            return _untagged(part, source, ".mp3", str(error))
        digest = hashlib.sha256(head)
        tagged = part.with_suffix(".tagged")
        with tagged.open("wb") as target:
            target.write(head)
            # An ID3v1 tag after the audio is kept: its bytes could be part of the audio.
            hash_range(source, start, source.seek(0, os.SEEK_END), digest, target)
            return _Ready(tagged, ".mp3", target.tell(), digest.hexdigest(), audio_sha256)


def _untagged(part: Path, source: IO[bytes], ending: str, reason: str) -> _Ready:
    start, end = audio_span(source)
    size = source.seek(0, os.SEEK_END)
    whole, audio = (hash_range(source, *span).hexdigest() for span in ((0, size), (start, end)))
    note = f"stored as received, without Songflow metadata: {reason}"
    log.warning("A song was %s.", note)
    return _Ready(part, ending, size, whole, audio, note)


def _ending(source: IO[bytes]) -> str:
    """The file ending of a container that is not mp3."""
    source.seek(audio_span(source)[0])
    head = source.read(8)
    if head[4:] in _MP4_BOXES:
        return _MP4
    # ADTS: twelve bits set, and a layer of 0, which no mp3 has.
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return _AAC
    return _CONTAINERS.get(head[:4], _UNKNOWN)


async def _store_cover(library: Library, cover: Picture, part: Path, stem: str) -> str | None:
    """Store a cover beside its song; return None if the store fails."""
    draft = part.with_suffix(".cover")
    try:
        await asyncio.to_thread(draft.write_bytes, cover.data)
        return await library.store.put_beside(draft, f"{stem}{ENDINGS[cover.mime]}")
    except OSError as error:
        log.warning("A cover could not be stored: %s.", error.strerror or error)
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        return None


async def store_whole(library: Library, draft: Path, stem: str) -> str | None:
    """Store the whole song beside its new part; return None if the store fails."""
    try:
        return await library.store.put_beside(draft, f"{stem}{WHOLE_ENDING}")
    except OSError as error:
        log.warning("The whole song could not be stored: %s.", error.strerror or error)
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        return None
