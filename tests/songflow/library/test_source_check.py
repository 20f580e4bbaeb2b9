"""Every extension is compared with its source when it is stored; the result is noted and never stops the storing."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest

from songflow.families.udio import PLACES
from songflow.generation.extensions import plan_extension
from songflow.generation.lifecycle import generate_in
from songflow.ledger.rows import Song
from songflow.library import source_check
from songflow.library.source_check import compare, contains_source, seam_of


@pytest.fixture
def make(song_request: Any) -> Any:
    """Makes songs, or extends one; gives the rows of the takes."""

    async def songs(
        opened: Any, account: Any, key: str, source: str | None = None, **fields: Any
    ) -> list[Song]:
        if source is None:
            request = song_request(**fields)
        else:
            request = (await plan_extension(opened, source, account, **fields)).request
        await generate_in(opened, request, account, key=key)
        rows: list[Song] = await opened.library.ledger.songs.of_key(key)
        return rows

    return songs


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dialect", ["cometapi", "openai-hk"])
async def test_an_extension_contains_its_source(
    session: Any, simulator: Any, access: Any, make: Any, place: str, dialect: str
) -> None:
    """Start, seam and added length, for every placement and both gateways."""
    opened, account = await session(), access(simulator(clip_seconds=2.0).url, dialect, key="k")
    core = (await make(opened, account, "core"))[0]
    assert (core.source_score, core.note, contains_source(core), seam_of(core)) == (None, None, None, None)
    before = place in {"intro", "front"}
    for song in await make(opened, account, "longer", core.song_id, place=place):
        assert song.source_score == 1
        assert contains_source(song)
        assert song.source_at == pytest.approx(2 if before else 0, abs=0.05)
        assert seam_of(song) == pytest.approx(2, abs=0.05)
        assert song.added_seconds == pytest.approx(2, abs=0.05)
        assert song.note is None
        assert (song.parent_song_id, song.root_song_id, song.depth) == (core.song_id, core.song_id, 1)


async def test_the_same_check_fails_on_an_unrelated_song(
    session: Any, simulator: Any, access: Any, make: Any
) -> None:
    """One of another request, and the other take."""
    opened, account = await session(), access(simulator(clip_seconds=4.0).url)
    core, other_take = await make(opened, account, "core", seed=1)
    other = (await make(opened, account, "other", prompt="slow sad piano", seed=2))[0]
    longer = (await make(opened, account, "longer", core.song_id))[0]
    assert compare(Path(core.path), Path(longer.path), core.seconds, longer.seconds).source_score == 1
    for unrelated in (other, other_take):
        found = compare(Path(unrelated.path), Path(longer.path), unrelated.seconds, longer.seconds)
        assert found.source_score <= 0.25
        assert found.source_at is None
        assert "it does not contain its source" in found.note


async def test_a_result_that_is_not_longer_is_noted(
    session: Any, simulator: Any, access: Any, make: Any
) -> None:
    """It contains its source, and nothing was added."""
    opened, account = await session(), access(simulator().url)
    core = (await make(opened, account, "core"))[0]
    same = compare(Path(core.path), Path(core.path), core.seconds, core.seconds)
    assert (same.source_score, same.source_at, same.added_seconds) == (1, 0, 0)
    assert same.note == "it is not longer than its source"


async def test_a_partly_contained_source_is_noted(play: Any, write: Any) -> None:
    """With its share."""
    import numpy as np

    source, whole = play(), np.concatenate([play()[2 * 44100 :], play("new")])
    found = compare(write(source, "source.mp3"), write(whole), 5.0, 8.0)
    assert found.note.startswith("it contains only 60% of its source")
    assert found.source_at is None


async def test_a_source_that_is_not_in_this_library_is_noted(
    session: Any, simulator: Any, access: Any, make: Any
) -> None:
    """Only its id is known: the song is still stored."""
    server = simulator()
    account = access(server.url)
    core = server.gateway.store
    opened = await session()
    there = (await make(opened, account, "core"))[0]
    assert core.song(there.song_id)
    elsewhere = await session(library=dataclasses.replace(opened.library.settings, folder=_beside(opened)))
    song = (await make(elsewhere, account, "longer", there.song_id, overrides={"prompt": "bells"}))[0]
    assert song.path is not None
    assert song.source_score is None
    assert song.note == "not compared with its source: this library does not have it"
    assert (song.parent_song_id, song.root_song_id, song.depth) == (there.song_id, there.song_id, 1)


def _beside(opened: Any) -> Path:
    folder: Path = opened.library.settings.folder.with_name("another")
    return folder


@pytest.mark.parametrize("trouble", ["gone", "broken", "unexpected"])
async def test_a_failed_check_is_noted_and_the_song_is_stored(
    session: Any, simulator: Any, access: Any, make: Any, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """The source's file is missing or broken, or the check has a bug."""
    opened, account = await session(), access(simulator().url)
    core = (await make(opened, account, "core"))[0]
    if trouble == "gone":
        Path(core.path).unlink()
    elif trouble == "broken":
        Path(core.path).write_bytes(b"no music")
    else:
        monkeypatch.setattr(source_check, "find_source", lambda *_: 1 / 0)
    for song in await make(opened, account, "longer", core.song_id):
        assert song.path is not None
        assert song.source_score is None
        assert song.note.startswith("not compared with its source: ")


async def test_a_remote_source_is_fetched_for_the_check(
    session: Any, simulator: Any, access: Any, make: Any, library_settings: Any
) -> None:
    """The temporary copy is deleted."""
    remote = dataclasses.replace(library_settings, audio_url="bucket://check/songs")
    opened, account = await session(library=remote), access(simulator(clip_seconds=2.0).url)
    core = (await make(opened, account, "core"))[0]
    assert core.path.startswith("bucket://")
    assert (await make(opened, account, "longer", core.song_id))[0].source_score == 1
    assert not list(opened.library.store.parts.glob("look-*"))


async def test_without_decoding_nothing_is_compared(
    session: Any, simulator: Any, access: Any, make: Any, library_settings: Any
) -> None:
    """SONGFLOW_VERIFY_AUDIO=off saves that time, too."""
    quick = dataclasses.replace(library_settings, verify_audio=False)
    opened, account = await session(library=quick), access(simulator().url)
    core = (await make(opened, account, "core"))[0]
    song = (await make(opened, account, "longer", core.song_id))[0]
    assert (song.source_score, song.note) == (None, None)


async def test_a_missing_source_is_logged(
    session: Any, simulator: Any, access: Any, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As a warning, with the remedy."""
    server = simulator(whole_extensions=False)
    opened, account = await session(), access(server.url)
    core = (await make(opened, account, "core"))[0]
    with caplog.at_level(logging.WARNING, "songflow"):
        song = (await make(opened, account, "longer", core.song_id))[0]
    assert "`songflow stitch` joins them" in song.note
    assert song.note in caplog.text
