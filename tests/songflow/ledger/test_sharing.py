"""Writers of one SQLite ledger share commits: each waits for the disk, and failures stay separate."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import event, text

from songflow.errors import LibraryError
from songflow.ledger import Ledger, sqlite_file
from songflow.ledger.engine import ledger_url


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Ledger]:
    """A ledger in one SQLite file."""
    async with Ledger(ledger_url(None, tmp_path)) as opened:
        yield opened


class Commits:
    """Counts the commits; while `gate` is closed they wait, and with `trouble` they fail."""

    def __init__(self) -> None:
        self.seen = 0
        self.trouble: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self._really = sqlite_file._commit

    def __call__(self, raw: sqlite3.Connection) -> None:
        self.seen += 1
        assert self.gate.wait(30)
        if self.trouble is not None:
            raw.rollback()
            raise self.trouble
        self._really(raw)


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch, shared: Ledger) -> Commits:
    """Routes all further commits through this counter."""
    counted = Commits()
    monkeypatch.setattr(sqlite_file, "_commit", counted)
    return counted


async def note(ledger: Ledger, name: str, trouble: Exception | None = None) -> None:
    """Writes one row; then fails, if asked to."""
    async with ledger.database.write("pause") as connection:
        await connection.execute(
            text("INSERT INTO switches VALUES (:name, '2026-01-01', NULL)"), {"name": name}
        )
        if trouble is not None:
            raise trouble


def on_disk(ledger: Ledger) -> set[str]:
    """The rows that another connection reads."""
    other = sqlite3.connect(str(ledger.database.url.database))
    try:
        return {name for (name,) in other.execute("SELECT name FROM switches")}
    finally:
        other.close()


async def until(condition) -> None:
    """Runs the loop and its threads until a condition is true."""
    while not condition():  # noqa: ASYNC110 - a thread gives no events
        await asyncio.sleep(0.001)


async def test_concurrent_writers_share_one_commit(shared: Ledger, commits: Commits) -> None:
    """Fifty rows, one wait for the disk."""
    await asyncio.gather(*(note(shared, f"row {number}") for number in range(50)))
    assert commits.seen == 1
    assert len(on_disk(shared)) == 50


async def test_no_writer_continues_before_the_shared_commit(shared: Ledger, commits: Commits) -> None:
    """Later writers are in the next commit."""
    commits.gate.clear()
    early = [asyncio.create_task(note(shared, f"early {number}")) for number in range(3)]
    await until(lambda: commits.seen == 1)
    late = [asyncio.create_task(note(shared, f"late {number}")) for number in range(3)]
    for _ in range(50):
        await asyncio.sleep(0)
    assert not any(task.done() for task in early + late)
    assert on_disk(shared) == set()
    commits.gate.set()
    await asyncio.gather(*early, *late)
    assert commits.seen == 2
    assert len(on_disk(shared)) == 6


async def test_a_failing_writer_rolls_back_only_its_own_work(shared: Ledger, commits: Commits) -> None:
    """Each has its own savepoint in the shared transaction."""
    writers = (note(shared, "a"), note(shared, "b", KeyError("ours")), note(shared, "c"), note(shared, "a"))
    results = await asyncio.gather(*writers, return_exceptions=True)
    assert [type(one) for one in results] == [type(None), KeyError, type(None), LibraryError]
    assert on_disk(shared) == {"a", "c"}
    assert commits.seen == 1


async def test_rollback_undoes_only_the_writers_own_block(shared: Ledger, commits: Commits) -> None:
    """Other blocks of the transaction are committed."""

    async def taken_back() -> None:
        async with shared.database.write("pause") as connection:
            await connection.execute(text("INSERT INTO switches VALUES ('mine', '2026-01-01', NULL)"))
            await connection.rollback()

    await asyncio.gather(note(shared, "a"), taken_back(), note(shared, "c"))
    assert on_disk(shared) == {"a", "c"}


async def test_a_failed_commit_fails_for_all_its_writers(shared: Ledger, commits: Commits) -> None:
    """Nobody continues with an unstored row; the next commit is a new one."""
    commits.trouble = sqlite3.OperationalError("disk I/O error")
    results = await asyncio.gather(*(note(shared, name) for name in "abc"), return_exceptions=True)
    assert [type(one) for one in results] == [LibraryError] * 3
    assert all("disk I/O error" in str(one) for one in results)
    assert on_disk(shared) == set()
    commits.trouble = None
    await note(shared, "d")
    assert on_disk(shared) == {"d"}


async def test_a_transaction_rolled_back_by_sqlite_fails_for_all_its_writers(shared: Ledger) -> None:
    """A full disk makes SQLite roll back everything: earlier writers fail, later ones write nothing."""

    async def undone() -> None:
        async with shared.database.write("pause") as connection:
            await connection.execute(text("ROLLBACK"))

    results = await asyncio.gather(note(shared, "a"), undone(), note(shared, "c"), return_exceptions=True)
    assert [type(one) for one in results] == [LibraryError] * 3
    assert on_disk(shared) == set()
    await note(shared, "d")
    assert on_disk(shared) == {"d"}


async def test_cancelling_one_writer_does_not_affect_others(shared: Ledger, commits: Commits) -> None:
    """Neither while it waits for the shared commit nor for its turn."""
    commits.gate.clear()
    first, second = (asyncio.create_task(note(shared, name)) for name in ("first", "second"))
    await until(lambda: commits.seen == 1)
    queued, last = (asyncio.create_task(note(shared, name)) for name in ("queued", "last"))
    await asyncio.sleep(0)
    first.cancel()
    queued.cancel()
    commits.gate.set()
    await asyncio.gather(second, last)
    assert first.cancelled()
    assert queued.cancelled()
    assert on_disk(shared) == {"first", "second", "last"}


class Stopped(BaseException):
    """The exception of Prefect's SIGTERM handler, raised anywhere in the process."""


@pytest.fixture
def signalled(shared: Ledger) -> Iterator[None]:
    """Statements that contain the word 'signal' receive a SIGTERM while they run."""
    place = shared.database._backend
    assert isinstance(place, sqlite_file.SqliteFile)

    def run(cursor: sqlite3.Cursor, statement: str, parameters: Any, _context: object) -> bool:
        cursor.execute(statement, parameters)
        if "signal" in str(parameters):
            os.kill(os.getpid(), signal.SIGTERM)
        return True

    def stop(*_: object) -> NoReturn:
        raise Stopped

    event.listen(place._engine, "do_execute", run)
    before = signal.signal(signal.SIGTERM, stop)
    yield
    signal.signal(signal.SIGTERM, before)
    event.remove(place._engine, "do_execute", run)


@pytest.mark.usefixtures("signalled")
async def test_a_signal_in_a_statement_does_not_affect_other_writers(
    shared: Ledger, commits: Commits
) -> None:
    """SQLAlchemy would close the connection and roll back the others' blocks."""
    results = await asyncio.gather(
        *(note(shared, name) for name in ("a", "signal", "c")), return_exceptions=True
    )
    assert [type(one) for one in results] == [type(None), Stopped, type(None)]
    assert on_disk(shared) == {"a", "c"}
    await note(shared, "d")
    assert on_disk(shared) == {"a", "c", "d"}


@pytest.mark.usefixtures("signalled")
async def test_a_signal_in_a_read_propagates_unchanged(shared: Ledger) -> None:
    """It is not an error of the ledger, and later reads work."""
    wanted = text("SELECT count(*) FROM switches WHERE name = :name")
    with pytest.raises(Stopped):
        async with shared.database.read() as connection:
            await connection.execute(wanted, {"name": "signal"})
    async with shared.database.read() as connection:
        assert (await connection.execute(wanted, {"name": "a"})).scalar_one() == 0


async def test_closing_waits_for_a_commit_in_progress(tmp_path: Path) -> None:
    """Its rows are stored even if nobody waits for it any more."""
    async with Ledger(ledger_url(None, tmp_path)) as ledger:
        writing = asyncio.create_task(note(ledger, "a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        writing.cancel()
    assert on_disk(ledger) == {"a"}


async def test_a_second_ledger_in_a_process_keeps_the_locks_of_the_first(
    shared: Ledger, tmp_path: Path
) -> None:
    """Another process that opens and closes the file does not remove the log."""
    await note(shared, "first")
    async with Ledger(ledger_url(None, tmp_path)) as second:
        await note(second, "second")
    passes_by = (
        "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM switches').fetchall()"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", passes_by, str(tmp_path / "ledger.sqlite")
    )
    assert await process.wait() == 0
    assert (tmp_path / "ledger.sqlite-wal").stat().st_size > 0
    await note(shared, "third")
    with sqlite3.connect(tmp_path / "ledger.sqlite") as direct:
        assert direct.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert direct.execute("SELECT count(*) FROM switches").fetchone() == (3,)
