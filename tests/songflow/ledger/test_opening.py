"""Opening a ledger: allowed locations, required durability, and errors without passwords."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from songflow.errors import LibraryError
from songflow.ledger import Ledger, migrate, sqlite_file
from songflow.ledger.engine import file_system_of, ledger_url, refuse_network_file_system


async def _open(url: str | None, folder: Path = Path()) -> None:
    async with Ledger(ledger_url(url, folder)):
        pass


# --- URLs -------------------------------------------------------------------------------------------------


def test_without_a_url_the_ledger_is_a_file_in_the_folder(tmp_path: Path) -> None:
    """SQLite in the library's folder is the default."""
    assert ledger_url(None, tmp_path).database == str(tmp_path / "ledger.sqlite")


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+asyncpg", "postgresql+psycopg2", "postgres"])
def test_every_postgresql_url_uses_asyncpg(scheme: str) -> None:
    """Whatever driver it names."""
    assert ledger_url(f"{scheme}://h/d", Path()).drivername == "postgresql+asyncpg"


def test_sslmode_in_a_url_becomes_ssl() -> None:
    """`sslmode`, libpq's name in most providers' URLs, becomes asyncpg's `ssl`."""
    assert ledger_url("postgresql://h/d?sslmode=require", Path()).query == {"ssl": "require"}


@pytest.mark.parametrize(
    "url",
    [
        "sesame",
        "mysql://me:sesame@host/db",
        "postgresql://me:sesame@host:port/db",
        "postgresql://me:sesame@127.0.0.1:1/db",
        "postgresql://me@127.0.0.1:1/db?password=sesame",
        "postgresql://me:sesame@127.0.0.1:1/db?no_such_option=1",
        "postgresql://me:sesame@127.0.0.1:1/db?ssl=nonsense",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:////no/such/folder/ledger.sqlite",
    ],
)
async def test_an_invalid_url_is_reported_without_its_password(url: str) -> None:
    """It is bad input (exit 2), and neither the message nor a chained exception contains the password."""
    with pytest.raises(LibraryError) as caught:
        await _open(url)
    assert caught.value.exit_code == 2
    assert "sesame" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert caught.value.next


async def test_the_options_of_another_driver_are_named() -> None:
    """As in the URLs that hosted databases print for libpq."""
    url = "postgresql://me:sesame@127.0.0.1:1/db?sslmode=require&channel_binding=require&connect_timeout=10"
    with pytest.raises(LibraryError, match=r"does not know: channel_binding, connect_timeout\.") as caught:
        await _open(url)
    assert "leave them out" in str(caught.value)


async def test_a_server_that_does_not_answer_is_not_said_to_lack_space() -> None:
    """The advice is about the server."""
    with pytest.raises(LibraryError, match="check that the server runs"):
        await _open("postgresql://me@127.0.0.1:1/db")


@pytest.mark.postgres
@pytest.mark.parametrize("wrong", ["role", "database"])
async def test_a_refusing_server_is_reported_without_the_password(postgres_url: str, wrong: str) -> None:
    """A wrong user or database shows the server's reason."""
    url = make_url(postgres_url).set(password="sesame")
    bad = url.set(username="nobody-such") if wrong == "role" else url.set(database="no-such")
    with pytest.raises(LibraryError, match="does not exist") as caught:
        await _open(bad.render_as_string(hide_password=False))
    assert "sesame" not in str(caught.value)


# --- durability -------------------------------------------------------------------------------------------


async def test_sqlite_commits_are_durable(tmp_path: Path) -> None:
    """Write-ahead log, full synchronisation and foreign keys on every connection."""
    async with Ledger(ledger_url(None, tmp_path)) as ledger:
        for transaction in (ledger.database.read(), ledger.database.write("test")):
            async with transaction as connection:
                found = [
                    (await connection.execute(text(f"PRAGMA {name}"))).scalar()
                    for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
                ]
                assert found == ["wal", 2, 1, 30_000]


@pytest.mark.postgres
@pytest.mark.parametrize("where", ["DATABASE", "ROLE"])
async def test_a_server_that_may_lose_commits_is_refused(new_postgres: str, where: str) -> None:
    """synchronous_commit=off, for the database or the user, could lose a paid id in a crash."""
    import asyncpg

    url = make_url(new_postgres)
    role = f"{url.database}_role"
    connection = await asyncpg.connect(new_postgres)
    try:
        await connection.execute(f"CREATE ROLE {role} LOGIN SUPERUSER")
        target = url.database if where == "DATABASE" else role
        await connection.execute(f"ALTER {where} {target} SET synchronous_commit = off")
        with pytest.raises(LibraryError, match="synchronous_commit=off") as caught:
            await _open(url.set(username=role).render_as_string(hide_password=False))
        assert "set synchronous_commit=on" in str(caught.value)
        assert await connection.fetchval("SELECT to_regclass('generations')") is None
    finally:
        await connection.execute(f"DROP ROLE {role}")
        await connection.close()


MOUNTS = b"""\
/dev/sda1 / ext4 rw 0 0
server:/export /mnt/songs nfs4 rw 0 0
server:/export /mnt/with\\040space cifs rw 0 0
server:/export /mnt/m\xc3\xbcsik fuse.sshfs rw 0 0
/dev/sdb1 /mnt/songs/local xfs rw 0 0
/dev/sdc1 /mnt/song vfat rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/ledger.sqlite", "ext4"),
        ("/mnt/songs/ledger.sqlite", "nfs4"),
        ("/mnt/songs", "nfs4"),
        ("/mnt/songs/local/ledger.sqlite", "xfs"),
        ("/mnt/song/ledger.sqlite", "vfat"),
        ("/mnt/songster/ledger.sqlite", "ext4"),
        ("/mnt/with space/ledger.sqlite", "cifs"),
        ("/mnt/müsik/ledger.sqlite", "fuse.sshfs"),
    ],
)
def test_the_file_system_of_a_path_is_that_of_its_innermost_mount(
    tmp_path: Path, path: str, kind: str
) -> None:
    """The mount table's escapes and whole path segments are respected."""
    mounts = tmp_path / "mounts"
    mounts.write_bytes(MOUNTS)
    assert file_system_of(Path(path), mounts) == kind


def test_sqlite_on_a_network_file_system_is_refused(tmp_path: Path) -> None:
    """Its locks do not work across machines: two could both pay."""
    mounts = tmp_path / "mounts"
    mounts.write_bytes(MOUNTS)
    with pytest.raises(LibraryError, match=r"network file system \(nfs4\)") as caught:
        refuse_network_file_system(Path("/mnt/songs/ledger.sqlite"), mounts)
    assert "PostgreSQL" in str(caught.value)
    refuse_network_file_system(Path("/home/me/ledger.sqlite"), mounts)


def test_without_a_mount_table_nothing_is_refused(tmp_path: Path) -> None:
    """Systems without /proc/mounts (macOS) are not locked out."""
    assert file_system_of(tmp_path, tmp_path / "missing") is None
    refuse_network_file_system(tmp_path, tmp_path / "missing")


# --- other processes ----------------------------------------------------------------------------------------


async def test_a_ledger_that_stays_locked_is_a_library_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a driver's traceback."""
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0)
    async with Ledger(ledger_url(None, tmp_path)) as ledger:
        other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LibraryError, match="another process has held its lock"):
            await ledger.submissions.running("any")
        assert await ledger.submissions.of_key("any") == []
        other.close()
        assert await ledger.submissions.running("any") is False


async def test_a_new_file_that_another_process_writes_to_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite itself fails at once on a locked journal mode; two first openings would collide."""
    other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(sqlite_file.time, "sleep", lambda seconds: other.close())
    async with Ledger(ledger_url(None, tmp_path)) as ledger:
        assert await ledger.submissions.of_key("any") == []


async def test_a_new_file_that_stays_locked_is_a_library_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the busy timeout."""
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0)
    other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LibraryError, match="another process has held its lock"):
        await _open(None, tmp_path)
    other.close()


async def test_a_writer_waits_as_long_as_others_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is for a holder that hangs, not for a busy machine."""
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0.2)
    async with Ledger(ledger_url(None, tmp_path)) as ledger:
        other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(ledger.submissions.running("any"))
        for number in range(12):
            await asyncio.sleep(0.05)
            other.execute(f"PRAGMA user_version={number + 1}")
            other.execute("COMMIT")
            other.execute("BEGIN IMMEDIATE")
            assert not waiting.done()
        other.execute("COMMIT")
        assert await waiting is False
        other.close()


async def test_a_new_ledger_is_opened_by_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its turn is waited for longer than a lock; only one process migrates, and an open ledger needs no turn."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with monkeypatch.context() as impatient:
        impatient.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0)
        opening = [asyncio.create_task(_open(None, tmp_path)) for _ in range(8)]
        await asyncio.sleep(0.3)
    assert not any(task.done() for task in opening)
    assert list(tmp_path.iterdir()) == []
    os.close(descriptor)
    migrations = []
    upgrade = migrate.upgrade
    monkeypatch.setattr(migrate, "upgrade", lambda *given: (migrations.append(1), upgrade(*given)))
    await asyncio.gather(*opening)
    assert len(migrations) == 1
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    await _open(None, tmp_path)
    monkeypatch.setattr(sqlite_file, "OPENING_SECONDS", 0)
    (tmp_path / "other").mkdir()
    second = os.open(tmp_path / "other", os.O_RDONLY)
    fcntl.flock(second, fcntl.LOCK_EX)
    with pytest.raises(LibraryError, match="others have been opening it"):
        await _open(None, tmp_path / "other")
    os.close(descriptor)
    os.close(second)


async def test_a_write_that_is_cancelled_while_it_waits_leaves_the_ledger_usable(tmp_path: Path) -> None:
    """Cancelling a wait for the lock neither keeps the lock nor breaks the connection."""
    async with Ledger(ledger_url(None, tmp_path)) as ledger:
        other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(ledger.submissions.running("any"))
        for _ in range(20):
            await asyncio.sleep(0)
        waiting.cancel()
        other.execute("COMMIT")
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await ledger.submissions.running("any") is False
        other.execute("BEGIN IMMEDIATE")
        other.close()


async def test_other_exceptions_pass_through_a_transaction(ledger: Ledger, intent, alive) -> None:
    """And roll it back."""

    async def fail() -> None:
        async with ledger.database.write("test") as connection:
            await connection.execute(text("DELETE FROM submissions"))
            raise KeyError("ours")

    await ledger.submissions.intend(intent(), alive())
    with pytest.raises(KeyError):
        await fail()
    assert len(await ledger.submissions.of_key("key")) == 1


async def test_a_file_that_is_not_a_ledger_is_not_changed(tmp_path: Path) -> None:
    """Whatever has the ledger's name."""
    file = tmp_path / "ledger.sqlite"
    file.write_bytes(b"my diary, not a database " * 100)
    with pytest.raises(LibraryError, match="not a database"):
        await _open(None, tmp_path)
    assert file.read_bytes() == b"my diary, not a database " * 100
