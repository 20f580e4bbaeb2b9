"""`songflow backup`: a copy of the ledger while others write, and what a restore of it does."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from songflow.errors import InputError
from songflow.ledger.backup import backup_sqlite


def test_a_restored_backup_pays_for_nothing_again(shell: Any, gateways: Any, to: Any, posts: Any) -> None:
    """What was made after the backup is named with exit 5 and taken in by rescue; then the key has its songs."""
    server = gateways(takes=1)
    assert shell.run("generate", "before", "--key", "before", *to(server)).code == 0
    made = shell.run("backup", "copy.sqlite", "--json")
    assert (made.code, made.json["bytes"] > 0, "songflow rescue" in made.json["next"]) == (0, True, True)
    assert shell.run("backup", "copy.sqlite").code == 2
    assert shell.run("generate", "after", "--key", "after", *to(server)).code == 0
    for file in shell.library.glob("ledger.sqlite*"):
        file.unlink()
    shutil.copy(shell.folder / "copy.sqlite", shell.library / "ledger.sqlite")
    for key in ("after", "another"):
        stopped = shell.run("generate", "after", "--key", key, *to(server))
        assert (stopped.code, stopped.json["billed"]) == (5, "no")
        assert "paid generations that the ledger does not: after (" in stopped.json["error"]
    (listed,) = shell.run("rescue", "--list", "--json").json["stranded"]
    assert (listed["key"], "takes it into the ledger" in listed["next"]) == ("after", True)
    (rescued,) = shell.run("rescue", "--json", "--gateway", "cometapi", "--base-url", server.url).json[
        "rescued"
    ]
    assert (rescued["key"], rescued["error"], len(rescued["songs"])) == ("after", None, 1)
    assert shell.run("generate", "after", "--key", "after", *to(server)).code == 0
    assert posts(server) == 2


def test_rescue_works_where_the_ledger_is_lost(shell: Any, gateways: Any, to: Any, posts: Any) -> None:
    """Without the database there is still the spool."""
    server = gateways(takes=1)
    assert shell.run("generate", "a waltz", "--key", "K", *to(server)).code == 0
    for file in shell.library.glob("ledger.sqlite*"):
        file.unlink()
    run = shell.run("rescue", "--gateway", "cometapi", "--base-url", server.url)
    assert (run.code, "+ K ('a waltz'" in run.out) == (0, True)
    assert posts(server) == 1


def test_a_backup_is_one_committed_state_while_another_writes(tmp_path: Path) -> None:
    """What is not committed is not in it; the writer is not stopped, and no draft is left."""
    ledger, target = tmp_path / "ledger.sqlite", tmp_path / "copies" / "copy.sqlite"
    with closing(sqlite3.connect(ledger, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode=WAL")
        writer.execute("CREATE TABLE t (n)")
        writer.execute("INSERT INTO t VALUES (1)")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO t VALUES (2)")
        with pytest.raises(InputError, match="There is no folder"):
            backup_sqlite(ledger, target)
        target.parent.mkdir()
        assert backup_sqlite(ledger, target) == target.stat().st_size
        writer.execute("COMMIT")
    with closing(sqlite3.connect(target)) as copy:
        assert copy.execute("SELECT n FROM t").fetchall() == [(1,)]
    assert list(target.parent.iterdir()) == [target]


def test_a_ledger_in_postgresql_is_left_to_pg_dump(shell: Any) -> None:
    """The message has the command, and no password."""
    url = "postgresql://user:secret@127.0.0.1:1/songs"
    run = shell.run("backup", "copy", "--json", env={"SONGFLOW_LEDGER_URL": url})
    assert (run.code, "secret" in str(run.json)) == (2, False)
    assert "pg_dump --format=custom --file=copy postgresql://user@127.0.0.1:1/songs" in run.json["next"]
