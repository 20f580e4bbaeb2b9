"""The order in which data reaches the disk: a step is taken after the data it relies on is synced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import text

from songflow.generation.lifecycle import generate_in
from songflow.ledger import engine

Event = tuple[str, str]


@pytest.fixture
def events(monkeypatch, sender_in_thread) -> list[Event]:
    """What was synced, renamed and committed, in order, while all of it really happens."""
    seen: list[Event] = []
    fsync, replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        fsync(descriptor)
        seen.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().as_posix()))

    def rename(source, target, **more) -> None:
        replace(source, target, **more)
        seen.append(("rename", os.fspath(target)))

    def move(source: Path, target) -> Path:
        rename(source, target)
        return Path(target)

    def reached(point: str) -> None:
        act, _, when = point.partition(": ")
        if when == "after commit":
            seen.append(("commit", act))

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)
    monkeypatch.setattr(Path, "replace", move)
    monkeypatch.setattr(engine, "reached", reached)
    return seen


async def test_each_step_is_on_disk_before_the_next_relies_on_it(
    desk, access, session, song_request, any_library, events, request
) -> None:
    """Spool before ledger, tagged file before its rename, the folder after it, and the song's row last of all."""
    opened = await session(library=any_library)
    prompt = request.node.nodeid
    result = await generate_in(opened, song_request(prompt), access(desk.url), key="key")
    commits = [act for kind, act in events if kind == "commit" and act != "migrate"]
    assert commits[:3] == ["intent", "sending", "accepted"]

    (line,) = (any_library.folder / "spool").glob("accepted.*.jsonl")
    spool = [("fsync", str(line)), ("fsync", str(line.parent)), ("commit", "accepted")]
    begin = events.index(("commit", "sending"))
    assert events[begin + 1 : begin + 4] == spool, "the id is safe on this disk, its file's name too"

    announced = events.index(("commit", "succeeded"))
    assert all(name.endswith((".jsonl", "spool")) for kind, name in events[:announced] if kind == "fsync")
    rows = [place for place, event in enumerate(events) if event == ("commit", "song stored")]
    assert len(result.stored) == len(rows) == 2
    paths = {song.path for song in result.stored}
    for song in result.stored:
        target, folder = song.path, str(Path(song.path).parent)
        renamed = events.index(("rename", target))
        # `readlink` names a file as it was called when it was synced.
        for ending in (".part", ".tagged", ".cover"):
            synced = [n for n, (kind, name) in enumerate(events) if kind == "fsync" and name.endswith(ending)]
            assert any(announced < place < renamed for place in synced), ending
        assert ("fsync", folder) in events[renamed:], "the new name is safe, too"
    songs = [n for n, (kind, name) in enumerate(events) if kind == "rename" and name in paths]
    for row, renamed in zip(rows, songs, strict=True):
        synced = [n for n, event in enumerate(events) if event == ("fsync", folder)]
        assert any(renamed < place < row for place in synced), "the row is committed last"


async def test_every_file_is_synced_before_it_becomes_a_song_or_a_cover(
    desk, access, session, song_request, any_library, events, monkeypatch, request
) -> None:
    """At each rename, this very file had been synced after its last byte was written."""
    synced: dict[int, int] = {}
    at_rename: list[tuple[int | None, int]] = []
    fsync, move = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        fsync(descriptor)
        facts = os.fstat(descriptor)
        synced[facts.st_ino] = facts.st_size

    def rename(source: Path, target) -> Path:
        facts = source.stat()
        at_rename.append((synced.get(facts.st_ino), facts.st_size))
        return move(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", rename)
    opened = await session(library=any_library)
    await generate_in(opened, song_request(request.node.nodeid), access(desk.url), key="key")
    assert len(at_rename) == 4
    assert all(known == size > 0 for known, size in at_rename)


async def test_sqlite_syncs_every_commit(session) -> None:
    """The connection that writes runs in WAL with synchronous=FULL (2), and so does the one that reads."""
    opened = await session()
    database = opened.library.ledger.database
    for transaction in (database.write("hold"), database.read()):
        async with transaction as connection:
            assert (await connection.execute(text("PRAGMA synchronous"))).scalar_one() == 2
            assert (await connection.execute(text("PRAGMA journal_mode"))).scalar_one() == "wal"


@pytest.mark.postgres
async def test_postgres_syncs_every_commit(session, postgres_url, library_settings) -> None:
    """No session of ours turns synchronous_commit off."""
    from dataclasses import replace

    opened = await session(library=replace(library_settings, ledger_url=postgres_url))
    async with opened.library.ledger.database.write("hold") as connection:
        assert (await connection.execute(text("SHOW synchronous_commit"))).scalar_one() != "off"
