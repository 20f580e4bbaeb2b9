"""Finished copies of stored songs: made once, recorded, and never taken for songs."""

from __future__ import annotations

import io
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from songflow.audio.finishing import FinishSettings
from songflow.audio.id3 import read_tag
from songflow.errors import InputError
from songflow.library.finishing import finish_settings, finish_song
from songflow.library.rebuild import Found, rebuild
from songflow.runtime import failpoints
from songflow.settings import LibrarySettings


class Killed(BaseException):
    """This process was killed."""


async def test_a_copy_is_made_once_and_is_no_song(stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at its commit, it is made again under the same name; the song and its row stay as they were."""
    opened, (song, _) = await stored()
    library, settings = opened.library, FinishSettings(loudness=-20)
    before = sha256(Path(song.path).read_bytes()).hexdigest()

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        for name, value in (("_armed", "finished: before commit"), ("_left", 1)):
            patched.setattr(failpoints, name, value)
        patched.setattr(failpoints.os, "kill", die)
        with pytest.raises(Killed):
            await finish_song(library, song, settings)
    copy = await finish_song(library, song, settings)
    made = Path(copy.path)
    assert await finish_song(library, song, settings) == copy
    assert [path.name for path in made.parent.iterdir()] == [made.name]
    assert (made.parent.name, made.stat().st_size) == ("finished", copy.bytes)
    assert sha256(made.read_bytes()).hexdigest() == copy.sha256
    tag = read_tag(io.BytesIO(made.read_bytes()))
    assert (tag.texts["TIT2"], tag.lyrics) == (song.title, song.lyrics)
    assert song.song_id in tag.own["songflow finished"]
    other = await finish_song(library, song, FinishSettings(loudness=-20, format="wav"))
    assert other.path != copy.path
    findings = await rebuild(library, library.settings.folder)
    assert [one.found for one in findings] == [Found.KNOWN, Found.KNOWN]
    made.unlink()
    assert (await finish_song(library, song, settings)).sha256 == copy.sha256
    assert sha256(Path(song.path).read_bytes()).hexdigest() == before == song.sha256
    assert await library.ledger.songs.get(song.id) == song


async def test_a_copy_lies_in_the_songs_store(stored: Any, library_settings: LibrarySettings) -> None:
    """Also where that is a bucket."""
    bucket = f"bucket://{library_settings.folder.parent.name}/songs"
    opened, (song, _) = await stored(library=replace(library_settings, audio_url=bucket))
    copy = await finish_song(opened.library, song, FinishSettings(format="flac"))
    assert opened.library.store.name_of(copy.path).startswith("finished/")
    assert await opened.library.store.has_file(copy.path, copy.bytes)


async def test_what_cannot_be_finished_is_named(stored: Any) -> None:
    """And leaves nothing behind."""
    opened, (song, other) = await stored()
    with pytest.raises(InputError, match="is not stored"):
        await finish_song(opened.library, replace(song, path=None), FinishSettings())
    with pytest.raises(InputError, match="cannot be finished: nothing is left of it"):
        await finish_song(opened.library, song, FinishSettings(start=50))
    Path(other.path).unlink()
    with pytest.raises(InputError, match="cannot be finished: No such file"):
        await finish_song(opened.library, other, FinishSettings())
    assert {path.suffix for path in opened.library.store.parts.iterdir()} <= {".lock"}
    for wrong, words in (
        ({"loud": 1}, "loud: "),
        ({"loudness": 3}, "loudness: "),
        ({"start": 2, "end": 1}, "end must"),
    ):
        with pytest.raises(InputError, match=words):
            finish_settings(wrong)
