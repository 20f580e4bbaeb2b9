"""`songflow lyrics`: the contract with programs, and words that feed a song."""

from __future__ import annotations

import io
from typing import Any

import pytest

import cli.options
from cli.main import run


def test_lyrics_are_one_object_or_the_words_alone(shell: Any, gateways: Any, to: Any) -> None:
    """With --json everything, else the first text on stdout; the same key is paid for once."""
    server = gateways()
    made = shell.run(
        "lyrics", "a harbour at night", "--key", "words", *to(server, "kie"), env={"KIE_KEY": "any"}
    )
    assert made.code == 0, made.err
    assert list(made.json) == ["key", "generation_id", "state", "billed", "price", "lyrics"]
    assert (made.json["key"], made.json["billed"], made.json["price"]) == ("words", "yes", 0.1)
    first, second = made.json["lyrics"]
    assert set(first) == {"text_id", "title", "text"}
    assert first["text"] != second["text"]
    options = [one for one in to(server, "kie") if one != "--json"]
    plain = shell.run("lyrics", "a harbour at night", "--key", "words", *options, env={"KIE_KEY": "any"})
    assert plain.out == first["text"] + "\n"
    assert "1 more: the same command with --key words --json shows all" in plain.err
    assert len(server.bill()) == 1
    assert shell.run("songs", "--json").json["songs"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("lyrics", " "), 2, "prompt"),
        (("lyrics", "a theme", "--model", "chirp-auk"), 2, "suno-lyrics, udio-lyrics"),
        (("lyrics",), 2, "PROMPT"),
    ],
)
def test_bad_input_ends_with_2(shell: Any, arguments: tuple[str, ...], code: int, said: str) -> None:
    """Nothing is sent, and no library is made."""
    made = shell.run(*arguments, "--json")
    assert (made.code, made.json["billed"]) == (code, "no")
    assert said in made.json["error"]
    assert not (shell.folder / "songs").exists()


def test_a_refusal_ends_with_3_and_a_lost_answer_with_5(shell: Any, gateways: Any, to: Any) -> None:
    """As for songs; rescue lists what may be billed with its prompt."""
    server = gateways({"fault": "quota_not_enough"}, {"fault": "lost_answer"})
    refused = shell.run("lyrics", "a theme", *to(server, "openai-hk"))
    assert (refused.code, refused.json["billed"]) == (3, "no")
    lost = shell.run("lyrics", "a theme", "--key", "lost", *to(server, "openai-hk"))
    assert (lost.code, lost.json["billed"], lost.json["state"]) == (5, "maybe", "unknown")
    (listed,) = shell.run("rescue", "--list", "--json").json["stranded"]
    assert (listed["key"], listed["prompt"]) == ("lost", "a theme")


def test_words_from_a_pipe_are_sung(
    shell: Any, gateways: Any, to: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`songflow lyrics ... | songflow generate ... --lyrics-file -`."""
    server = gateways(takes=1)
    options = [one for one in to(server, "openai-hk") if one != "--json"]
    words = shell.run("lyrics", "a harbour", "--quiet", *options)
    monkeypatch.setenv("OPENAI_HK_KEY", "any")
    monkeypatch.setattr(
        cli.options.sys, "stdin", io.TextIOWrapper(io.BytesIO(words.stdout), encoding="utf-8")
    )
    library = ("--library", str(shell.folder / "sung"))
    assert (
        run(["generate", "slow folk", "--model", "chirp-auk", "--lyrics-file", "-", *library, *options]) == 0
    )
    capsys.readouterr()
    assert server.bill()[-1].body["prompt"] == words.out
