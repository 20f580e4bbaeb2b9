"""Libraries: their location, and no payment without room for the song."""

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


def test_the_default_folder_is_songs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the current folder, with defaults for all other settings."""
    monkeypatch.chdir(tmp_path)
    settings = LibrarySettings.from_environment()
    assert settings == LibrarySettings(tmp_path / "songs", None, None, DEFAULT_NAME_TEMPLATE, True)


def test_the_environment_locates_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A given folder takes precedence; a URL with a password is never shown."""
    monkeypatch.setenv("SONGFLOW_LIBRARY", str(tmp_path / "a"))
    monkeypatch.setenv("SONGFLOW_LEDGER_URL", "postgresql://me:secret@host/db")
    monkeypatch.setenv("SONGFLOW_AUDIO_URL", "bucket://x")
    monkeypatch.setenv("SONGFLOW_NAME_TEMPLATE", "{uid}")
    monkeypatch.setenv("SONGFLOW_VERIFY_AUDIO", "No")
    settings = LibrarySettings.from_environment()
    assert settings.folder == tmp_path / "a"
    assert (settings.ledger_url, settings.audio_url) == ("postgresql://me:secret@host/db", "bucket://x")
    assert (settings.name_template, settings.verify_audio) == ("{uid}", False)
    assert "secret" not in repr(settings)
    assert LibrarySettings.from_environment(tmp_path / "b").folder == tmp_path / "b"


def test_the_home_of_an_unknown_user_is_refused() -> None:
    """`~nobody-here/songs` cannot be resolved."""
    with pytest.raises(LibraryError, match="cannot be used"):
        LibrarySettings.from_environment("~nobody-has-this-name/songs")


@pytest.mark.parametrize("wrong", [{"name_template": "{prompt}"}, {"audio_url": "nosuch://x"}])
async def test_invalid_settings_are_refused_before_anything_is_created(
    tmp_path: Path, wrong: dict[str, str]
) -> None:
    """A template that fails after the download would fail after the payment."""
    with pytest.raises(LibraryError):
        Library(LibrarySettings(tmp_path / "library", **wrong))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


async def test_a_song_is_stored_in_the_library(
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
        assert song.duration == pytest.approx(0.25)
        assert song.error is None
    assert [path.suffix for path in opened.library.store.parts.iterdir()] == [".lock", ".lock"]
    assert (await requests_seen(server.url))["downloads"]["authorizations"] == 0


async def test_hostile_titles_stay_in_the_library(
    simulator: Any, session: Any, access: Any, song_request: Any
) -> None:
    """Every file is directly in `audio/` with its cover beside it, and no two songs share a name."""
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
    bucket = f"bucket://{uuid.uuid4().hex}/songs"
    library = LibrarySettings(tmp_path / "library", audio_url=bucket)
    result = await generate_in(
        await session(library=library), song_request(), access(simulator().url), key="k"
    )
    for song in result.songs:
        data = fsspec.filesystem("bucket").cat(song.path)
        assert song.path.startswith("bucket://")
        assert hashlib.sha256(data).hexdigest() == song.sha256
    assert [path.suffix for path in (tmp_path / "library" / "parts").iterdir()] == [".lock", ".lock"]


async def test_a_song_that_the_store_refused_is_collected_later_without_another_transfer(
    simulator: Any, session: Any, access: Any, song_request: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The complete part file is kept: the host is only asked for bytes after its end, and has none."""
    server = simulator(takes=1)
    opened = await session()
    audio = opened.library.settings.folder / "audio"
    real_put = opened.library.store.put_sync

    def refuse(part: Path, name: str) -> str:
        raise OSError(28, "No space left on device", str(audio / name))

    monkeypatch.setattr(opened.library.store, "put_sync", refuse)
    with pytest.raises(NotCollected, match="No space left on device") as caught:
        await generate_in(opened, song_request(), access(server.url), key="k")
    assert (caught.value.exit_code, caught.value.billed) == (5, "yes")
    parts = [path for path in opened.library.store.parts.iterdir() if path.suffix == ".part"]
    assert len(parts) == 1
    monkeypatch.setattr(opened.library.store, "put_sync", real_put)
    result = await generate_in(opened, song_request(), access(server.url), key="k")
    assert sha256_of(Path(result.songs[0].path)) == result.songs[0].sha256
    assert (await requests_seen(server.url))["downloads"]["answered"] == {"200": 1, "416": 1}
    assert len(server.bill()) == 1


async def test_the_gateway_is_asked_for_a_new_url_if_one_is_dead(
    simulator: Any, session: Any, access: Any, song_request: Any
) -> None:
    """A take whose URL stays dead remains announced; the other take is stored."""
    server = simulator({"fault": "dead", "times": 1})
    result = await generate_in(await session(), song_request(), access(server.url), key="k")
    assert sorted(song.path is None for song in result.songs) == [False, True]
    lost = next(song for song in result.songs if song.path is None)
    assert lost.error == "could not be stored: its host answered 404"
    assert lost.sha256 is None


async def test_nothing_is_sent_if_the_disk_is_full(
    simulator: Any, session: Any, access: Any, song_request: Any, small_disk: Any
) -> None:
    """With less than 64 MiB free the gateway is not contacted."""
    server = simulator()
    library = LibrarySettings(small_disk("8m") / "library")
    opened = await session(library=library)
    with pytest.raises(LibraryError, match="is full: 7 MiB are free, 64 MiB are needed"):
        await generate_in(opened, song_request(), access(server.url), key="k")
    assert (await requests_seen(server.url))["posts"]["seen"] == 0
    assert await opened.library.ledger.submissions.of_key("k") == []


async def test_nothing_is_sent_if_the_disk_of_the_audio_is_full(
    simulator: Any, session: Any, access: Any, song_request: Any, small_disk: Any, tmp_path: Path
) -> None:
    """The ledger may be on another disk than the songs."""
    server = simulator()
    library = LibrarySettings(tmp_path / "library", audio_url=str(small_disk("8m") / "songs"))
    with pytest.raises(LibraryError, match="is full"):
        await generate_in(await session(library=library), song_request(), access(server.url), key="k")
    assert (await requests_seen(server.url))["posts"]["seen"] == 0


async def test_a_disk_that_fills_up_during_a_download_is_named(
    simulator: Any, session: Any, access: Any, song_request: Any, small_disk: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The paid song stays announced, and is collected once there is room."""
    disk = small_disk("16k")
    library = LibrarySettings(tmp_path / "library", audio_url=str(disk / "songs"))
    opened = await session(library=library)
    monkeypatch.setattr(opened.library, "require_space", lambda: None)  # it was there when we looked
    server = simulator(takes=1, clip_seconds=1.0)
    with (
        without_pauses(),
        pytest.raises(NotCollected, match=r"it could not be written to .* \(No space left on device\)"),
    ):
        await generate_in(opened, song_request(), access(server.url), key="k")
    assert len(server.bill()) == 1


@pytest.mark.parametrize("place", ["a file/library", "/proc/songflow"])
async def test_a_library_that_cannot_be_written_is_refused(session: Any, tmp_path: Path, place: str) -> None:
    """When it is opened."""
    (tmp_path / "a file").touch()
    with pytest.raises(LibraryError, match="cannot be written"):
        await session(library=LibrarySettings(tmp_path / place))


async def test_a_ledger_of_a_newer_songflow_is_not_touched(
    session: Any, library_settings: LibrarySettings
) -> None:
    """Its schema may differ."""
    async with Library(library_settings):
        pass
    with sqlite3.connect(library_settings.folder / "ledger.sqlite") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LibraryError, match="has schema 9999"):
        await session()


async def test_a_ledger_file_that_is_not_a_database_is_refused(
    session: Any, library_settings: LibrarySettings
) -> None:
    """It is not overwritten."""
    library_settings.folder.mkdir()
    file = library_settings.folder / "ledger.sqlite"
    file.write_bytes(b"not a database, but somebody's work" * 100)
    with pytest.raises(LibraryError, match="file is not a database"):
        await session()
    assert file.read_bytes() == b"not a database, but somebody's work" * 100
