"""Looking at a library that may only be read, and a store that turns read-only in the middle."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.disks import bound_read_only, mounted, read_only

from songflow.ledger.sqlite_file import ReadOnlyFile

SPEC = "prompt: a polka\nlyrics_type: instrumental\ngrid:\n  seed: [1, 2]\n"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    with mounted(tmp_path / "disk", "128m"):
        yield tmp_path / "disk"


def steady(answer: dict[str, Any]) -> dict[str, Any]:
    """A look's answer without what depends on the time of the look."""
    return {name: value for name, value in answer.items() if name not in ("per_hour", "eta_seconds")}


def test_looking_needs_no_right_to_write(disk: Path, shell: Any, gateways: Any, to: Any) -> None:
    """Every look answers as it did before, and pays for nothing; what would write ends with exit 2 and the reason."""
    server = gateways({"fault": "lost_answer"}, pool=2)
    library = ["--library", str(disk / "songs")]
    lost = shell.run("generate", "lost", "--key", "lost", *library, *to(server))
    assert lost.code == 5
    (shell.folder / "polka.yaml").write_text(SPEC)
    where = [*library, "--gateway", "cometapi", "--base-url", server.url, "--json"]
    assert shell.run("sweep", "run", "polka.yaml", *where).code == 0
    assert shell.run("measure", *library).code == 0
    song = shell.run("songs", *library, "--json").json["songs"][-1]["song_id"]
    looks = {
        "songs": ["songs", *library, "--json"],
        "tree": ["songs", "--tree", *library, "--json"],
        "rescue": ["rescue", "--list", *library, "--json"],
        "plan": ["sweep", "plan", "polka.yaml", *where],
        "status": ["sweep", "status", "polka.yaml", *where],
        "export": ["export", "--output", "exported", *library],
        "report": ["sweep", "report", "polka.yaml", "--output", "report.html", *library],
        "backup": ["backup", "copy.sqlite", *library],
    }
    before = {name: shell.run(*look) for name, look in looks.items()}
    assert {name: run.code for name, run in before.items()} == dict.fromkeys(looks, 0), before
    (shell.folder / "copy.sqlite").unlink()
    shutil.rmtree(shell.folder / "exported")
    billed = len(server.bill())
    with read_only(disk):
        for name, look in looks.items():
            run = shell.run(*look)
            assert run.code == 0, (name, run.err)
            if name not in ("export", "report", "backup"):
                assert steady(run.json) == steady(before[name].json), name
        for writing in (
            ["rate", song, "3"],
            ["measure"],
            ["pause"],
            ["generate", "x", *to(server)],
            ["rescue"],
        ):
            run = shell.run(*writing, *library)
            assert run.code == 2, run.err
            assert "cannot be written" in run.err
    assert json.loads(before["rescue"].out)["stranded"][0]["key"] == "lost"
    assert len(server.bill()) == billed


def turn_read_only(disk: Path, undo: ExitStack) -> None:
    undo.enter_context(read_only(disk))


def replace_by_a_file(disk: Path, undo: ExitStack) -> None:
    (disk / "audio").rename(disk / "elsewhere")
    (disk / "audio").write_text("no folder")
    undo.callback((disk / "elsewhere").rename, disk / "audio")
    undo.callback((disk / "audio").unlink)


@pytest.mark.parametrize("happens", [turn_read_only, replace_by_a_file])
def test_a_store_that_fails_after_the_post_leaves_a_paid_song_to_rescue(
    disk: Path, shell: Any, gateways: Any, to: Any, happens: Callable[[Path, ExitStack], None]
) -> None:
    """Exit 5: paid, not collected, listed by rescue; so is the key itself, and rescue collects it in the end."""
    server = gateways(pool=2, speed=30.0)
    store = {"SONGFLOW_AUDIO_URL": str(disk / "audio")}
    command = ["generate", "a waltz", "--key", "mine", *to(server)]
    process = shell.start(*command, env=store)
    while not server.bill():
        assert process.poll() is None
        time.sleep(0.05)
    with ExitStack() as undo:
        happens(disk, undo)
        run = shell.end(process)
        assert (run.code, run.json["billed"], run.json["state"]) == (5, "yes", "succeeded"), run.err
        assert "songflow rescue" in run.json["next"]
        listed = shell.run("rescue", "--list", "--json", env=store)
        assert [row["key"] for row in listed.json["stranded"]] == ["mine"], listed.err
        again = shell.run(*command, env=store)
        assert (again.code, again.json["billed"]) == (5, "yes"), again.err
        assert shell.run("rescue", "--json", env=store).code in (2, 5)
    rescued = shell.run("rescue", "--json", env=store)
    assert (rescued.code, len(rescued.json["rescued"][0]["songs"])) == (0, 2)
    assert len(server.bill()) == 1


@pytest.mark.parametrize("left", ["log and index", "log", "neither"])
def test_what_a_dead_process_left_in_the_log_is_read(disk: Path, left: str) -> None:
    """SQLite itself cannot make the log's index there."""
    file, at_work = disk / "left.sqlite", disk / "at-work.sqlite"
    writer = sqlite3.connect(at_work, isolation_level=None)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("CREATE TABLE songs (number)")
    writer.execute("INSERT INTO songs VALUES (1)")
    if left == "neither":
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for ending in {"log and index": ("", "-wal", "-shm"), "log": ("", "-wal"), "neither": ("",)}[left]:
        shutil.copy(f"{at_work}{ending}", f"{file}{ending}")
    writer.close()
    with read_only(disk):
        opened = ReadOnlyFile(file)
        for _ in range(2):
            reader = opened.connect()
            assert reader.execute("SELECT number FROM songs").fetchall() == [(1,)]
            reader.close()


def test_a_ledger_that_another_process_writes_is_read_meanwhile(disk: Path, tmp_path: Path) -> None:
    """By somebody who may not write it: here through a second, read-only mount of the same folder."""
    writer = sqlite3.connect(disk / "ledger.sqlite", isolation_level=None)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("CREATE TABLE songs (number)")
    with bound_read_only(disk, tmp_path / "seen"):
        opened = ReadOnlyFile(tmp_path / "seen" / "ledger.sqlite")
        for number in (1, 2):
            writer.execute(f"INSERT INTO songs VALUES ({number})")
            reader = opened.connect()
            assert reader.execute("SELECT count(*) FROM songs").fetchone() == (number,)
            reader.close()
    writer.close()
