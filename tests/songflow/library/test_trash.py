"""The trash: a song's files are in one place or in both, whatever is killed, and its row names one that is there."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from songflow.catalog.judging import judge_row
from songflow.catalog.manifest import read_manifest
from songflow.errors import InputError, LibraryError
from songflow.generation.rescue import rescue
from songflow.ledger import schema
from songflow.ledger.judgements import Decision, JudgementKind
from songflow.ledger.rows import Song
from songflow.library.library import Library
from songflow.library.rebuild import Found, rebuild
from songflow.library.trash import restore, restore_undiscarded, trash
from songflow.runtime import failpoints
from songflow.runtime.remote_files import open_file
from songflow.settings import LibrarySettings

LOCAL = ("song: before fsync", "song: after fsync", "song: before rename", "song: after rename")
REMOTE = ("song: before upload", "song: after upload")
COMMIT = ("song moved: before commit", "song moved: after commit")


class Killed(BaseException):
    """This process was killed."""


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Die at the next arrival at a fail point."""

    def arm(point: str) -> None:
        def die(*_: object) -> None:
            raise Killed

        monkeypatch.setattr(failpoints, "_armed", point)
        monkeypatch.setattr(failpoints, "_left", 1)
        monkeypatch.setattr(failpoints.os, "kill", die)

    return arm


def content(path: str | None) -> str:
    """The hash of a stored file."""
    with open_file(path or "") as file:
        return sha256(file.read()).hexdigest()


def files_of(store: Any) -> list[str]:
    """Every file of a store: its place in it."""
    if store.is_local:
        root = Path(store.address(""))
        found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        return sorted(name for name in found if not name.startswith(".parts/"))
    return sorted(
        store.name_of(store._remote.unstrip_protocol(path)) for path in store._remote.find(store._open()[1])
    )


async def discard(library: Library, song: Song) -> Song:
    """Decide against a song: only such ones are moved to the trash."""
    await judge_row(library.ledger, song.id, JudgementKind.DECISION, Decision.DISCARD)
    return await library.ledger.songs.get(song.id)


@pytest.mark.parametrize("where", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres), "bucket"])
async def test_a_killed_move_loses_nothing_and_is_finished_by_the_next(
    where: str, stored: Any, kill_at: Any, request: pytest.FixtureRequest, library_settings: LibrarySettings
) -> None:
    """At each step, there and back; nothing is paid for, and the other take stays."""
    library = {
        "sqlite": None,
        "postgres": replace(
            library_settings,
            ledger_url=request.getfixturevalue("postgres_url") if where == "postgres" else None,
        ),
        "bucket": replace(
            library_settings, audio_url=f"bucket://{library_settings.folder.parent.name}/songs"
        ),
    }[where]
    opened, (song, other) = await stored(library=library)
    song = await discard(opened.library, song)
    ledger, store = opened.library.ledger, opened.library.store
    before = files_of(store)
    moving = [
        name for name in before if name in {store.name_of(song.path), store.name_of(song.cover_path or "")}
    ]
    for act, point in [
        (act, point)
        for point in (*(REMOTE if where == "bucket" else LOCAL), *COMMIT)
        for act in (trash, restore)
    ]:
        kill_at(point)
        with pytest.raises(Killed):
            await act(opened.library, await ledger.songs.get(song.id))
        kill_at("")
        row = await ledger.songs.get(song.id)
        assert (content(row.path), row.sha256) == (song.sha256, song.sha256), (act, point)
        assert (row.trashed_at is not None) == (store.name_of(row.path) or "").startswith("trash/")
        # Whether it is moved already, or not yet: once more.
        moved = await act(opened.library, replace(row, trashed_at=row.trashed_at or song.stored_at))
        in_trash = act is trash
        assert (moved.trashed_at is not None) == in_trash
        assert files_of(store) == sorted(
            f"trash/{name}" if in_trash and name in moving else name for name in before
        )
        assert content(moved.path) == song.sha256
    assert (await ledger.songs.get(song.id)) == song
    assert (await ledger.songs.get(other.id)) == other


async def test_a_song_in_the_trash_is_paid_and_present(stored: Any) -> None:
    """For a rescue and for a rebuild; moving it twice is moving it once."""
    opened, (song, _) = await stored()
    library = opened.library
    song = await discard(library, song)
    trashed = await trash(library, song)
    await trash(library, trashed)
    assert await rescue(opened, None) == []
    findings = await rebuild(library, library.settings.folder)
    assert [one.found for one in findings] == [Found.KNOWN, Found.KNOWN]
    frame = await read_manifest(library.ledger)
    assert frame["trashed_at"].notna().to_list() == [True, False]
    assert frame["path"].map(lambda path: Path(path).is_file()).all()
    back = await restore(library, trashed)
    assert back == await restore(library, back) == song


async def test_a_song_that_is_kept_meanwhile_is_not_left_in_the_trash(
    stored: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever keeps it during the copy sees it outside of the trash; one that nobody discards is not moved at all."""
    opened, (song, other) = await stored()
    library, put = opened.library, opened.library.store.put
    await discard(library, song)

    async def kept_meanwhile(part: Path, name: str) -> str:
        monkeypatch.undo()
        await judge_row(library.ledger, song.id, JudgementKind.DECISION, Decision.KEEP)
        await restore_undiscarded(library, [await library.ledger.songs.get(song.id)])
        return str(await put(part, name))

    before = files_of(library.store)
    monkeypatch.setattr(library.store, "put", kept_meanwhile)
    row = await trash(library, song)
    assert (row.path, row.trashed_at, row.decision) == (song.path, None, Decision.KEEP)
    assert await trash(library, other) == other
    assert files_of(library.store) == before
    assert content(row.path) == song.sha256


async def test_what_is_not_in_the_store_stays(stored: Any, tmp_path: Path) -> None:
    """A file elsewhere may belong to somebody else; one that is gone is named."""
    opened, (song, _) = await stored()
    elsewhere = replace(song, path=str(tmp_path / "mine.mp3"))
    with pytest.raises(InputError, match="is not in this library's store"):
        await trash(opened.library, elsewhere)
    with pytest.raises(InputError, match="is not stored"):
        await trash(opened.library, replace(song, path=None))
    song = await discard(opened.library, song)
    Path(song.path).unlink()
    with pytest.raises(LibraryError, match="could not be moved: No such file"):
        await trash(opened.library, song)
    assert (await opened.library.ledger.songs.get(song.id)) == song


async def test_a_song_in_the_trash_of_an_earlier_store_is_named(stored: Any, tmp_path: Path) -> None:
    """It would be kept, and still lie where people delete."""
    opened, (song, _) = await stored()
    song = await trash(opened.library, await discard(opened.library, song))
    moved_on = replace(opened.library.settings, audio_url=str(tmp_path / "elsewhere"))
    async with Library(moved_on) as library:
        with pytest.raises(LibraryError, match="is in the trash of another store"):
            await restore_undiscarded(library, [replace(song, decision=None)])
    assert await opened.library.ledger.songs.get(song.id) == song


async def test_a_cover_of_two_songs_and_a_song_of_its_own_stay(stored: Any) -> None:
    """The other song needs the cover; the new part names the whole song where that is now."""
    opened, (whole, part) = await stored()
    songs, ledger = schema.songs, opened.library.ledger
    async with ledger.database.write("hold") as connection:
        for row, values in (
            (part, {"whole_path": whole.path, "joined_by": "gateway", "cover_path": whole.cover_path}),
            (whole, {"parent_song_id": part.song_id}),
        ):
            await connection.execute(update(songs).where(songs.c.id == row.id).values(values))
    whole, part = [await discard(opened.library, song) for song in (whole, part)]
    trashed = await trash(opened.library, whole)
    assert trashed.cover_path == whole.cover_path
    assert (await ledger.songs.get(part.id)).whole_path == trashed.path
    of_part = await trash(opened.library, await ledger.songs.get(part.id))
    assert (of_part.whole_path, of_part.cover_path) == (trashed.path, whole.cover_path)
    assert await ledger.songs.get(whole.id) == trashed
    assert content(trashed.path) == whole.sha256
