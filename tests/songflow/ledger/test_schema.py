"""The schema: migrations create what the code expects, and no other version is touched."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from songflow.errors import LibraryError
from songflow.ledger import Ledger
from songflow.ledger.engine import ledger_url
from songflow.ledger.migrate import alembic_config
from songflow.ledger.schema import SCHEMA_VERSION, metadata

NEXT_VERSION = f"{int(SCHEMA_VERSION) + 1:04}"


def test_the_schema_version_is_the_newest_migration() -> None:
    """The version that is checked at each opening is Alembic's only head."""
    assert ScriptDirectory.from_config(alembic_config()).get_heads() == [SCHEMA_VERSION]


async def test_migrations_create_exactly_the_tables_of_the_code(ledger: Ledger) -> None:
    """Alembic finds no difference between a migrated ledger and the metadata."""

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        return list(compare_metadata(context, metadata))

    async with ledger.database.read() as connection:
        assert await connection.run_sync(differences) == []


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path):
    """The URL of an empty database."""
    given = request.getfixturevalue("new_postgres") if request.param == "postgres" else None
    return ledger_url(given, tmp_path)


async def _version(ledger: Ledger) -> str:
    async with ledger.database.read() as connection:
        return (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one()


async def _set_version(ledger: Ledger, version: str) -> None:
    async with ledger.database.write("test") as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = :it"), {"it": version})


async def test_an_empty_database_is_migrated_once(fresh_url) -> None:
    """The second opening finds the schema."""
    for _ in range(2):
        async with Ledger(fresh_url) as ledger:
            assert await _version(ledger) == SCHEMA_VERSION
            assert await ledger.submissions.of_key("any") == []


async def test_an_older_schema_is_migrated(
    fresh_url, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It gets the missing migrations and keeps its data."""
    async with Ledger(fresh_url) as ledger, ledger.database.write("test") as connection:
        await connection.execute(
            text("INSERT INTO generations VALUES ('old', '{}', 'hash', 1, '2026-01-01 00:00:00+00')")
        )
    newer = _with_another_migration(tmp_path / "migrations")
    monkeypatch.setattr("songflow.ledger.migrate._MIGRATIONS", newer)
    monkeypatch.setattr("songflow.ledger.engine.SCHEMA_VERSION", NEXT_VERSION)
    async with Ledger(fresh_url) as ledger:
        assert await _version(ledger) == NEXT_VERSION
        async with ledger.database.read() as connection:
            rows = await connection.execute(text("SELECT key, note FROM generations"))
            assert [tuple(row) for row in rows] == [("old", None)]


async def test_a_newer_schema_is_refused_and_not_touched(fresh_url) -> None:
    """The message recommends an upgrade."""
    async with Ledger(fresh_url) as ledger:
        await _set_version(ledger, "0999")
    with pytest.raises(LibraryError, match="schema 0999") as caught:
        async with Ledger(fresh_url):
            raise AssertionError("it opened")
    assert "upgrade songflow; the ledger was not touched" in str(caught.value)
    assert caught.value.exit_code == 2
    database = Ledger(fresh_url)
    assert await _version(database) == "0999"
    await _set_version(database, SCHEMA_VERSION)
    await database.database.close()


async def test_concurrent_first_openings_all_succeed(fresh_url) -> None:
    """Four processes race to create the schema: one does, none fails."""
    script = (
        "import asyncio, sys\n"
        "from sqlalchemy import make_url\n"
        "from songflow.ledger import Ledger\n"
        "async def main():\n"
        "    ledger = Ledger(make_url(sys.argv[1]))\n"
        "    print('ready', flush=True); sys.stdin.readline()\n"
        "    async with ledger:\n"
        "        assert await ledger.submissions.of_key('any') == []\n"
        "asyncio.run(main())\n"
    )
    shown = fresh_url.render_as_string(hide_password=False)
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, shown,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(4)
    ]  # fmt: skip
    for process in processes:
        assert await process.stdout.readline() == b"ready\n"
    results = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [process.returncode for process in processes] == [0] * 4, [error.decode() for _, error in results]


async def test_a_migration_that_fails_leaves_an_empty_ledger_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schema is created in one transaction."""
    broken = _with_another_migration(tmp_path / "migrations", upgrade="op.execute('SELECT nonsense')")
    monkeypatch.setattr("songflow.ledger.migrate._MIGRATIONS", broken)
    with pytest.raises(LibraryError):
        async with Ledger(ledger_url(None, tmp_path)):
            raise AssertionError("it opened")
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()


def _with_another_migration(
    folder: Path, upgrade: str = "op.add_column('generations', sa.Column('note', sa.Text()))"
) -> Path:
    """The package's migrations and one more, as of a later version."""
    import shutil

    import songflow.ledger.migrate as migrate

    shutil.copytree(Path(migrate.__file__).parent / "migrations", folder)
    (folder / "versions" / f"{NEXT_VERSION}_note.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision, down_revision, branch_labels, depends_on = '{NEXT_VERSION}', '{SCHEMA_VERSION}', None, None\n"
        f"def upgrade() -> None:\n    {upgrade}\n"
    )
    return folder
