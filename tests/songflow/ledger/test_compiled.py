"""The SQL of the ledger's statements is made once in a process, for each kind of database."""

from __future__ import annotations

import pytest
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.compiler import SQLCompiler

from songflow.ledger import Ledger, State
from songflow.ledger.compiled import COMPILED
from songflow.ledger.engine import ledger_url
from songflow.settings import LibrarySettings


@pytest.fixture
def texts_made(monkeypatch):
    """The statements whose SQL is made from now on."""
    made = []
    compile_one = SQLCompiler.__init__

    def noted(self, dialect, statement, *args, **options):
        made.append(statement)
        compile_one(self, dialect, statement, *args, **options)

    monkeypatch.setattr(SQLCompiler, "__init__", noted)
    return made


async def _look_into(library: LibrarySettings) -> None:
    library.folder.mkdir(exist_ok=True)
    async with Ledger(ledger_url(library.ledger_url, library.folder)) as ledger:
        assert await ledger.submissions.in_states(list(State)) == []
        assert (await ledger.money.balance()).spent == 0.0


async def test_the_second_ledger_of_a_process_uses_the_sql_of_the_first(any_library, texts_made) -> None:
    COMPILED.clear()
    await _look_into(any_library)
    assert texts_made
    texts_made.clear()
    await _look_into(any_library)
    assert not texts_made


def test_the_sql_of_one_kind_of_database_is_not_used_for_another() -> None:
    COMPILED.clear()
    for name, dialect in (("SQLite", sqlite.dialect()), ("PostgreSQL", postgresql.dialect())):
        assert COMPILED.get((dialect, "a statement")) is None
        COMPILED[dialect, "a statement"] = name
    assert COMPILED.get((sqlite.dialect(), "a statement")) == "SQLite"
    newer = postgresql.dialect()
    newer.server_version_info = (99, 0)
    assert COMPILED.get((newer, "a statement")) is None
