"""Standard streams that are closed or full: a command does what it does, and says in one line what it could not say."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

CLOSED, FULL = "closed", "full"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /dev/full")


@pytest.fixture
def run(shell: Any) -> Any:
    """Run a command with some of its descriptors closed or full; returns its code, stdout and stderr."""

    def start(*arguments: str, **streams: list[int]) -> Any:
        process = shell.forks.start(arguments, shell.folder, shell.environment(), **streams)
        shell.running.append(process)
        return shell.end(process)

    return start


@pytest.mark.parametrize("how", [CLOSED, FULL])
def test_what_is_paid_for_decides_the_exit_code(
    run: Any, shell: Any, gateways: Any, to: Any, how: str
) -> None:
    """0 for a stored song, 5 for one that still runs, 2 for a bad request: with or without JSON, whoever reads it."""
    server = gateways(pool=2)
    where = to(server)
    for number, options in enumerate((where, where[:-1])):  # with --json, and without
        ended = run("generate", "a waltz", "--key", f"key{number}", *options, **{how: [1]})
        assert ended.code == 0, ended.err
        [line] = [line for line in ended.err.splitlines() if "could not be written to stdout" in line]
        assert ("it is closed" in line) == (how == CLOSED)
        assert "Exception ignored" not in ended.err
    late = run("generate", "a late one", "--deadline", "0", *to(gateways(speed=1.0)), **{how: [1]})
    assert late.code == 5, late.err
    bad = run("generate", "", *where, **{how: [1]})
    assert (bad.code, len(server.bill())) == (2, 2)
    songs = shell.run("songs", "--json").json["songs"]
    assert sum(song["path"] is not None for song in songs) == 4


@pytest.mark.parametrize("how", [CLOSED, FULL])
def test_a_look_that_nobody_can_see_has_failed(run: Any, how: str) -> None:
    """Exit 1 with one line: a table, help, the version, an overview, JSON and an error."""
    for command in (
        ["songs"],
        ["songs", "--format", "csv"],
        ["--help"],
        ["--version"],
        ["song", "--list", "--json"],
    ):
        ended = run(*command, **{how: [1]})
        assert (ended.code, ended.out) == (1, ""), (command, ended.err)
        assert ended.err.count("songflow: The answer could not be written to stdout") == 1, ended.err
    ended = run("rate", "nothing", "3", "--json", **{how: [1]})
    assert ended.code == 2
    assert ended.err.count("songflow: ") == 2


@pytest.mark.parametrize("streams", [{"closed": [2]}, {"full": [2]}, {"closed": [0, 2]}, {"closed": [0]}])
def test_the_answer_needs_no_other_stream(
    run: Any, gateways: Any, to: Any, streams: dict[str, list[int]]
) -> None:
    """What would be on stderr is dropped; stdout has its one object."""
    server = gateways(pool=2)
    ended = run("generate", "a waltz", *to(server), **streams)
    assert ended.code == 0
    assert len(json.loads(ended.out)["songs"]) == 2
    asked = run("generate", "x", "--lyrics-file", "-", *to(server), **streams)
    assert (asked.code, json.loads(asked.out)["billed"]) == (2, "no")


def test_without_any_stream_a_command_still_does_its_work(
    run: Any, shell: Any, gateways: Any, to: Any
) -> None:
    """No file of its own gets the number of a closed descriptor: the ledger stays whole."""
    server = gateways(pool=2)
    for streams in ({"closed": [0, 1, 2]}, {"closed": [0], "full": [1, 2]}):
        ended = run("generate", "a waltz", *to(server), **streams)
        assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert len(shell.run("songs", "--json").json["songs"]) == 4
    assert len(server.bill()) == 2
