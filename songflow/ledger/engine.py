"""The ledger's database: how it is opened, what is refused, and what a transaction is on each kind."""

from __future__ import annotations

import errno
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
from sqlalchemy.ext.asyncio import create_async_engine

from songflow.errors import LibraryError
from songflow.ledger import sqlite_file
from songflow.ledger.schema import SCHEMA_VERSION
from songflow.ledger.sqlite_file import SqliteFile
from songflow.runtime.failpoints import reached

__all__ = ["Connection", "Database", "ledger_url"]

_T = TypeVar("_T")

# SQLite's locks do not hold across machines on these: two machines would both believe that they may pay.
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
    except (ArgumentError, ValueError):  # ValueError: a port that is no number
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
            f"The ledger cannot be kept in {url.get_backend_name()}.",
            next="use SQLite (the default) or a postgresql:// URL.",
        )
    if driver.startswith("sqlite") and url.database in (None, "", ":memory:"):
        raise LibraryError(
            "A ledger in memory would forget what was paid for.",
            next="give a file, as in sqlite:////home/me/songs/ledger.sqlite, or leave the URL out.",
        )
    if (
        "sslmode" in url.query
    ):  # libpq's name, which hosted databases print in their URLs; asyncpg's is shorter
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": url.query["sslmode"]})
    return url.set(drivername=driver)


class Connection(Protocol):
    """What a transaction's code may do with it, on either kind of database."""

    @property
    def dialect(self) -> Dialect:
        """How the database speaks."""
        ...

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run a statement."""
        ...

    async def rollback(self) -> None:
        """Undo what this transaction has done; nothing may follow."""
        ...

    async def run_sync(self, work: Callable[[sqlalchemy.Connection], _T]) -> _T:
        """Call a function with SQLAlchemy's own connection."""
        ...


class Database:
    """One open ledger database: `read()` and `write()` are its two kinds of transaction."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._place = SqliteFile(url) if self.is_sqlite else _Server(url)
        self._troubles: tuple[type[Exception], ...] = (
            DBAPIError, PoolTimeoutError, OSError, *self._place.errors
        )  # fmt: skip
        self._troubles_of_opening: tuple[type[Exception], ...] = (SQLAlchemyError, *self._troubles)

    @property
    def name(self) -> str:
        """The database for people: no password (a URL's options can hold one, too)."""
        return self.url.set(query={}).render_as_string(hide_password=True)

    async def open(self) -> None:
        """Check the place, connect, and bring the schema to this code's version.

        Raises:
            LibraryError: a network file system, a newer schema, a server that may lose commits, no connection.
        """
        try:
            if self.is_sqlite:
                _check_file(Path(self.url.database or "."))
            await self._check_durability()
            version = await self._version()
            if version == SCHEMA_VERSION:
                return
            if version is not None and version > SCHEMA_VERSION:
                raise LibraryError(
                    f"The ledger {self.name} has schema {version}; this songflow knows {SCHEMA_VERSION}.",
                    next="upgrade songflow; the ledger was not touched.",
                )
            # Alembic takes most of a second to import, so only a ledger that needs it pays for it.
            from songflow.ledger.migrate import upgrade

            async with self.write("migrate") as connection:
                await connection.run_sync(upgrade)
        except self._troubles_of_opening as error:
            await self.close()
            raise self.problem(error) from None
        except LibraryError:
            await self.close()
            raise

    async def close(self) -> None:
        """Give the connections back."""
        await self._place.close()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """A transaction that sees one moment of the ledger.

        Raises:
            LibraryError: the database cannot be used just now; so does `write`.
        """
        with self._in_words():
            async with self._place.read() as connection:
                yield connection

    @asynccontextmanager
    async def write(self, act: str) -> AsyncIterator[Connection]:
        """A transaction that is on the disk when the block ends.

        `act` names it among the fail points: a process can be killed before and after its commit.
        """
        with self._in_words():
            async with self._place.write() as connection:
                yield connection
                reached(f"{act}: before commit")
        reached(f"{act}: after commit")

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except self._troubles as error:
            raise self.problem(error) from error

    def problem(self, error: Exception) -> LibraryError:
        """A database's error in a person's words."""
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0:1]
        said = reason[0] if reason else type(error).__name__
        if "locked" in said:
            said = f"another process has held its lock for over {sqlite_file.BUSY_TIMEOUT_SECONDS} s"
        return LibraryError(
            f"The ledger {self.name} cannot be used: {said}.",
            next="check that the place exists, can be written and has space; nothing more was sent.",
        )

    async def _check_durability(self) -> None:
        if self.is_sqlite:
            return
        try:
            async with self.read() as connection:
                mode = (await connection.execute(text("SHOW synchronous_commit"))).scalar_one()
        except (TypeError, ValueError) as error:  # the driver meets the URL's options only here
            raise self.problem(error) from None
        if mode == "off":
            raise LibraryError(
                f"The ledger {self.name} has synchronous_commit=off: a crash could lose a paid song's id.",
                next="set synchronous_commit=on for this database or user.",
            )

    async def _version(self) -> str | None:
        try:
            async with self._place.read() as connection:
                version: str | None = (
                    await connection.execute(text("SELECT version_num FROM alembic_version"))
                ).scalar()
                return version
        except DBAPIError as error:
            if _is_missing_table(error):
                return None
            raise


def _is_missing_table(error: DBAPIError) -> bool:
    said = str(error.orig).lower()
    return "no such table" in said or ("alembic_version" in said and "does not exist" in said)


class _Server:
    """A PostgreSQL server: transactions side by side, whose commits it groups by itself."""

    def __init__(self, url: URL) -> None:
        import asyncpg  # who keeps the ledger in SQLite need not load it

        # SQLAlchemy 2.0 hands on as it is what goes wrong while asyncpg connects.
        self.errors: tuple[type[Exception], ...] = (asyncpg.PostgresError, asyncpg.InterfaceError)
        # Transactions take milliseconds, and a server takes 100 connections in all unless told otherwise.
        self._engine = create_async_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=0)

    async def close(self) -> None:
        await self._engine.dispose()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        async with self._engine.connect() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Connection]:
        async with self._engine.begin() as connection:
            yield connection


def _check_file(path: Path) -> None:
    """Raise OSError where the file cannot be used: the operating system's reason is clearer than SQLite's.

    The file itself is never opened for that. Closing it would end every lock that this process holds on it (POSIX),
    also those of another open ledger: SQLite in another process would then believe that it is alone, and tidy up the
    write-ahead log that is in use here.
    """
    refuse_network_file_system(path)
    trouble = None
    if path.is_dir():
        trouble = errno.EISDIR
    elif not path.parent.is_dir():
        trouble = errno.ENOENT
    elif not os.access(path if path.exists() else path.parent, os.R_OK | os.W_OK):
        trouble = errno.EACCES
    if trouble is not None:
        raise OSError(trouble, os.strerror(trouble), str(path))


def refuse_network_file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> None:
    """Raise LibraryError where `path` lies on a file system whose locks do not hold between machines."""
    kind = file_system_of(path, mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise LibraryError(
            f"The ledger {path} lies on a network file system ({kind}), where SQLite's locks do not hold.",
            next="put the library on a local disk, or set SONGFLOW_LEDGER_URL to a PostgreSQL database.",
        )


def file_system_of(path: Path, mounts: Path) -> str | None:
    """The type of the file system that holds `path`, as the mount table names it (None: no such table)."""
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return None
    target = str(path.resolve())
    best, kind = "", None
    for line in lines:
        _device, escaped, found, *_ = line.split()
        # Spaces stand as \040; everything else, non-ASCII names too, as it is.
        point = os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), escaped))
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, found.decode()
    return kind
