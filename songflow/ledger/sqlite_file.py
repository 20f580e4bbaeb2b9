"""A ledger in one SQLite file: statements run in the event loop, group commits in a thread.

SQLite runs a statement in microseconds; passing each one to a thread, as async drivers do, costs ten times that.
Only the commit's fsync is slow. It runs in a thread, and writers that arrive meanwhile queue for the next commit:

    block, block, block, COMMIT (in a thread) ..............., block, block, COMMIT ...
    one transaction, a savepoint for each block                those that queued

A block ends only when its transaction is on the disk. A block that fails rolls back its own savepoint only; a commit
that fails, fails for all of its blocks.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

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

from songflow.ledger.compiled import COMPILED
from songflow.runtime.file_locks import try_lock
from songflow.runtime.retry import Attempts, Backoff

__all__ = ["BUSY_TIMEOUT_SECONDS", "OPENING_SECONDS", "InLoop", "ReadOnlyFile", "SqliteFile", "may_write"]

BUSY_TIMEOUT_SECONDS = 30
"""How long a writer waits while nobody else commits either: then the lock's holder hangs."""
OPENING_SECONDS = 300
"""How long an opening waits for those before it. Each takes a moment, and on a busy machine they may be many."""
_T = TypeVar("_T")


class InLoop:
    """A connection with an async interface whose statements run synchronously, in the event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.undone = False

    @property
    def dialect(self) -> Dialect:
        """The SQL dialect of the database."""
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
    """One SQLite file, for one event loop: a connection that writes, and others that read.

    Args:
        url: The file's.
        read_only: The file, or its folder, may not be written: it is only read.
    """

    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, url: URL, *, read_only: bool = False) -> None:
        options: dict[str, Any] = {
            "connect_args": {"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
        }
        if read_only:
            options = {"creator": ReadOnlyFile(Path(url.database or ".")).connect}
        self._engine = create_engine(
            url.set(drivername="sqlite+pysqlite"),
            isolation_level="AUTOCOMMIT",  # BEGIN and COMMIT are issued below
            pool_reset_on_return=None,
            max_overflow=-1,  # a reader that waited for a connection would block the loop
            execution_options={"compiled_cache": COMPILED},
            **options,
        )
        if not read_only:
            event.listen(self._engine, "connect", _configure)
        event.listen(self._engine, "handle_error", _keep_connection)
        self._path = Path(url.database or ".")
        self._thread = ThreadPoolExecutor(1, "songflow-ledger")
        self._turn = asyncio.Lock()
        self._writer: Connection | None = None
        self._commit: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Wait for a commit in progress, then close the file."""
        if self._commit is not None:
            await asyncio.wait([self._commit])
        async with self._turn:
            await self._in_thread(self._disconnect)

    @property
    def is_new(self) -> bool:
        """True if nobody has opened the file yet."""
        return _size(self._path) == 0

    @asynccontextmanager
    async def turn_to_open(self) -> AsyncIterator[None]:
        """Open a new file, or one to be migrated, alone: the others wait without looking at it.

        The lock is that of the file's folder. Where folders have no locks, SQLite's own lock has to do.
        """
        descriptor = os.open(self._path.parent, os.O_RDONLY)
        try:
            attempts = Attempts(Backoff(first=0.05, factor=1.0, jitter=0.8, within=OPENING_SECONDS))
            while not try_lock(descriptor):
                pause = attempts.next_pause()
                if pause is None:
                    raise sqlite3.OperationalError(
                        f"others have been opening it for over {OPENING_SECONDS} s"
                    )
                await asyncio.sleep(pause)
            yield
        finally:
            os.close(descriptor)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[InLoop]:
        """Open a transaction that reads one committed snapshot."""
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
        """Open a block that is durable when it ends (BEGIN IMMEDIATE, so that it waits for other processes)."""
        writer = await self._turn_to_write()
        try:
            # Created now, it queues behind the waiting writers, which join the same transaction.
            commit = self._commit = self._commit or asyncio.create_task(self._commit_in_turn(_raw(writer)))
            with _savepoint(writer) as block:
                yield block
        finally:
            self._turn.release()
        await asyncio.shield(commit)

    async def _turn_to_write(self) -> Connection:
        """The writing connection inside a transaction; the caller releases the turn."""
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
        # Even if this task is cancelled, the connection belongs to the thread until the commit ends.
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
            self._writer.begin()  # SQLAlchemy's own transaction, so that it begins no other one on this connection

    def _disconnect(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._engine.dispose()

    def _in_thread(self, work: Callable[..., _T], *arguments: Any) -> asyncio.Future[_T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


class ReadOnlyFile:
    """Connections to a SQLite file that may not be written, or whose folder may not.

    SQLite reads such a file while its log and the log's index are there, as long as another process has it open. Once
    everything is in the file itself, it is read as one that nobody changes. A log that a dead process left without
    its index is read in a copy.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._copy: tempfile.TemporaryDirectory[str] | None = None

    def connect(self) -> sqlite3.Connection:
        """A new connection.

        Raises:
            sqlite3.Error, OSError: it cannot be read.
        """
        if self._copy is not None:
            return self._open(Path(self._copy.name) / self._path.name, "")
        if _size(self._log) == 0:
            return self._open(self._path, "?mode=ro&immutable=1")
        try:
            return self._open(self._path, "?mode=ro")
        except sqlite3.OperationalError:
            self._copy = tempfile.TemporaryDirectory(prefix="songflow-ledger-")
            for file in (self._path, self._log):
                shutil.copy(file, self._copy.name)
            return self.connect()

    @property
    def _log(self) -> Path:
        return self._path.with_name(f"{self._path.name}-wal")

    def _open(self, path: Path, options: str) -> sqlite3.Connection:
        address = f"file:{quote(str(path))}{options}"
        found = sqlite3.connect(address, BUSY_TIMEOUT_SECONDS, uri=True, check_same_thread=False)
        try:
            found.execute("SELECT count(*) FROM sqlite_master")
        except BaseException:
            found.close()
            raise
        return found


def may_write(path: Path) -> bool:
    """True if a SQLite file and its folder, where SQLite keeps its log, may be written."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


@contextmanager
def _savepoint(writer: Connection) -> Iterator[InLoop]:
    """Run one block in a savepoint, which is rolled back if the block fails or calls `rollback`."""
    raw, block = _raw(writer), InLoop(writer)
    if (
        not raw.in_transaction
    ):  # after a disk error in an earlier block, SQLite has rolled back the transaction
        raise sqlite3.OperationalError("the transaction was rolled back")
    raw.execute("SAVEPOINT block")
    succeeded = False
    try:
        yield block
        succeeded = not block.undone
    finally:
        if raw.in_transaction:
            if not succeeded:
                raw.execute("ROLLBACK TO block")
            raw.execute("RELEASE block")


async def _begin(raw: sqlite3.Connection) -> None:
    """Begin to write, after any other process that is writing.

    SQLite's own wait retries every 100 ms: among many writers, some would never find the lock free. As long as others
    commit, the wait goes on: they are many, and the machine is busy.
    """
    attempts, seen = Attempts(_lock_backoff()), None
    while True:
        try:
            _begin_at_once(raw)
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
            before, seen = seen, _commits_seen(raw)
            if before not in (None, seen):
                attempts.start_again()
            pause = attempts.next_pause()
            if pause is None:
                raise
        await asyncio.sleep(pause)


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


def _commits_seen(raw: sqlite3.Connection) -> int:
    """A number that changes when another connection commits."""
    (version,) = raw.execute("PRAGMA data_version").fetchone()
    return int(version)


def _lock_backoff() -> Backoff:
    """The backoff while another process has the lock.

    `retry` is not used: a lock is normal, so it is not logged and tests do not skip the wait, and a new file's lock is
    waited for in the thread that connects.
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
    # Checkpoint after 4,000 pages, so that pages that many rows touch are copied to the file less often.
    raw.execute("PRAGMA wal_autocheckpoint=4000")
    raw.execute("PRAGMA foreign_keys=ON")


def _keep_connection(context: ExceptionContext) -> None:
    """Keep a connection that a signal's exception (SIGTERM, Ctrl-C) interrupted.

    SQLAlchemy would close it, as a network connection could contain half an answer. Here that would roll back the
    blocks of other writers, and its errors would hide the signal. Python raises such exceptions between calls of
    SQLite, never inside one.
    """
    if not isinstance(context.original_exception, Exception):
        context.is_disconnect = False


def _switch_to_wal(raw: sqlite3.Connection) -> None:
    """Switch a file to write-ahead logging. SQLite does not wait for this lock while another process is writing."""
    attempts = Attempts(_lock_backoff())
    while True:
        try:
            raw.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            pause = attempts.next_pause()
            if pause is None or not _is_busy(error):
                raise
        time.sleep(pause)
