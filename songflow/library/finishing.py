"""Finish songs: a trimmed, faded, evenly loud copy in `finished/` of the store. The song itself is only read."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from songflow.audio.checksums import sha256_of
from songflow.audio.decoding import AudioProblem
from songflow.audio.finishing import FinishSettings, finish_file
from songflow.audio.id3 import Tag, read_tag
from songflow.errors import InputError
from songflow.ledger.finished import FinishedCopy
from songflow.ledger.rows import Song
from songflow.library.file_names import file_name
from songflow.library.library import Library

__all__ = ["FINISHED", "finish_settings", "finish_song"]

FINISHED = "finished"
"""The folder of finished copies in a store."""

_MARK = "songflow finished"
# The frames of the song's own tag that say what its copy is, too.
_KEPT_TEXTS = ("TIT2", "TPE1", "TALB", "TCON", "TDRC")


def finish_settings(given: Mapping[str, Any]) -> FinishSettings:
    """Settings from plain data.

    Raises:
        InputError: one of them is unknown or not allowed.
    """
    try:
        return FinishSettings.model_validate(given)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        name = ".".join(map(str, fault["loc"]))
        words = fault["msg"].removeprefix("Value error, ")
        raise InputError(
            f"The song cannot be finished like that: {f'{name}: ' if name else ''}{words}.",
            next=f"correct it; the settings are {', '.join(FinishSettings.model_fields)}.",
        ) from None


async def finish_song(library: Library, song: Song, settings: FinishSettings) -> FinishedCopy:
    """Make a finished copy of a stored song, or return the one that was made with the same settings.

    Of an extension that is joined with its source, the whole song is finished.

    Raises:
        InputError: it is not stored, or cannot be read or written; nothing was changed.
        LibraryError: the store or the ledger cannot be used.
    """
    source = song.whole_path or song.path
    if source is None:
        raise InputError(
            f"{song.title or song.song_id or song.key!r} is not stored: there is nothing to finish.",
            next="see what is stored with `songflow songs`.",
        )
    made_with = _settings_text(song, source, settings)
    for copy in await library.ledger.finished.of_song(song.id):
        if copy.settings == made_with and await library.store.has_file(copy.path, copy.bytes):
            return copy
    library.require_store()
    part = library.store.parts / f"finished-{uuid.uuid4().hex}.part"
    try:
        async with library.store.open_local(source) as file:
            tag = await asyncio.to_thread(_tag_of_copy, file, song, made_with)
            found = await asyncio.to_thread(finish_file, file, part, settings, tag)
        size, sha256 = part.stat().st_size, await asyncio.to_thread(sha256_of, part)
        path = await library.store.put(part, f"{FINISHED}/{_name(song, made_with, settings)}")
    except (AudioProblem, OSError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise InputError(
            f"{song.title or song.song_id} cannot be finished: {reason}.",
            next="check that its file is there and that the store can be written; the song was not changed.",
        ) from None
    finally:
        part.unlink(missing_ok=True)
    copy = FinishedCopy(path, song.id, sha256, size, found.seconds, made_with, datetime.now(UTC))
    await library.ledger.finished.record(copy)
    return copy


def _settings_text(song: Song, source: str, settings: FinishSettings) -> str:
    """What makes a copy what it is: a song that was joined or changed meanwhile is finished anew."""
    of = "whole" if source == song.whole_path else "song"
    return json.dumps({"of": of, "audio_sha256": song.audio_sha256, **settings.model_dump()}, sort_keys=True)


def _name(song: Song, made_with: str, settings: FinishSettings) -> str:
    identity = f"{song.submission_id}/{song.take}/{made_with}"
    uid = hashlib.sha256(identity.encode()).hexdigest()[:10]
    ending = f".{settings.format}"
    return file_name("{title}-{uid}", title=song.title, song_id=song.song_id, uid=uid, ending=ending)


def _tag_of_copy(source: Path, song: Song, made_with: str) -> Tag:
    """Title, words and cover of the song, and that this is a copy; not the provenance by which songs are rebuilt."""
    with source.open("rb") as file:
        original = read_tag(file)
    kept = {name: original.texts[name] for name in _KEPT_TEXTS if name in original.texts}
    own = {_MARK: json.dumps({"song_id": song.song_id, "settings": json.loads(made_with)}, sort_keys=True)}
    texts = {"TIT2": song.title or song.song_id or "", **kept}
    return Tag(texts=texts, own=own, lyrics=song.lyrics, picture=original.picture)
