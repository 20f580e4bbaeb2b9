"""From a verified download to a song on the store: its story written into it, its cover beside it, its last name.

    .part      what was downloaded and verified; it stays as it is until the song stands, so any process can
               begin again from it
    .tagged    the same audio behind our own tag; made anew by every attempt, never resumed
    *.mp3      synced and renamed from .tagged: only whole songs are called so; the row follows

The audio is copied byte for byte: only the tag at its head is replaced. What is no mp3 is stored as it came.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from songflow.audio.checksums import hash_range
from songflow.audio.id3 import Picture, Tag, audio_span, encode, is_mpeg_audio, read_tag
from songflow.downloads.covers import ENDINGS
from songflow.downloads.downloader import Downloaded, forget
from songflow.ledger.rows import SourceFound, StoredFile
from songflow.ledger.songs import Origin
from songflow.library.file_names import file_name
from songflow.library.library import Library
from songflow.library.provenance import story_of, tag_of

__all__ = ["MEASURES", "OTHER_ENDINGS", "keep"]

log = logging.getLogger(__name__)

_CONTAINERS = {b"RIFF": ".wav", b"fLaC": ".flac", b"OggS": ".ogg"}
_MP4, _UNKNOWN = ".m4a", ".audio"

OTHER_ENDINGS = (*_CONTAINERS.values(), _MP4, _UNKNOWN)
"""File endings of songs that are no mp3."""
MEASURES = ("seconds", "sample_rate", "channels", "peak", "rms_db")
"""What of `AudioFacts` the ledger keeps."""


async def keep(
    library: Library,
    origin: Origin,
    done: Downloaded,
    *,
    uid: str,
    cover: Picture | None = None,
    source: SourceFound | None = None,
) -> StoredFile:
    """Put a verified download on the store under its last name; its row is the caller's next step.

    Args:
        origin: The take, and where it comes from.
        done: Its download.
        uid: A short name that no other take has.
        cover: The cover that came with it.
        source: What it was found to hold of the song that it extends.

    Raises:
        OSError: the store would not take it; the part is still there.
    """
    song, stored_at = origin.song, datetime.now(UTC)

    def tag(audio_sha256: str, found: Tag) -> Tag:
        story = story_of(
            origin, audio_sha256=audio_sha256, facts=done.facts, source=source, stored_at=stored_at
        )
        return tag_of(story, origin, cover, found)

    ready = await asyncio.to_thread(_make_ready, done.part, tag)
    try:
        name = file_name(
            library.settings.name_template,
            title=song.title,
            song_id=song.song_id,
            uid=uid,
            ending=ready.ending,
        )
        cover_path = await _keep_cover(library, cover, done.part, name) if cover is not None else None
        path = await library.store.put(ready.file, name)
    finally:
        if ready.file != done.part:
            ready.file.unlink(missing_ok=True)
    forget(done.part)
    return StoredFile(
        path=path,
        bytes=ready.bytes,
        sha256=ready.sha256,
        audio_sha256=ready.audio_sha256,
        cover_path=cover_path,
        note=ready.note,
        stored_at=stored_at,
        **{name: getattr(done.facts, name, None) for name in MEASURES},
    )


@dataclass(frozen=True, slots=True)
class _Ready:
    """A file that needs only its name; `note` says why it has no tag, where it has none."""

    file: Path
    ending: str
    bytes: int
    sha256: str
    audio_sha256: str
    note: str | None = None


def _make_ready(part: Path, tag: Callable[[str, Tag], Tag]) -> _Ready:
    """The part's audio behind a tag, in a file of its own; the part itself where it can have none."""
    with part.open("rb") as source:
        start, end = audio_span(source)
        if not is_mpeg_audio(source, start):
            return _as_it_came(part, source, _ending(source), "it is no mp3")
        audio_sha256 = hash_range(source, start, end).hexdigest()
        try:
            head = encode(tag(audio_sha256, read_tag(source)))
        except ValueError as error:
            return _as_it_came(part, source, ".mp3", str(error))
        digest = hashlib.sha256(head)
        tagged = part.with_suffix(".tagged")
        with tagged.open("wb") as target:
            target.write(head)
            # An old ID3v1 tag behind the audio stays: its bytes could be audio's own.
            hash_range(source, start, source.seek(0, os.SEEK_END), digest, target)
            return _Ready(tagged, ".mp3", target.tell(), digest.hexdigest(), audio_sha256)


def _as_it_came(part: Path, source: BinaryIO, ending: str, reason: str) -> _Ready:
    start, end = audio_span(source)
    size = source.seek(0, os.SEEK_END)
    whole, audio = (hash_range(source, *span).hexdigest() for span in ((0, size), (start, end)))
    note = f"stored as it came, without its story: {reason}"
    log.warning("A song is %s.", note)
    return _Ready(part, ending, size, whole, audio, note)


def _ending(source: BinaryIO) -> str:
    """The file ending of a container that is not mp3."""
    source.seek(0)
    head = source.read(8)
    return _MP4 if head[4:] == b"ftyp" else _CONTAINERS.get(head[:4], _UNKNOWN)


async def _keep_cover(library: Library, cover: Picture, part: Path, name: str) -> str | None:
    """Put a cover beside its song; one that the store does not take is left out."""
    draft = part.with_suffix(".cover")
    try:
        await asyncio.to_thread(draft.write_bytes, cover.data)
        return await library.store.put_cover(draft, f"{name.rpartition('.')[0]}{ENDINGS[cover.mime]}")
    except OSError as error:
        log.warning("A cover could not be stored: %s.", error.strerror or error)
        draft.unlink(missing_ok=True)
        return None
