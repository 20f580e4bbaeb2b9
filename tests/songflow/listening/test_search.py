"""The room's index: what it finds, in which order, on which page, and how it follows the ledger."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock
from urllib.parse import parse_qsl

import pytest

from benchmarks.library import fill
from songflow.catalog.judging import judge_row
from songflow.errors import InputError, LibraryError
from songflow.generation.lifecycle import generate_in
from songflow.ledger.judgements import JudgementKind
from songflow.library.library import Library
from songflow.listening.index import Index
from songflow.listening.index_file import FILE_NAME
from songflow.listening.search import ORDERS, Search
from songflow.settings import LibrarySettings

SONGS = 60


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[Library]:
    """A library of 60 songs, of two families, every third one rated."""
    await asyncio.to_thread(fill, tmp_path, SONGS)
    async with Library(LibrarySettings(tmp_path)) as opened:
        yield opened


@pytest.fixture
async def index(library: Library) -> AsyncIterator[Index]:
    """Its index."""
    async with Index(library.ledger, library.settings.folder) as opened:
        yield opened


def found(index: Index, address: str, start: int = 0, count: int = SONGS) -> list[int]:
    """The rows of the songs on a page."""
    search = Search.read(parse_qsl(address))
    return [song["id"] for song in search.page(index.database, start, count).songs]


async def test_every_page_of_every_order_fits_the_whole_list(index: Index) -> None:
    """Also from the end, from which the second half is read; and each song's position is its place in it."""
    for order in ORDERS:
        whole = found(index, f"order={order}")
        assert sorted(whole) == list(range(1, SONGS + 1)), order
        assert [one for at in range(0, SONGS, 7) for one in found(index, f"order={order}", at, 7)] == whole
        search = Search.read([("order", order)])
        assert [search.position(index.database, song) for song in whole] == list(range(SONGS))
    assert found(index, "", 0, 4) == [59, 60, 57, 58]  # the newest generation, its takes in order
    assert found(index, "order=oldest", 0, 2) == [2, 1]


async def test_words_begin_words_of_a_songs_texts(index: Index) -> None:
    """All of them; in any case, without accents, and whatever signs stand between."""
    assert found(index, "find=HARB%C3%96UR+song-55") == [56]
    assert len(found(index, "find=wal")) == SONGS
    assert len(found(index, "find=roof")) == SONGS // 5  # of the lyrics
    assert found(index, "find=key-3") == found(index, "find=KEY+3")
    for strange in ('"', "*", "a* OR b", "NOT", "text:x", "'; DROP TABLE words", "^", "(", "%00"):
        found(index, f"find={strange}")


async def test_filters_narrow_each_other(index: Index) -> None:
    """Values of one filter are alternatives; `none` is a song without one; numbers have a range."""
    assert len(found(index, "model=chirp-auk")) == SONGS // 5
    assert len(found(index, "model=chirp-auk&model=udio130-v1.5")) == SONGS
    assert len(found(index, "rating=none")) == SONGS * 2 // 3
    assert found(index, "request.seed=7") == [15, 16]
    assert found(index, "request.prompt_strength_from=0.7&request.prompt_strength_to=0.75&find=song-14") == [
        15
    ]
    assert len(found(index, "made_from=2026-01-01&made_to=2026-01-01")) == SONGS
    assert found(index, "made_to=2025-12-31") == []
    for wrong in (
        "nothing=1",
        "order=path",
        "rating_from=x",
        "seconds=long",
        "made_from=yesterday",
        "made_to=9999-12-31",
    ):
        with pytest.raises(InputError, match="allowed is"):
            Search.read(parse_qsl(wrong))


async def test_it_follows_the_ledger(library: Library, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rating of another process is in the list at the next look, and its number has grown."""
    monkeypatch.setattr("songflow.listening.index._LOOK_SECONDS", 0.0)
    before = index.number
    await judge_row(library.ledger, 5, JudgementKind.RATING, 4.5)
    await index.follow()
    assert (found(index, "rating_from=4.5"), index.number > before) == ([5], True)
    before = index.number
    await index.follow()
    assert index.number == before


async def test_the_next_room_goes_on_with_the_index(library: Library) -> None:
    """What changed meanwhile is taken in; of another ledger, or broken, the index is made anew."""
    folder = library.settings.folder
    async with Index(library.ledger, folder) as first:
        assert first.size() == SONGS
    await judge_row(library.ledger, 6, JudgementKind.RATING, 4.5)
    async with Index(library.ledger, folder) as second:
        assert (second.size(), found(second, "rating_from=4.5")) == (SONGS, [6])
    (folder / FILE_NAME).write_bytes(b"no index" * 1000)
    async with Index(library.ledger, folder) as third:
        assert (third.size(), third.path) == (SONGS, folder / FILE_NAME)


async def test_two_rooms_of_a_library_see_the_same_changes(
    library: Library, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They share the file: what one has written is new for the other, too."""
    monkeypatch.setattr("songflow.listening.index._LOOK_SECONDS", 0.0)
    async with Index(library.ledger, library.settings.folder) as other:
        number, facets = other.number, await other.facets()
        await judge_row(library.ledger, 5, JudgementKind.DECISION, "keep")
        await index.refresh(5)
        await other.follow()
        assert (other.number > number, other.number == index.number) == (True, True)
        assert await other.facets() == await index.facets() != facets


async def test_a_restored_ledger_has_another_index(library: Library) -> None:
    """What was judged after the backup is gone from the room, too, though the songs are the same."""
    folder = library.settings.folder
    with (
        closing(sqlite3.connect(folder / "ledger.sqlite")) as ledger,
        closing(sqlite3.connect(folder / "backup.sqlite")) as backup,
    ):
        ledger.execute("UPDATE songs SET changed_at = '2026-01-01 00:00:00'")
        ledger.commit()
        ledger.backup(backup)
        for song in (5, 9):
            await judge_row(library.ledger, song, JudgementKind.RATING, 4.5)
        async with Index(library.ledger, folder) as index:
            assert sorted(found(index, "rating_from=4.5")) == [5, 9]
        backup.backup(ledger)
    await judge_row(library.ledger, 9, JudgementKind.RATING, 4.5)
    async with Index(library.ledger, folder) as index:
        await index.filled()
        assert (found(index, "rating_from=4.5"), index.size()) == ([9], SONGS)


async def test_an_index_that_cannot_be_beside_the_ledger_is_elsewhere(library: Library) -> None:
    """A library may be only for reading."""
    (library.settings.folder / FILE_NAME).mkdir()
    async with Index(library.ledger, library.settings.folder) as index:
        assert (index.size(), index.path.parent != library.settings.folder) == (SONGS, True)
        path = index.path
    assert not path.exists()


async def test_older_songs_are_taken_in_while_the_room_is_open(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest are there at once."""
    monkeypatch.setattr("songflow.listening.index._BATCH", 10)
    async with Index(library.ledger, library.settings.folder) as index:
        assert (index.is_complete, found(index, "", 0, 2)) == (False, [59, 60])
        await index.filled()
        assert (index.is_complete, index.size()) == (True, SONGS)


async def test_a_ledger_that_is_down_is_asked_again_after_a_while(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at once and again and again; once it answers, the older songs follow."""
    monkeypatch.setattr("songflow.listening.index._BATCH", 10)
    monkeypatch.setattr("songflow.listening.index._TRY_AGAIN_SECONDS", 0.2)
    async with Index(library.ledger, library.settings.folder) as index:
        read = AsyncMock(side_effect=LibraryError("it is down"))
        with monkeypatch.context() as down:
            down.setattr(index, "_read", read)
            await asyncio.sleep(0.1)
            assert read.await_count == 1
        await index.filled()
        assert index.size() == SONGS


async def test_a_full_disk_leaves_a_room_that_can_be_closed(
    library: Library, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its connections, too; the next room goes on."""
    monkeypatch.setattr("songflow.listening.index._BATCH", 10)
    async with Index(library.ledger, library.settings.folder) as index:
        with monkeypatch.context() as full:
            full.setattr(index, "_write", Mock(side_effect=sqlite3.OperationalError("disk is full")))
            with pytest.raises(sqlite3.OperationalError):
                await index.filled()
    assert "disk is full" in caplog.text
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        index.size()
    async with Index(library.ledger, library.settings.folder) as index:
        await index.filled()
        assert index.size() == SONGS


def test_hostile_names_stay_names() -> None:
    """What an address holds is never SQL."""
    search: Any = Search.read([("find", "x' OR 1=1 --"), ("model", "'; DROP TABLE listing; --")])
    assert (search.words, search.condition) == ('"x" * AND "OR" * AND "1" * AND "1" *', "(model IN (?))")


@pytest.mark.postgres
async def test_a_ledger_in_postgresql_is_followed_too(
    simulator: Any,
    session: Any,
    access: Any,
    song_request: Any,
    library_settings: LibrarySettings,
    new_postgres: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The index is the same file."""
    monkeypatch.setattr("songflow.listening.index._LOOK_SECONDS", 0.0)
    opened = await session(library=replace(library_settings, ledger_url=new_postgres))
    gateway = access(simulator(takes=1).url)
    await generate_in(opened, song_request("a waltz"), gateway, key="k")
    ledger = opened.library.ledger
    async with Index(ledger, library_settings.folder) as index:
        (song,) = found(index, "find=waltz")
        await judge_row(ledger, song, JudgementKind.DECISION, "keep")
        await generate_in(opened, song_request("a polka"), gateway, key="l")
        await index.follow()
        assert (found(index, "decision=keep"), len(found(index, ""))) == ([song], 2)
