"""A ledger in one SQLite file: statements run in the event loop, commits in a thread, and writers share them.

SQLite answers a statement in microseconds; handing each one to a thread, as async drivers do, costs ten times
that. What takes long is the commit's fsync. It runs in a thread, and whoever wants to write meanwhile queues:

    block, block, block, COMMIT (in a thread) ..............., block, block, COMMIT ...
    one transaction, a savepoint for each block                those that came meanwhile

A block ends only when the transaction that it is part of is on the disk. A block that fails undoes its own
savepoint and no other; a commit that fails, fails for all of its blocks.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from sqlalchemy import (
    URL,
    Connection,
    CursorResult,
    Dialect,
    ExceptionContext,
    Executable,
    create_engine,
    event,
)

from songflow.runtime.retry import Attempts, Backoff

__all__ = ["BUSY_TIMEOUT_SECONDS", "InLoop", "SqliteFile"]

BUSY_TIMEOUT_SECONDS = 30
_T = TypeVar("_T")


class InLoop:
    """A connection whose statements run where they are called: what is awaited is there at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.undone = False

    @property
    def dialect(self) -> Dialect:
        """How the database speaks."""
        return self._connection.dialect

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run a statement."""
        return self._connection.execute(statement, parameters)

    async def rollback(self) -> None:
        """Undo the whole block when it ends."""
        self.undone = True

    async def run_sync(self, work: Callable[[Connection], _T]) -> _T:
        """Call a function with the connection itself."""
        return work(self._connection)


class SqliteFile:
    """One SQLite file, for one event loop: a connection that writes, and others that read."""

    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, url: URL) -> None:
        self._engine = create_engine(
            url.set(drivername="sqlite+pysqlite"),
            isolation_level="AUTOCOMMIT",  # BEGIN and COMMIT are said below
            pool_reset_on_return=None,
            max_overflow=-1,  # a reader that waited for a connection would hold up the loop
            connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )
        event.listen(self._engine, "connect", _configure)
        event.listen(self._engine, "handle_error", _keep_connection)
        self._thread = ThreadPoolExecutor(1, "songflow-ledger")
        self._turn = asyncio.Lock()
        self._writer: Connection | None = None
        self._commit: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Wait for what is being committed, then close the file."""
        if self._commit is not None:
            await asyncio.wait([self._commit])
        async with self._turn:
            await self._in_thread(self._disconnect)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[InLoop]:
        """A transaction that sees one moment of what is committed."""
        await self._opened()
        with self._engine.connect() as connection:
            raw = _raw(connection)
            try:
                raw.execute("BEGIN")
                yield InLoop(connection)
            finally:
                raw.rollback()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[InLoop]:
        """A block that is on the disk when this ends (BEGIN IMMEDIATE, so that it waits for other processes)."""
        writer = await self._turn_to_write()
        try:
            # Made now, it queues behind those that wait already: they come into the same transaction.
            commit = self._commit = self._commit or asyncio.create_task(self._commit_in_turn(_raw(writer)))
            with _savepoint(writer) as block:
                yield block
        finally:
            self._turn.release()
        await asyncio.shield(commit)

    async def _turn_to_write(self) -> Connection:
        """The writing connection inside a transaction; the turn is the caller's to give back."""
        writer = await self._opened()
        await self._turn.acquire()
        try:
            if self._commit is None:
                await _begin(_raw(writer))
        except BaseException:
            self._turn.release()
            raise
        return writer

    async def _commit_in_turn(self, raw: sqlite3.Connection) -> None:
        await self._turn.acquire()
        self._commit = None
        done = self._in_thread(_commit, raw)
        # Whatever becomes of us, the connection is the thread's until it has ended.
        done.add_done_callback(lambda _: self._turn.release())
        await asyncio.shield(done)

    async def _opened(self) -> Connection:
        if self._writer is None:
            await self._in_thread(self._connect)
        assert self._writer is not None, "it was opened"
        return self._writer

    def _connect(self) -> None:
        if self._writer is None:
            self._writer = self._engine.connect()
            self._writer.begin()  # in SQLAlchemy's own eyes: whoever gets the connection begins nothing then

    def _disconnect(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._engine.dispose()

    def _in_thread(self, work: Callable[..., _T], *arguments: Any) -> asyncio.Future[_T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


@contextmanager
def _savepoint(writer: Connection) -> Iterator[InLoop]:
    """What one block does, and nothing of it where it fails or asks for that."""
    raw, block = _raw(writer), InLoop(writer)
    if not raw.in_transaction:  # trouble with the disk in an earlier block: SQLite has undone them all
        raise sqlite3.OperationalError("the transaction was undone")
    raw.execute("SAVEPOINT block")
    kept = False
    try:
        yield block
        kept = not block.undone
    finally:
        if raw.in_transaction:
            if not kept:
                raw.execute("ROLLBACK TO block")
            raw.execute("RELEASE block")


async def _begin(raw: sqlite3.Connection) -> None:
    """Begin to write, after any other process that does.

    SQLite's own wait looks again every 100 ms: among many writers some would never find the lock free.
    """
    attempts = Attempts(_lock_backoff())
    while True:
        try:
            _begin_at_once(raw)
            return
        except sqlite3.OperationalError as error:
            pause = attempts.next_pause()
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or pause is None:
                raise
        await asyncio.sleep(pause)


def _lock_backoff() -> Backoff:
    """How a lock of another process is waited for.

    Not by `retry`: a lock is the normal course of things, so that nothing is logged, it is waited for in tests, too,
    and a new file's is waited for in a thread, where a connection is made.
    """
    return Backoff(first=0.02, factor=1.0, jitter=0.95, within=BUSY_TIMEOUT_SECONDS)


def _begin_at_once(raw: sqlite3.Connection) -> None:
    raw.execute("PRAGMA busy_timeout=0")
    try:
        raw.execute("BEGIN IMMEDIATE")
    finally:
        raw.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}")


def _commit(raw: sqlite3.Connection) -> None:
    try:
        raw.execute("COMMIT")
    except BaseException:
        raw.rollback()
        raise


def _raw(connection: Connection) -> sqlite3.Connection:
    raw = connection.connection.dbapi_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def _configure(raw: sqlite3.Connection, _record: Any) -> None:
    raw.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}")
    _switch_to_wal(raw)
    raw.execute("PRAGMA synchronous=FULL")
    # Pages that many rows touch are moved from the log into the file once for all of these, and not each 4 MB anew.
    raw.execute("PRAGMA wal_autocheckpoint=4000")
    raw.execute("PRAGMA foreign_keys=ON")


def _keep_connection(context: ExceptionContext) -> None:
    """Keep the connection that a signal's exception (SIGTERM, Ctrl-C) came up in.

    SQLAlchemy closes it, as half an answer may be left on a network's connection. Here it would undo what others
    have written in the same transaction, and its errors would take the place of the signal. Python raises between
    the calls of SQLite, never inside of one.
    """
    if not isinstance(context.original_exception, Exception):
        context.is_disconnect = False


def _switch_to_wal(raw: sqlite3.Connection) -> None:
    """Give a new file its write-ahead log. SQLite does not wait for that lock where another process is writing."""
    attempts = Attempts(_lock_backoff())
    while True:
        try:
            raw.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            pause = attempts.next_pause()
            if pause is None:
                raise
        time.sleep(pause)
