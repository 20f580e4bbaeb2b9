"""`songflow sweep` in real processes: it does what it plans, and never pays twice, however it ended."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

SPEC = """\
prompt: a slow waltz
lyrics_type: instrumental
grid:
  seed: {from: 1, to: %d}
  model_type: [udio32-v1.5, udio130-v1.5]
"""


@pytest.fixture
def spec(shell):
    """Write a spec with two cells for each seed."""

    def write(seeds: int, text: str = SPEC) -> str:
        path = shell.folder / "waltz.yaml"
        path.write_text(text % seeds if "%d" in text else text)
        return str(path)

    return write


@pytest.fixture
def where(to):
    """The options of a gateway that plan and status have as well."""

    def options(server) -> list[str]:
        return ["--gateway", "cometapi", "--base-url", server.url, "--json"]

    return options


def test_a_run_does_what_the_plan_predicts(shell, gateways, spec, where, to):
    """Price and POSTs: for new cells, for some existing and for all existing."""
    server, path = gateways(pool=2), spec(2)
    plan = shell.run("sweep", "plan", path, *where(server)).json
    assert (plan["cells"], plan["posts"], plan["price"], plan["existing"]) == (4, 4, 6.0, 0)
    assert plan["seconds"] == 54.0
    assert not shell.library.exists()
    done = shell.run("sweep", "run", path, *to(server))
    assert (done.code, done.json["posts"], done.json["price"]) == (0, plan["posts"], plan["price"])
    assert (done.json["stored"], done.json["songs"], done.json["failures"]) == (4, 8, [])
    more = shell.run("sweep", "plan", spec(3), *where(server)).json
    assert (more["posts"], more["price"], more["existing"]) == (2, 3.0, 4)
    done = shell.run("sweep", "run", path, *to(server)).json
    assert (done["posts"], done["price"], done["existing"]) == (2, 3.0, 4)
    status = shell.run("sweep", "status", path, *where(server)).json
    assert (status["stored"], status["songs"], status["spent"], status["left"]) == (6, 12, 9.0, 0)
    assert len(server.bill()) == 6


def quiet(shell) -> bool:
    """True if no POST is in flight: the ledger has the answer of each."""
    with closing(sqlite3.connect(f"file:{shell.library / 'ledger.sqlite'}?mode=ro", uri=True)) as ledger:
        under_way = "SELECT count(*) FROM submissions WHERE state IN ('intended', 'sending')"
        return ledger.execute(under_way).fetchone() == (0,)


def stopped_while_quiet(shell, process) -> bool:
    """Stop the process while no POST is in flight; otherwise let it continue."""
    process.send_signal(signal.SIGSTOP)
    while Path(f"/proc/{process.pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"T":
        time.sleep(0.005)
    if quiet(shell):
        return True
    process.send_signal(signal.SIGCONT)
    return False


def test_killed_in_the_middle_and_run_again_each_cell_is_paid_once(shell, gateways, spec, to, posts):
    """SIGKILL while generations are running: there is one POST for each cell in total."""
    server, path = gateways(pool=2, speed=50.0), spec(20)
    for billed in (10, 30):
        process = shell.start("sweep", "run", path, *to(server))
        while len(server.bill()) < billed or not stopped_while_quiet(shell, process):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    ended = shell.run("sweep", "run", path, *to(server))
    assert (ended.code, ended.json["stored"] + ended.json["existing"]) == (0, 40), ended.err
    bodies = {json.dumps(one.body, sort_keys=True) for one in server.bill()}
    assert len(bodies) == len(server.bill()) == posts(server) == 40


def test_killed_during_posts_unknown_cells_are_reported_and_not_paid_again(shell, gateways, spec, to, posts):
    """A cell whose POST was cut off is unknown; all others are stored, and none is billed or sent twice."""
    server, path = gateways(pool=2), spec(10)
    process = shell.start("sweep", "run", path, *to(server))
    while len(server.bill()) < 7:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    ended = shell.run("sweep", "run", path, *to(server)).json
    assert ended["stored"] + ended["existing"] == 20 - ended["unsettled"]
    assert {failure["state"] for failure in ended["failures"]} <= {"unknown"}
    bodies = {json.dumps(one.body, sort_keys=True) for one in server.bill()}
    # A POST that was cut off before its body had left is none on the bill.
    whole = posts(server) - server.gateway.traffic.post_answers["cut_off"]
    assert 20 - ended["unsettled"] <= len(bodies) == len(server.bill()) == whole <= posts(server) <= 20


def test_an_interrupted_sweep_detaches_and_says_how_to_resume(shell, gateways, spec, to):
    server, path = gateways(speed=20.0, pool=2), spec(2)
    process = shell.start("sweep", "run", path, *to(server))
    while len(server.bill()) < 4:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    ended = shell.end(process)
    assert ended.code == 5
    assert "4 cells continue at the gateway and are billed" in ended.json["error"]
    assert "run the same command again" in ended.json["next"]
    again = shell.run("sweep", "run", path, *to(server))
    assert (again.code, again.json["stored"], again.json["posts"]) == (0, 4, 0)


def test_a_bad_spec_lists_every_fault_with_its_line_and_sends_nothing(shell, gateways, spec, to, posts):
    server = gateways()
    path = spec(0, "prompt: a\nseed: -2\ngrid:\n  tempo: [1]\n  prompt_strength: [0.5, 7]\n")
    for command in ("run", "plan", "status"):
        options = to(server) if command == "run" else [*to(server)[:4], "--json"]
        run = shell.run("sweep", command, path, *options)
        assert run.code == 2
        for words in (
            "line 2: seed is -2",
            "line 4: grid.tempo is not known here",
            "line 5: grid.prompt_strength.1 is 7",
        ):
            assert words in run.json["error"]
    assert posts(server) == 0


def test_over_budget_it_exits_6_with_the_songs_made(shell, gateways, spec, to):
    server = gateways(pool=2)
    run = shell.run("sweep", "run", spec(3), *to(server), "--budget", "4.5", "--concurrency", "1")
    assert (run.code, run.json["price"], run.json["stored"], run.json["not_started"]) == (6, 4.0, 2, 4)
    assert "budget of 4.5 units is used up" in run.json["stopped"]


def test_without_json_it_prints_tables_and_sentences(shell, gateways, spec, where, to):
    server, path = gateways(pool=2), spec(12)
    plan = shell.run("sweep", "plan", path, *where(server)[:-1])
    assert "... and 4 more." in plan.out
    assert "waltz: 24 cells (24 pay)." in plan.out
    assert "24 requests for 36 units, about 2 min with 10 at once" in plan.out
    run = shell.run("sweep", "run", path, *to(server)[:-1])
    assert "waltz: 24 cells: 24 stored; 24 requests for 36 units, 48 songs. It took" in run.out
    assert "Sending the request" not in run.err
    status = shell.run("sweep", "status", path, *where(server)[:-1])
    assert "waltz: 24 of 24 cells stored (48 songs), 0 running" in status.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--concurrency", "0"], "--concurrency is 0: allowed are 1 to 500"),
        (["--max-failures", "0"], "--max-failures is 0"),
        (["--retries", "101"], "--retries is 101"),
        (["--budget", "-1"], "--budget is -1"),
        (["--fallback", "suno"], "no gateway 'suno'"),
        (["--poll-interval", "0"], "--poll-interval is 0"),
        (["--credentials", "x", "--gateway", "cometapi"], "--credentials names the gateway"),
    ],
    ids=str,
)
def test_wrong_options_are_refused_before_anything_is_sent(shell, spec, options, words):
    run = shell.run("sweep", "run", spec(1), *options, "--json")
    assert run.code == 2
    assert words in run.json["error"]
    assert not shell.library.exists()


def test_a_missing_spec_is_reported(shell):
    run = shell.run("sweep", "plan", str(Path("none.yaml")), "--json")
    assert (run.code, run.json["error"]) == (2, "none.yaml cannot be read: No such file or directory.")
