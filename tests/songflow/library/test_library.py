"""Libraries: where they are, and that nothing is paid for where a song would find no place."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import uuid
from pathlib import Path
from typing import Any

import fsspec
import httpx
import pytest

from songflow.audio.checksums import sha256_of
from songflow.errors import LibraryError, NotCollected
from songflow.generation.lifecycle import collect, generate_in, wait
from songflow.generation.policy import PaidRequest
from songflow.generation.submit import submit_once
from songflow.library.library import Library
from songflow.runtime.retry import without_pauses
from songflow.settings import DEFAULT_NAME_TEMPLATE, LibrarySettings
from songflow.simulator.songs import HOSTILE_TITLES


async def requests_seen(url: str) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        found: dict[str, Any] = (await client.get(f"{url}/_simulator/requests")).json()
        return found


def test_without_a_word_a_library_is_in_songs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the folder that the command runs in, with the defaults of everything else."""
    monkeypatch.chdir(tmp_path)
    settings = LibrarySettings.from_environment()
    assert settings == LibrarySettings(tmp_path / "songs", None, None, DEFAULT_NAME_TEMPLATE, True)


def test_the_environment_says_where_a_library_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is given goes before it; a URL with a password is never shown."""
    monkeypatch.setenv("SONGFLOW_LIBRARY", str(tmp_path / "a"))
    monkeypatch.setenv("SONGFLOW_LEDGER_URL", "postgresql://me:secret@host/db")
    monkeypatch.setenv("SONGFLOW_AUDIO_URL", "memory://x")
    monkeypatch.setenv("SONGFLOW_NAME_TEMPLATE", "{uid}")
    monkeypatch.setenv("SONGFLOW_VERIFY_AUDIO", "No")
    settings = LibrarySettings.from_environment()
    assert settings.folder == tmp_path / "a"
    assert (settings.ledger_url, settings.audio_url) == ("postgresql://me:secret@host/db", "memory://x")
    assert (settings.name_template, settings.verify_audio) == ("{uid}", False)
    assert "secret" not in repr(settings)
    assert LibrarySettings.from_environment(tmp_path / "b").folder == tmp_path / "b"


def test_a_home_that_nobody_has_is_refused() -> None:
    """`~nobody-here/songs` is no folder."""
    with pytest.raises(LibraryError, match="cannot be used"):
        LibrarySettings.from_environment("~nobody-has-this-name/songs")


@pytest.mark.parametrize("wrong", [{"name_template": "{prompt}"}, {"audio_url": "nosuch://x"}])
async def test_wrong_settings_are_refused_before_anything_is_made(
    tmp_path: Path, wrong: dict[str, str]
) -> None:
    """A template that fails after the download would fail after the payment."""
    with pytest.raises(LibraryError):
        Library(LibrarySettings(tmp_path / "library", **wrong))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


async def test_a_song_lies_in_the_library_as_the_gateway_gave_it(
    simulator: Any, session: Any, access: Any, song_request: Any
) -> None:
    """Path, size and sha256 are the file's, and no unfinished download is left."""
    server = simulator()
    opened = await session()
    result = await generate_in(opened, song_request(), access(server.url), key="k")
    assert len(result.songs) == 2
    for song in result.songs:
        path = Path(song.path)
        assert path.parent == opened.library.settings.folder / "audio"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == song.sha256
        assert song.duration == pytest.approx(2.0)
        assert song.error is None
    assert [path.suffix for path in opened.library.store.parts.iterdir()] == [".lock", ".lock"]
    assert (await requests_seen(server.url))["downloads"]["authorizations"] == 0


async def test_hostile_titles_stay_in_the_library(
    simulator: Any, session: Any, access: Any, song_request: Any
) -> None:
    """Every file lies directly in `audio/`, its cover beside it, and no two titles meet."""
    server = simulator({"fault": "hostile_titles", "times": None}, takes=8)
    opened = await session()
    results = await asyncio.gather(
        *(generate_in(opened, song_request(f"song {n}"), access(server.url), key=f"k{n}") for n in range(2))
    )
    paths = [Path(song.path) for result in results for song in result.songs]
    assert {song.title for result in results for song in result.songs} > {"CON", "aux.mp3"}
    assert len(set(paths)) == len(paths) == 16 > len(HOSTILE_TITLES)
    audio = opened.library.settings.folder / "audio"
    assert {path.parent for path in paths} == {audio}
    covers = {path.with_suffix(".png") for path in paths}
    assert {path for path in audio.iterdir() if path.is_file()} == set(paths) | covers


async def test_two_processes_that_collect_together_fetch_each_song_once(
    simulator: Any, session: Any, access: Any, song_request: Any
) -> None:
    """They take turns at each take, and the second finds it stored."""
    server = simulator({"fault": "slow", "on": "download", "seconds": 0.2, "times": None})
    one, other = await session(), await session()
    account = access(server.url)
    submission = await submit_once(one, PaidRequest(song_request(), "k"), account)
    songs = await wait(one, submission, account)
    both = await asyncio.gather(
        collect(one, submission, songs, account), collect(other, submission, songs, account)
    )
    assert [song.path for song in both[0]] == [song.path for song in both[1]]
    assert (await requests_seen(server.url))["downloads"]["seen"] == 2


async def test_songs_go_to_any_fsspec_url(
    simulator: Any, session: Any, access: Any, song_request: Any, tmp_path: Path
) -> None:
    """The whole way, with the URL for a path and the same sha256."""
    bucket = f"memory://{uuid.uuid4().hex}/songs"
    library = LibrarySettings(tmp_path / "library", audio_url=bucket)
    result = await generate_in(
        await session(library=library), song_request(), access(simulator().url), key="k"
    )
    for song in result.songs:
        data = fsspec.filesystem("memory").cat(song.path)
        assert song.path.startswith("memory://")
        assert hashlib.sha256(data).hexdigest() == song.sha256
    assert [path.suffix for path in (tmp_path / "library" / "parts").iterdir()] == [".lock", ".lock"]


async def test_what_a_store_did_not_take_is_collected_later_without_another_transfer(
    simulator: Any, session: Any, access: Any, song_request: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part is kept, whole: its host is only asked for what lies behind its end, and has nothing."""
    server = simulator(takes=1)
    opened = await session()
    audio = opened.library.settings.folder / "audio"
    real_put = opened.library.store.put

    async def refuse(part: Path, name: str) -> str:
        raise OSError(28, "No space left on device", str(audio / name))

    monkeypatch.setattr(opened.library.store, "put", refuse)
    with pytest.raises(NotCollected, match="No space left on device") as caught:
        await generate_in(opened, song_request(), access(server.url), key="k")
    assert (caught.value.exit_code, caught.value.billed) == (5, "yes")
    parts = [path for path in opened.library.store.parts.iterdir() if path.suffix == ".part"]
    assert len(parts) == 1
    monkeypatch.setattr(opened.library.store, "put", real_put)
    result = await generate_in(opened, song_request(), access(server.url), key="k")
    assert sha256_of(Path(result.songs[0].path)) == result.songs[0].sha256
    assert (await requests_seen(server.url))["downloads"]["answered"] == {"200": 1, "416": 1}
    assert len(server.bill()) == 1


async def test_a_dead_address_is_asked_of_the_gateway_again(
    simulator: Any, session: Any, access: Any, song_request: Any
) -> None:
    """What is dead for good stays announced, and the other take is stored."""
    server = simulator({"fault": "dead", "times": 1})
    result = await generate_in(await session(), song_request(), access(server.url), key="k")
    assert sorted(song.path is None for song in result.songs) == [False, True]
    lost = next(song for song in result.songs if song.path is None)
    assert lost.error == "could not be stored: its host answered 404"
    assert lost.sha256 is None


async def test_nothing_is_sent_where_the_disk_is_full(
    simulator: Any, session: Any, access: Any, song_request: Any, small_disk: Any
) -> None:
    """Less than 64 MiB are free: the gateway is not even connected to."""
    server = simulator()
    library = LibrarySettings(small_disk("8m") / "library")
    opened = await session(library=library)
    with pytest.raises(LibraryError, match="is full: 7 MiB are free, 64 MiB are needed"):
        await generate_in(opened, song_request(), access(server.url), key="k")
    assert (await requests_seen(server.url))["posts"]["seen"] == 0
    assert await opened.library.ledger.submissions.of_key("k") == []


async def test_nothing_is_sent_where_the_disk_of_the_audio_is_full(
    simulator: Any, session: Any, access: Any, song_request: Any, small_disk: Any, tmp_path: Path
) -> None:
    """The ledger may lie on another disk than the songs."""
    server = simulator()
    library = LibrarySettings(tmp_path / "library", audio_url=str(small_disk("8m") / "songs"))
    with pytest.raises(LibraryError, match="is full"):
        await generate_in(await session(library=library), song_request(), access(server.url), key="k")
    assert (await requests_seen(server.url))["posts"]["seen"] == 0


async def test_a_disk_that_fills_up_during_a_download_is_named(
    simulator: Any, session: Any, access: Any, song_request: Any, small_disk: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The song is paid for: it waits, and comes when there is room."""
    disk = small_disk("16k")
    library = LibrarySettings(tmp_path / "library", audio_url=str(disk / "songs"))
    opened = await session(library=library)
    monkeypatch.setattr(opened.library, "require_space", lambda: None)  # it was there when we looked
    server = simulator(takes=1)
    with (
        without_pauses(),
        pytest.raises(NotCollected, match=r"it could not be written to .* \(No space left on device\)"),
    ):
        await generate_in(opened, song_request(), access(server.url), key="k")
    assert len(server.bill()) == 1


@pytest.mark.parametrize("place", ["a file/library", "/proc/songflow"])
async def test_a_library_that_cannot_be_written_is_refused(session: Any, tmp_path: Path, place: str) -> None:
    """On the way in."""
    (tmp_path / "a file").touch()
    with pytest.raises(LibraryError, match="cannot be written"):
        await session(library=LibrarySettings(tmp_path / place))


async def test_a_ledger_of_a_newer_songflow_is_not_touched(
    session: Any, library_settings: LibrarySettings
) -> None:
    """Its schema may mean something else."""
    async with Library(library_settings):
        pass
    with sqlite3.connect(library_settings.folder / "ledger.sqlite") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LibraryError, match="has schema 9999"):
        await session()


async def test_a_ledger_that_is_no_database_is_refused(
    session: Any, library_settings: LibrarySettings
) -> None:
    """Nothing of it is overwritten."""
    library_settings.folder.mkdir()
    file = library_settings.folder / "ledger.sqlite"
    file.write_bytes(b"not a database, but somebody's work" * 100)
    with pytest.raises(LibraryError, match="file is not a database"):
        await session()
    assert file.read_bytes() == b"not a database, but somebody's work" * 100
