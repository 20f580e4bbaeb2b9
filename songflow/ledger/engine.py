"""The ledger's database: opening it, checking where it lies, and its read and write transactions."""

from __future__ import annotations

import errno
import inspect
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy
from sqlalchemy import URL, CursorResult, Dialect, Executable, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from songflow.errors import LibraryError
from songflow.ledger import sqlite_file
from songflow.ledger.compiled import COMPILED
from songflow.ledger.schema import SCHEMA_VERSION
from songflow.ledger.sqlite_file import SqliteFile, may_write
from songflow.runtime.failpoints import reached

__all__ = ["Connection", "Database", "ledger_url"]

_T = TypeVar("_T")

_OPTIONS_OF_SQLALCHEMY = frozenset(
    {"async_fallback", "prepared_statement_cache_size", "prepared_statement_name_func"}
)
# SQLite's locks do not work across machines on these: two machines could both pay for one request.
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre",
     "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone", "fuse.mergerfs"}
)  # fmt: skip


def ledger_url(given: str | None, folder: Path) -> URL:
    """The database URL: `ledger.sqlite` in the folder unless a URL is given (`sqlite:///..`, `postgresql://..`).

    Raises:
        LibraryError: the URL cannot be read or names a database that is not supported. Never shows a password.
    """
    if not given:
        return URL.create("sqlite", database=str(folder / "ledger.sqlite"))
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):  # ValueError: a port that is not a number
        raise LibraryError(
            "SONGFLOW_LEDGER_URL is not a database URL.",
            next="give one like postgresql://user:password@host/database, or leave it out for SQLite.",
        ) from None
    drivers = {
        "sqlite": "sqlite",
        "postgresql": "postgresql+asyncpg",
        "postgres": "postgresql+asyncpg",
    }
    driver = drivers.get(url.get_backend_name())
    if driver is None:
        raise LibraryError(
            f"SONGFLOW_LEDGER_URL names {url.get_backend_name()}, which the ledger does not support.",
            next="use SQLite (the default) or a postgresql:// URL.",
        )
    if driver.startswith("sqlite") and url.database in (None, "", ":memory:"):
        raise LibraryError(
            "A ledger in memory would lose the record of what was paid for.",
            next="give a file, as in sqlite:////home/me/songs/ledger.sqlite, or leave the URL out.",
        )
    if (
        "sslmode" in url.query
    ):  # libpq's name, which hosted databases print in their URLs; asyncpg's is shorter
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": url.query["sslmode"]})
    return url.set(drivername=driver)


class Connection(Protocol):
    """The operations of a transaction, the same for SQLite and PostgreSQL."""

    @property
    def dialect(self) -> Dialect:
        """The SQL dialect of the database."""
        ...

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run a statement."""
        ...

    async def rollback(self) -> None:
        """Undo this transaction; no statement may follow."""
        ...

    async def run_sync(self, work: Callable[[sqlalchemy.Connection], _T]) -> _T:
        """Call a function with SQLAlchemy's own connection."""
        ...


class Database:
    """One open ledger database, with the transactions `read()` and `write()`.

    Args:
        url: The database's.
        reads_only: Nothing will be written: a file that may only be read is enough.
    """

    def __init__(self, url: URL, *, reads_only: bool = False) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        file = Path(url.database or ".")
        self._is_read_only = self.is_sqlite and reads_only and file.exists() and not may_write(file)
        self._backend = SqliteFile(url, read_only=self._is_read_only) if self.is_sqlite else _Server(url)
        self._errors: tuple[type[Exception], ...] = (
            DBAPIError, PoolTimeoutError, OSError, *self._backend.errors
        )  # fmt: skip
        self._opening_errors: tuple[type[Exception], ...] = (SQLAlchemyError, *self._errors)

    @property
    def name(self) -> str:
        """The database's URL for messages, without passwords (URL options can contain one, too)."""
        return self.url.set(query={}).render_as_string(hide_password=True)

    @property
    def may_write(self) -> bool:
        """False for a file that may only be read."""
        return not self._is_read_only

    async def open(self) -> None:
        """Check the location, connect, and migrate the schema to this version.

        Raises:
            LibraryError: a network file system, a newer schema, a server that may lose commits, no connection.
        """
        try:
            if self.is_sqlite:
                _check_file(Path(self.url.database or "."), self._is_read_only)
            await self._check_durability()
            if not self._backend.is_new and await self._is_current():
                return
            if self._is_read_only:
                raise LibraryError(
                    f"The ledger {self.name} has an older schema and may only be read here.",
                    next="open it once where it may be written, such as by `songflow songs`.",
                )
            async with self._backend.turn_to_open():
                if not await self._is_current():
                    # Importing Alembic takes most of a second: only in the process that migrates.
                    from songflow.ledger.migrate import upgrade

                    async with self.write("migrate") as connection:
                        await connection.run_sync(lambda sync: upgrade(sync, SCHEMA_VERSION))
        except self._opening_errors as error:
            await self.close()
            raise self.problem(error) from None
        except LibraryError:
            await self.close()
            raise

    async def close(self) -> None:
        """Close all connections."""
        await self._backend.close()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """Open a transaction that only reads; on SQLite all of its statements read one snapshot.

        Raises:
            LibraryError: the database cannot be used now (`write` raises it too).
        """
        with self._errors_translated():
            async with self._backend.read() as connection:
                yield connection

    @asynccontextmanager
    async def write(self, act: str) -> AsyncIterator[Connection]:
        """Open a transaction that is durable when the block ends.

        `act` names its fail points: tests kill the process before and after its commit.
        """
        with self._errors_translated():
            async with self._backend.write() as connection:
                yield connection
                reached(f"{act}: before commit")
        reached(f"{act}: after commit")

    @contextmanager
    def _errors_translated(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise self.problem(error) from error

    def problem(self, error: Exception) -> LibraryError:
        """Translate a database error into a LibraryError."""
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0:1]
        message = reason[0] if reason else type(error).__name__
        if "locked" in message:
            message = f"another process has held its lock for over {sqlite_file.BUSY_TIMEOUT_SECONDS} s"
        check = "location exists, is writable and has space"
        if not self.is_sqlite:
            check = "server runs and lets this user into this database"
        return LibraryError(
            f"The ledger {self.name} cannot be used: {message}.",
            next=f"check that the {check}; nothing more was sent.",
        )

    async def _check_durability(self) -> None:
        if self.is_sqlite:
            return
        _refuse_options_of_other_drivers(self.url)
        try:
            async with self.read() as connection:
                mode = (await connection.execute(text("SHOW synchronous_commit"))).scalar_one()
        except (TypeError, ValueError) as error:  # the driver reads the values of the options only here
            raise self.problem(error) from None
        if mode == "off":
            raise LibraryError(
                f"The ledger {self.name} has synchronous_commit=off: a crash could lose a paid song's id.",
                next="set synchronous_commit=on for this database or user.",
            )

    async def _is_current(self) -> bool:
        """True if the schema is that of this version; False if it is older, or there is none yet.

        Raises:
            LibraryError: it is newer.
        """
        version = await self._version()
        if version is not None and version > SCHEMA_VERSION:
            raise LibraryError(
                f"The ledger {self.name} has schema {version}; this songflow knows {SCHEMA_VERSION}.",
                next="upgrade songflow; the ledger was not touched.",
            )
        return version == SCHEMA_VERSION

    async def _version(self) -> str | None:
        try:
            async with self._backend.read() as connection:
                version: str | None = (
                    await connection.execute(text("SELECT version_num FROM alembic_version"))
                ).scalar()
                return version
        except DBAPIError as error:
            if _is_missing_table(error):
                return None
            raise


def _is_missing_table(error: DBAPIError) -> bool:
    message = str(error.orig).lower()
    return "no such table" in message or ("alembic_version" in message and "does not exist" in message)


class _Server:
    """A PostgreSQL server: concurrent transactions, whose commits the server groups."""

    def __init__(self, url: URL) -> None:
        # Not loaded for SQLite.
        import asyncpg
        from sqlalchemy.ext.asyncio import create_async_engine

        # SQLAlchemy 2.0 does not wrap errors that asyncpg raises while it connects.
        self.errors: tuple[type[Exception], ...] = (asyncpg.PostgresError, asyncpg.InterfaceError)
        # Transactions take milliseconds, and by default a server accepts 100 connections in all.
        self._engine = create_async_engine(
            url,
            pool_pre_ping=True,
            pool_size=5,
            max_overflow=0,
            execution_options={"compiled_cache": COMPILED},
        )

    is_new = False

    async def close(self) -> None:
        await self._engine.dispose()

    @asynccontextmanager
    async def turn_to_open(self) -> AsyncIterator[None]:
        yield  # the migration takes an advisory lock

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        async with self._engine.connect() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Connection]:
        async with self._engine.begin() as connection:
            yield connection


def _refuse_options_of_other_drivers(url: URL) -> None:
    """Hosted databases print URLs for libpq, with options such as `channel_binding`."""
    import asyncpg

    known = inspect.signature(asyncpg.connect).parameters
    unknown = sorted(set(url.query) - set(known) - _OPTIONS_OF_SQLALCHEMY)
    if unknown:
        raise LibraryError(
            f"The ledger's URL has options that its driver, asyncpg, does not know: {', '.join(unknown)}.",
            next="leave them out of SONGFLOW_LEDGER_URL; nothing was sent.",
        )


def _check_file(path: Path, read_only: bool) -> None:
    """Raise OSError if the file cannot be used: the operating system's reason is clearer than SQLite's.

    The file itself is not opened: closing it would release every lock that this process holds on it (POSIX), including
    those of another open ledger. SQLite in another process would then take itself for the only user and remove the
    write-ahead log that is in use here.
    """
    if not read_only:
        refuse_network_file_system(path)
    wanted = os.R_OK if read_only else os.R_OK | os.W_OK
    code = None
    if path.is_dir():
        code = errno.EISDIR
    elif not path.parent.is_dir():
        code = errno.ENOENT
    elif not os.access(path if path.exists() else path.parent, wanted):
        code = errno.EACCES
    if code is not None:
        raise OSError(code, os.strerror(code), str(path))


def refuse_network_file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Raise LibraryError if `path` is on a file system whose locks do not work across machines."""
    kind = file_system_of(path, mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise LibraryError(
            f"The ledger {path} is on a network file system ({kind}), where SQLite's locks do not work.",
            next="put the library on a local disk, or set SONGFLOW_LEDGER_URL to a PostgreSQL database.",
        )


def file_system_of(path: Path, mounts: Path) -> str | None:
    """The type of the file system of `path` from the mount table; None without such a table."""
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return None
    target = str(path.resolve())
    best, kind = "", None
    for line in lines:
        _device, escaped, found, *_ = line.split()
        # Spaces are escaped as \040; other characters, including non-ASCII ones, are not.
        point = os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), escaped))
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, found.decode()
    return kind
