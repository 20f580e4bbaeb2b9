"""Failures of `songflow generate`: exit codes, one JSON object, and costs."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FAILURE = {"error", "billed", "key", "generation_id", "state", "next"}
UNREACHABLE = ["--gateway", "cometapi", "--base-url", "http://127.0.0.1:1", "--json"]


def failed(run: Any, code: int, billed: str, state: str | None) -> dict[str, Any]:
    """The failure's object, and the same sentence on stderr."""
    assert run.code == code, run.err
    found: dict[str, Any] = run.json
    assert set(found) == FAILURE
    assert (found["billed"], found["state"]) == (billed, state)
    assert "songflow: " in run.err
    assert found["next"]
    return found


# --- 2: nothing was sent ---


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prompt-strength", "1.5"], "prompt_strength is 1.5: allowed is a number from 0 to 1"),
        (["--instrumental", "--lyrics", "la"], "lyrics is forbidden with lyrics_type instrumental"),
        (["--lyrics-file", "missing.txt"], "missing.txt cannot be read: No such file or directory"),
        (["--lyrics-file", "latin.txt"], "latin.txt cannot be read: it is not UTF-8 text"),
        (["--library", "latin.txt/below"], "cannot be written: "),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_input_is_refused_before_anything_is_sent(
    shell: Any, gateways: Any, to: Any, posts: Any, options: list[str], words: str
) -> None:
    """The object names what is wrong, and carries the key that was given."""
    (shell.folder / "latin.txt").write_bytes(b"\xe9t\xe9")
    server = gateways()
    run = shell.run("generate", "a waltz", "--key", "mine", *options, *to(server))
    assert words in failed(run, 2, "no", None)["error"]
    assert posts(server) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["generate", "--json"], "A prompt is required"),
        (["extend", "--json"], "requires an argument"),
        (["generate", "x", "--loudness", "3", "--json"], "Unknown option: --loudness"),
    ],
)
def test_arguments_that_cannot_be_parsed_are_bad_input(shell: Any, arguments: list[str], words: str) -> None:
    """With JSON, although nothing was parsed; no library is created."""
    assert words in failed(shell.run(*arguments), 2, "no", None)["error"]
    assert not shell.library.exists()


def test_a_real_gateway_needs_a_key(shell: Any) -> None:
    """The message names the variable."""
    none = {"COMETAPI_KEY": None, "OPENAI_HK_KEY": None}
    found = failed(shell.run("generate", "x", "--gateway", "openai-hk", "--json", env=none), 2, "no", None)
    assert "There is no key for openai-hk" in found["error"]
    assert "OPENAI_HK_KEY" in found["next"]


def test_a_missing_block_is_bad_input(shell: Any) -> None:
    """Without a key nothing is sent."""
    run = shell.run("generate", "x", "--credentials", "cometapi-credentials/nope", "--key", "mine", "--json")
    found = failed(run, 2, "no", None)
    assert "nope" in found["error"]


def test_a_ledger_of_a_newer_songflow_is_not_touched(shell: Any, gateways: Any, to: Any, posts: Any) -> None:
    """Its schema may differ."""
    server = gateways(takes=1)
    assert shell.run("generate", "a waltz", *to(server)).code == 0
    with sqlite3.connect(shell.library / "ledger.sqlite") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    found = failed(shell.run("generate", "a waltz", "--key", "k", *to(server)), 2, "no", None)
    assert "has schema 9999" in found["error"]
    assert posts(server) == 1


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system can only be mounted as root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_noticed_before_the_post(
    shell: Any, gateways: Any, to: Any, posts: Any, full_disk: Path
) -> None:
    """A paid song needs space."""
    server = gateways()
    run = shell.run("generate", "a waltz", "--library", str(full_disk / "songs"), *to(server))
    assert "is full: 7 MiB are free, 64 MiB are needed" in failed(run, 2, "no", None)["error"]
    assert posts(server) == 0


# --- 3: refused or not sent ---


def test_a_wrong_key_and_one_without_credit_are_refusals(shell: Any, gateways: Any, to: Any) -> None:
    """Not billed, and not repeated."""
    wrong = shell.run("generate", "x", *to(gateways(accept_keys=frozenset({"another"}))))
    assert "refused the request (credentials, HTTP 401)" in failed(wrong, 3, "no", "refused")["error"]
    spent = shell.run("generate", "x", *to(gateways(spent_keys=frozenset({shell.key})), "openai-hk"))
    found = failed(spent, 3, "no", "refused")
    assert "refused the request (no_credit, HTTP 403)" in found["error"]
    assert found["next"] == "top up the account at the gateway."


def test_nothing_is_sent_to_an_unreachable_gateway(shell: Any) -> None:
    """Retried as often as requested, then reported."""
    run = shell.run("generate", "x", "--retries", "1", *UNREACHABLE)
    assert "was not reached" in failed(run, 3, "no", "unsent")["error"]
    assert run.err.count("Trying again in") == 1


def test_a_saturated_gateway_is_asked_five_times(shell: Any, gateways: Any, to: Any, posts: Any) -> None:
    """Once and four more times by default; then it is a refusal."""
    server = gateways({"fault": "status", "on": "submit", "status": 429, "times": None})
    run = shell.run("generate", "x", "--key", "mine", *to(server))
    assert failed(run, 3, "no", "refused")["key"] == "mine"
    assert posts(server) == 5
    assert server.bill() == []


def test_a_temporary_refusal_is_retried(shell: Any, gateways: Any, to: Any, posts: Any) -> None:
    """429 once, then songs; `--retries 0` does not wait for that."""
    fault = {"fault": "status", "on": "submit", "status": 429}
    server = gateways(fault, takes=1)
    assert shell.run("generate", "x", *to(server)).code == 0
    assert (posts(server), len(server.bill())) == (2, 1)
    other = gateways(fault)
    failed(shell.run("generate", "y", "--retries", "0", *to(other)), 3, "no", "refused")
    assert posts(other) == 1


# --- 4: the gateway took it and failed --------------------------------------------------------------------------


def test_a_moderated_prompt_is_a_failed_generation(shell: Any, gateways: Any, to: Any, posts: Any) -> None:
    """With its id; the same key reports it again, and only `--retry-errors` pays for another attempt."""
    server = gateways({"fault": "moderated"}, takes=1)
    found = failed(shell.run("generate", "x", "--key", "mine", *to(server)), 4, "maybe", "failed")
    assert found["generation_id"] == server.bill()[0].generation_id
    assert "moderation" in found["error"]
    again = failed(shell.run("generate", "x", "--key", "mine", *to(server)), 4, "maybe", "failed")
    assert again["generation_id"] == found["generation_id"]
    assert posts(server) == 1
    assert shell.run("generate", "x", "--key", "mine", "--retry-errors", *to(server)).code == 0
    assert len(server.bill()) == 2


# --- 5: still running, or unknown -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [{"fault": "lost_answer"}, {"fault": "status", "on": "submit", "status": 502}],
    ids=["lost", "502"],
)
def test_an_unknown_outcome_is_never_sent_again(
    shell: Any, gateways: Any, to: Any, posts: Any, fault: dict[str, Any]
) -> None:
    """Not by retries, the same key or the same body; only by an explicit decision."""
    server = gateways(fault, takes=1)
    run = shell.run("generate", "x", "--key", "mine", "--retries", "7", *to(server))
    found = failed(run, 5, "maybe", "unknown")
    assert (found["key"], found["generation_id"]) == ("mine", None)
    assert "rescue" in found["next"]
    failed(shell.run("generate", "x", "--key", "mine", *to(server)), 5, "maybe", "unknown")
    twin = failed(shell.run("generate", "x", "--key", "other", *to(server)), 5, "maybe", "unknown")
    assert twin["key"] == "mine"
    assert "--if-unsettled new" in twin["next"]
    assert posts(server) == 1
    new = shell.run("generate", "x", "--key", "other", "--if-unsettled", "new", *to(server))
    assert (new.code, new.json["key"]) == (0, "other")
    assert posts(server) == 2


def test_a_deadline_leaves_a_generation_to_be_collected(
    shell: Any, gateways: Any, to: Any, heal: Any
) -> None:
    """Exit 5 with its id and key; the same key returns the songs, and it is billed once."""
    server = gateways({"fault": "unknown_for_ever", "times": None}, takes=1)
    found = failed(shell.run("generate", "x", "--deadline", "0.3", *to(server)), 5, "yes", "overdue")
    assert found["generation_id"] == server.bill()[0].generation_id
    assert f"--key {found['key']}" in found["next"]
    assert "rescue" in found["next"]
    heal(server)
    again = shell.run("generate", "x", "--key", found["key"], *to(server))
    assert (again.code, again.json["generation_id"]) == (0, found["generation_id"])
    assert len(server.bill()) == 1


def test_songs_that_cannot_be_stored_are_paid_for_and_wait(
    shell: Any, gateways: Any, to: Any, heal: Any
) -> None:
    """Exit 5, not a success without songs."""
    server = gateways({"fault": "dead", "times": None})
    found = failed(shell.run("generate", "x", *to(server)), 5, "yes", "succeeded")
    assert "its host answered 404" in found["error"]
    heal(server)
    again = shell.run("generate", "x", "--key", found["key"], *to(server))
    assert again.code == 0
    assert len(server.bill()) == 1


def test_ctrl_c_while_waiting_detaches(shell: Any, gateways: Any, to: Any, heal: Any) -> None:
    """The message says that the generation continues and how to resume; resuming costs nothing."""
    server = gateways({"fault": "unknown_for_ever", "times": None}, takes=1)
    run = shell.interrupt(shell.start("generate", "x", *to(server)), when="Accepted as generation")
    assert run.code == 5, run.err
    found = run.json
    assert set(found) == FAILURE
    assert (found["billed"], found["generation_id"]) == ("yes", server.bill()[0].generation_id)
    assert found["state"] in {"accepted", "running"}
    assert f"key: {found['key']}" in run.err
    assert f"--key {found['key']}" in found["next"]
    heal(server)
    again = shell.run("generate", "x", "--key", found["key"], *to(server))
    assert (again.code, again.json["generation_id"]) == (0, found["generation_id"])
    assert len(server.bill()) == 1


def test_ctrl_c_between_two_attempts_ends_without_a_bill(
    shell: Any, gateways: Any, to: Any, posts: Any
) -> None:
    """The gateway had refused the first, so nothing is billed."""
    server = gateways({"fault": "status", "on": "submit", "status": 429, "retry_after": 30, "times": None})
    run = shell.interrupt(shell.start("generate", "x", *to(server)), when="Trying again in")
    assert run.code == 3, run.err
    assert (run.json["billed"], posts(server)) == ("no", 1)


def test_ctrl_c_before_anything_is_sent_says_so(shell: Any, gateways: Any, to: Any, posts: Any) -> None:
    """Here while it reads the lyrics; no traceback at any moment."""
    server, pipe = gateways(), shell.folder / "words"
    os.mkfifo(pipe)
    process = shell.start("generate", "x", "--lyrics-file", str(pipe), *to(server))
    opened: list[Any] = []
    writer = threading.Thread(target=lambda: opened.append(pipe.open("w")), daemon=True)
    writer.start()
    writer.join(60)
    process.send_signal(signal.SIGINT)
    run = shell.end(process)
    opened[0].close()
    found = failed(run, 3, "no", None)
    assert found["error"] == "Interrupted; nothing was sent."
    assert posts(server) == 0


def test_a_killed_command_is_resumed_by_its_key(shell: Any, gateways: Any, to: Any, heal: Any) -> None:
    """After SIGKILL the lease is invalid at once: a new key is stopped, the old one collects."""
    server = gateways({"fault": "unknown_for_ever", "times": None}, takes=1)
    process = shell.start("generate", "x", "--key", "mine", *to(server))
    assert process.stderr is not None
    while b"Accepted" not in process.stderr.readline():
        pass
    process.kill()
    process.communicate()
    twin = shell.run("generate", "x", *to(server))
    assert (twin.code, twin.json["key"]) == (5, "mine")
    heal(server)
    assert shell.run("generate", "x", "--key", "mine", *to(server)).code == 0
    assert len(server.bill()) == 1
