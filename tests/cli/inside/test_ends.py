"""How commands end: in an error of ours, by Ctrl-C, with their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rich.console

import cli.app
import cli.main
import cli.paid_command
import cli.sweep
from cli.paid_command import named
from songflow.errors import InputError, KeyConflict

Call = Callable[..., tuple[int, str, str]]


def test_something_unexpected_is_one_sentence(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 1 without a traceback; SONGFLOW_DEBUG=1 shows it."""

    def burst(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("cli.songs.songs", burst)
    monkeypatch.setattr(cli.app, "app", burst)
    code, out, _ = call("songs", "--json")
    assert code == 1
    assert "(RuntimeError: boom)" in json.loads(out)["error"]
    monkeypatch.setenv("SONGFLOW_DEBUG", "1")
    with pytest.raises(RuntimeError):
        call("songs")


def test_something_unexpected_while_paying_may_have_cost_something(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the key, and says that it may be billed."""

    async def burst(*_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(cli.paid_command, "_in_process", burst)
    code, out, _ = call("generate", "x", "--key", "mine", "--json")
    found = json.loads(out)
    assert (code, found["billed"], found["key"]) == (1, "maybe", "mine")
    assert "--key mine" in found["next"]
    monkeypatch.setenv("SONGFLOW_DEBUG", "1")
    with pytest.raises(RuntimeError):
        call("generate", "x")


def test_after_a_second_ctrl_c_the_outcome_is_unknown(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says that the same key pays once at most."""

    def interrupted(work: Any) -> None:
        work.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.paid_command.asyncio, "run", interrupted)
    code, out, _ = call("generate", "x", "--key", "mine", "--json")
    assert (code, json.loads(out)["billed"], json.loads(out)["key"]) == (5, "maybe", "mine")


@pytest.mark.parametrize("as_json", [True, False])
def test_ctrl_c_in_a_command_that_pays_nothing(
    call: Call, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    """Nothing was sent."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.app, "app", interrupted)
    code, out, err = call("songs", *(["--json"] if as_json else []))
    assert (code, err) == (3, "songflow: Interrupted; nothing was sent.\n")
    assert (json.loads(out)["error"] if as_json else out) == (
        "Interrupted; nothing was sent." if as_json else ""
    )


def test_ctrl_c_after_a_paying_command_has_worked(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it prints: what it made is in the ledger."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.output.Output, "object", interrupted)
    code, out, err = call("generate", "x", "--key", "mine", "--json")
    assert (code, json.loads(out)["billed"]) == (5, "maybe")
    assert "run the same command with --key mine" in err
    monkeypatch.setattr(cli.app, "app", interrupted)
    assert call("songs")[0] == 3, "the next command has paid for nothing"


def test_ctrl_c_ends_the_watching_of_a_sweep(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the usual end: no error, and nothing to say."""
    Path("waltz.yaml").write_text("prompt: a waltz\n")

    async def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.sweep, "_status", pressed)
    monkeypatch.setattr(rich.console.Console, "is_terminal", property(lambda _: True))
    code, out, err = call("sweep", "status", "waltz.yaml")
    assert (code, err, "waltz" in out) == (0, "", False)


def test_the_command_exits_with_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    """From its arguments, or from the process's own."""
    with pytest.raises(SystemExit) as caught:
        cli.main.main(["nope"])
    assert caught.value.code == 2
    assert "nope" in capsys.readouterr().err


def test_an_error_without_a_key_is_given_one() -> None:
    """An error with a key keeps it."""
    with pytest.raises(InputError) as caught, named("mine"):
        raise InputError("no")
    assert caught.value.key == "mine"
    with pytest.raises(KeyConflict) as kept, named("mine"):
        raise KeyConflict("no", key="other")
    assert kept.value.key == "other"
