"""`songflow rescue` in real processes: it collects paid songs, and pays again only on request."""

from __future__ import annotations

import json
import os
import pty
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

ROW = {
    *("key", "submission", "generation_id", "gateway", "base_url", "account", "state", "billed", "price"),
    *("asked_at", "songs", "error", "next", "exit_code", "prompt", "not_stored", "answer"),
}
LOST = {"fault": "lost_answer"}


def rescue(shell: Any, *options: str, **kwargs: Any) -> Any:
    """`songflow rescue --json`."""
    return shell.run("rescue", "--poll-interval", "0.1", "--json", *options, **kwargs)


def lose(shell: Any, server: Any, to: Any, key: str = "mine", prompt: str = "a lost waltz") -> None:
    """A request whose answer is lost."""
    assert shell.run("generate", prompt, "--key", key, "--if-unsettled", "new", *to(server)).code == 5


def stored(row: dict[str, Any]) -> bool:
    """Every take of a row is a file."""
    return bool(row["songs"]) and all(Path(song["path"]).is_file() for song in row["songs"])


# --- nothing to do ---


def test_without_a_library_nothing_is_stranded_and_none_is_created(shell: Any) -> None:
    """Exit 0 for collecting and listing; options that name a key are bad input."""
    assert (rescue(shell).code, rescue(shell).json) == (0, {"rescued": []})
    assert rescue(shell, "--list").json == {"rescued": [], "stranded": []}
    for options in (["--adopt", "an-id"], ["--write-off", "k"], ["--resubmit", "k", "--yes"]):
        assert rescue(shell, *options).code == 2
    assert not shell.library.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--list", "--adopt", "x"], "--list and --adopt were given together"),
        (["--key", "k"], "--key belongs to --adopt"),
        (["--yes"], "--yes belongs to --resubmit"),
        (["--deadline", "-1"], "--deadline is -1"),
    ],
)
def test_options_that_contradict_each_other_are_bad_input(shell: Any, options: list[str], words: str) -> None:
    """Exit 2 before the library is opened."""
    run = rescue(shell, *options)
    assert run.code == 2
    assert words in run.json["error"]
    assert not shell.library.exists()


# --- collecting ---


@pytest.mark.parametrize("gateway", ["cometapi", "openai-hk"])
def test_a_generation_past_its_deadline_is_collected_once(
    shell: Any, gateways: Any, to: Any, heal: Any, gateway: str
) -> None:
    """Exit 5 while it is running, 0 with the songs later, and nothing left the next time; billed once."""
    server = gateways({"fault": "unknown_for_ever", "times": None})
    left = shell.run("generate", "a late waltz", "--deadline", "0.2", *to(server, gateway))
    assert left.code == 5
    early = rescue(shell)
    assert early.code == 5
    [row] = early.json["rescued"]
    assert (row["state"], row["billed"], row["songs"]) == ("overdue", "yes", [])
    assert row["next"]
    heal(server)
    run = rescue(shell)
    assert run.code == 0, run.err
    [row] = run.json["rescued"]
    assert set(row) == ROW
    assert (row["key"], row["gateway"]) == (left.json["key"], gateway)
    assert (row["prompt"], row["error"], row["not_stored"]) == ("a late waltz", None, [])
    assert stored(row)
    again = rescue(shell)
    assert (again.code, again.json) == (0, {"rescued": []})
    assert len(server.bill()) == 1


def test_ctrl_c_while_it_waits_says_that_songs_may_have_been_paid_for(
    shell: Any, gateways: Any, to: Any
) -> None:
    """And how to come back."""
    server = gateways({"fault": "unknown_for_ever", "times": None}, takes=1)
    assert shell.run("generate", "x", "--deadline", "0", *to(server)).code == 5
    process = shell.start("rescue", "--poll-interval", "0.1", "--deadline", "600", "--json")
    asked = httpx.get(f"{server.url}/_simulator/requests").json()["fetches"]["seen"]
    while httpx.get(f"{server.url}/_simulator/requests").json()["fetches"]["seen"] == asked:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    run = shell.end(process)
    assert (run.code, run.json["billed"]) == (5, "maybe")
    assert "songflow rescue" in run.json["next"]


def test_rescue_waits_for_a_given_deadline(shell: Any, gateways: Any, to: Any) -> None:
    """A generation that takes two more seconds is collected by one rescue."""
    server = gateways(speed=20.0, takes=1)
    assert shell.run("generate", "x", "--deadline", "0", *to(server)).code == 5
    run = rescue(shell, "--deadline", "60")
    assert run.code == 0, run.err
    assert stored(run.json["rescued"][0])


def test_a_killed_command_is_collected_by_rescue(shell: Any, gateways: Any, to: Any, heal: Any) -> None:
    """The dead process is noticed at once on this machine; the output is text."""
    server = gateways({"fault": "unknown_for_ever", "times": None}, takes=1)
    process = shell.start("generate", "a killed waltz", "--key", "mine", *to(server))
    assert process.stderr is not None
    while b"Accepted" not in process.stderr.readline():
        pass
    process.kill()
    process.communicate()
    heal(server)
    run = shell.run("rescue", "--deadline", "60")
    assert run.code == 0, run.out
    assert "+ mine ('a killed waltz', cometapi, generation " in run.out
    assert ".mp3" in run.out
    assert shell.run("rescue").out.startswith("Nothing is stranded")
    assert len(server.bill()) == 1


def test_a_failure_found_by_rescue_is_exit_4_once(shell: Any, gateways: Any, to: Any) -> None:
    """Afterwards it is settled, not stranded."""
    server = gateways({"fault": "failure", "fail_reason": "out of tune"}, speed=20.0)
    assert shell.run("generate", "x", "--deadline", "0", *to(server)).code == 5
    run = rescue(shell, "--deadline", "60")
    assert run.code == 4
    assert "out of tune" in run.json["rescued"][0]["error"]
    assert rescue(shell).json == {"rescued": []}


def test_the_exit_code_is_the_worst_of_several(shell: Any, gateways: Any, to: Any, heal: Any) -> None:
    """One collected, one unknown: 5, and the collected one is on disk."""
    server = gateways({"fault": "unknown_for_ever", "times": None})
    assert shell.run("generate", "one", "--key", "late", "--deadline", "0.2", *to(server)).code == 5
    other = gateways(LOST)
    lose(shell, other, to)
    heal(server)
    run = rescue(shell)
    assert run.code == 5
    states = {row["key"]: row["state"] for row in run.json["rescued"]}
    assert states == {"late": "succeeded", "mine": "unknown"}
    assert [len(one.bill()) for one in (server, other)] == [1, 1]


def test_a_missing_gateway_key_is_named_and_a_given_one_is_used(
    shell: Any, gateways: Any, to: Any, heal: Any
) -> None:
    """Exit 5: the generation stays stranded; the gateway's options give another key for it."""
    server = gateways({"fault": "unknown_for_ever", "times": None})
    assert shell.run("generate", "x", "--deadline", "0.2", *to(server)).code == 5
    heal(server)
    none = {"COMETAPI_KEY": None}
    without = rescue(shell, env=none)
    assert without.code == 5
    assert "no key for its account 'env:COMETAPI_KEY'" in without.json["rescued"][0]["error"]
    given = ["--gateway", "cometapi", "--base-url", server.url]
    run = rescue(shell, *given, env={**none, "SONGFLOW_API_KEY": shell.key})
    assert run.code == 0, run.err


# --- listing ---


def test_listing_sends_nothing_and_changes_nothing(shell: Any, gateways: Any, to: Any) -> None:
    """All that is known, exit 0, and the same again; no GET is sent, and Prefect is not imported."""
    server = gateways({"fault": "dead", "times": None}, LOST | {"skip": 1})
    assert shell.run("generate", "a dead one", "--key", "dead", *to(server)).code == 5
    lose(shell, server, to)
    fetched = server.gateway.traffic.fetches
    run = rescue(shell, "--list")
    assert (run.code, run.json["rescued"]) == (0, [])
    dead, lost = run.json["stranded"]
    assert set(dead) == set(lost) == ROW
    assert (dead["key"], dead["state"], dead["billed"], dead["price"]) == ("dead", "succeeded", "yes", 1.0)
    assert (dead["gateway"], dead["base_url"], dead["account"]) == (
        "cometapi",
        server.url,
        "env:COMETAPI_KEY",
    )
    assert dead["generation_id"] == server.bill()[0].generation_id
    assert all("404" in song["error"] for song in dead["not_stored"])
    assert (lost["prompt"], lost["generation_id"], lost["billed"]) == ("a lost waltz", None, "maybe")
    assert "adopt" in lost["next"]
    assert rescue(shell, "--list").json == run.json
    assert server.gateway.traffic.fetches == fetched
    people = shell.run("rescue", "--list")
    assert people.code == 0
    for word in (
        "dead: succeeded (billed: yes), price 1 unit",
        "'a lost waltz'",
        "account env:COMETAPI_KEY",
        "404",
    ):
        assert word in people.out


def test_the_answer_to_an_unknown_request_is_listed_with_the_ids_in_it(
    shell: Any, gateways: Any, to: Any
) -> None:
    """For people as a command to copy; what could steer a terminal is left out."""
    odd = {"code": 0, "message": "\x1b[31mred\x07", "data": {"taskId": "a b'c"}, "id": 77}
    server = gateways({"fault": "status", "on": "submit", "status": 200, "billed": True, "body": odd})
    assert shell.run("generate", "an odd one", "--key", "odd", *to(server)).code == 5
    (row,) = rescue(shell, "--list").json["stranded"]
    assert (row["state"], row["answer"]["status"], row["answer"]["raw"]) == ("unknown", 200, None)
    assert row["answer"]["candidate_ids"] == ["77"]
    assert json.loads(row["answer"]["body"]) == odd
    people = shell.run("rescue", "--list").out
    assert 'answered HTTP 200: {"code":0,"message":"' in people
    assert "songflow rescue --adopt 77`" in people
    assert "\x1b" not in people
    (found,) = rescue(shell).json["rescued"]
    assert found["answer"] == row["answer"]


def test_neither_listing_nor_collecting_loads_prefect(shell: Any, gateways: Any, to: Any) -> None:
    """It takes over a second, and is needed only for keys in blocks."""
    lose(shell, gateways(LOST), to)
    for options in (["--list"], []):
        run = shell.run("rescue", *options, env={"PYTHONPROFILEIMPORTTIME": "1"})
        assert "songflow.generation.rescue" in run.err
        assert " prefect." not in run.err


# --- a person's word ---


def test_an_id_from_the_gateways_log_is_adopted_and_collected(shell: Any, gateways: Any, to: Any) -> None:
    """By the prompt if only one fits; it is billed once, and the key returns the songs from then on."""
    server = gateways(LOST)
    lose(shell, server, to)
    made = server.bill()[0].generation_id
    assert rescue(shell, "--adopt", "no-such-id").code == 2
    run = rescue(shell, "--adopt", made, "--deadline", "60")
    assert run.code == 0, run.err
    [row] = run.json["rescued"]
    assert (row["key"], row["generation_id"], row["state"]) == ("mine", made, "succeeded")
    assert stored(row)
    assert rescue(shell, "--adopt", made).code == 2
    assert shell.run("generate", "a lost waltz", "--key", "mine", *to(server)).code == 0
    assert len(server.bill()) == 1


def test_an_id_with_several_possible_requests_needs_a_key(shell: Any, gateways: Any, to: Any) -> None:
    """Exit 2 names both; `--key` decides."""
    server = gateways(LOST | {"times": 2})
    lose(shell, server, to, "one")
    lose(shell, server, to, "two")
    made = server.bill()[1].generation_id
    unclear = rescue(shell, "--adopt", made)
    assert unclear.code == 2
    assert "fits several open requests" in unclear.json["error"]
    run = rescue(shell, "--adopt", made, "--key", "two", "--deadline", "60")
    assert (run.code, run.json["rescued"][0]["key"]) == (0, "two")
    assert [row["key"] for row in rescue(shell, "--list").json["stranded"]] == ["one"]
    assert len(server.bill()) == 2


def test_a_write_off_ends_the_search_and_frees_the_money(shell: Any, gateways: Any, to: Any) -> None:
    """Its reservation is released, it is no longer listed, and a new run of the same request may pay."""
    server = gateways(LOST, takes=1)
    lose(shell, server, to, "mine-waltz")
    assert shell.run("songs", "--cost", "--json").json["cost"]["reserved"] == 1
    run = rescue(shell, "--write-off", "mine-")
    assert (run.code, run.json["written_off"]) == (0, "mine-waltz")
    assert run.json["rescued"][0]["state"] == "unknown"
    assert rescue(shell, "--write-off", "mine-waltz").code == 2
    assert rescue(shell, "--list").json["stranded"] == []
    assert shell.run("songs", "--cost", "--json").json["cost"]["reserved"] == 0
    assert shell.run("generate", "a lost waltz", *to(server)).code == 0


def test_paying_again_needs_confirmation(shell: Any, gateways: Any, to: Any, posts: Any) -> None:
    """Without a terminal and `--yes` it is bad input that names the price; with it, a second payment."""
    server = gateways(LOST)
    lose(shell, server, to, "mine-waltz")
    asked = rescue(shell, "--resubmit", "mine-")
    assert asked.code == 2
    assert "may cost 1 unit a second time. Nothing was sent." in asked.json["error"]
    assert (asked.json["key"], posts(server)) == ("mine-waltz", 1)
    run = rescue(shell, "--resubmit", "mine-w", "--yes")
    assert run.code == 0, run.err
    [row] = run.json["rescued"]
    assert (row["key"], row["submission"], row["exit_code"]) == ("mine-waltz", 2, 0)
    assert stored(row)
    assert run.json["songs"] == row["songs"]
    assert len(server.bill()) == 2
    for key, words in (("mine-waltz", "nothing to pay again"), ("nobody", "does not know the key")):
        other = rescue(shell, "--resubmit", key, "--yes")
        assert other.code == 2
        assert words in other.json["error"]
    assert len(server.bill()) == 2


@pytest.mark.parametrize(("answer", "code", "bill"), [("n\n", 3, 1), ("y\n", 0, 2)])
def test_on_a_terminal_it_asks(shell: Any, gateways: Any, to: Any, answer: str, code: int, bill: int) -> None:
    """No is the default, and ends with "nothing was sent"."""
    server = gateways(LOST, takes=1)
    lose(shell, server, to)
    ours, theirs = pty.openpty()
    process = shell.forks.start(
        ("rescue", "--resubmit", "mine", "--poll-interval", "0.1", "--json"),
        shell.folder,
        shell.environment(),
        given={0: theirs, 2: theirs},
    )
    shell.running.append(process)
    os.close(theirs)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(ours, 1000)
    os.write(ours, answer.encode())
    assert process.stdout is not None
    found = json.loads(process.stdout.read())
    assert process.wait(60) == code
    os.close(ours)
    assert ("nothing was sent" in found.get("error", "")) == (code == 3)
    assert len(server.bill()) == bill


def test_ctrl_c_while_waiting_for_the_second_payment_detaches(
    shell: Any, gateways: Any, to: Any, heal: Any
) -> None:
    """As `generate` does; a rescue collects it."""
    server = gateways(LOST, {"fault": "unknown_for_ever", "times": None}, takes=1)
    lose(shell, server, to)
    process = shell.start("rescue", "--resubmit", "mine", "--yes", "--json", "--poll-interval", "0.1")
    run = shell.interrupt(process, when="Accepted as generation")
    assert (run.code, run.json["key"], run.json["billed"]) == (5, "mine", "yes")
    heal(server)
    rows = rescue(shell, "--deadline", "60").json["rescued"]
    assert {row["submission"]: row["state"] for row in rows} == {1: "unknown", 2: "succeeded"}
    assert len(server.bill()) == 2
