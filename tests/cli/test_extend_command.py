"""`songflow extend`: requests, gateways, and refusals before anything is spent."""

from __future__ import annotations

import re
from typing import Any

import pytest


@pytest.fixture
def core(shell: Any, gateways: Any, to: Any) -> Any:
    """Make a song through a gateway; returns the gateway and the song's id."""

    def make(gateway: str = "openai-hk", *options: str) -> tuple[Any, str]:
        server = gateways(clip_seconds=2.0)  # an extension is searched for its source
        made = shell.run("generate", "mother", *options, *to(server, gateway))
        assert made.code == 0, made.err
        return server, made.json["songs"][0]["song_id"]

    return make


QUICK = ("--poll-interval", "0.1", "--json")


@pytest.mark.parametrize("gateway", ["cometapi", "openai-hk"])
def test_a_song_is_extended_at_the_gateway_that_made_it(shell: Any, core: Any, gateway: str) -> None:
    """Without naming a gateway; the body is the documented one, and the songs name their source."""
    server, song_id = core(gateway)
    run = shell.run("extend", song_id, "--mode", "precede", "--prompt", "father", *QUICK)
    assert run.code == 0, run.err
    assert list(run.json) == ["key", "generation_id", "state", "billed", "price", "songs"]
    assert [song["duration"] for song in run.json["songs"]] == pytest.approx([4, 4], abs=0.1)
    assert server.bill()[1].dialect == gateway
    assert server.bill()[1].body["gen_params"] == {
        "prompt": "father",
        "lyrics": "",
        "lyrics_type": "generate",
        "bypass_prompt_optimization": False,
        "seed": -1,
        "song_section_start": 0,
        "prompt_strength": 0.5,
        "clarity_strength": 0.25,
        "lyrics_strength": 0.5,
        "generation_quality": 0.75,
        "negative_prompt": "",
        "model_type": "udio32-v1.5",
        "config": {
            "mode": "precede",
            "context_length": 130,
            "source": {"source_type": "song", "song_id": song_id},
        },
    }
    rows = shell.run("songs", "--where", 'mode == "precede"', "--json").json["songs"]
    for row in rows:
        assert (row["parent_song_id"], row["root_song_id"], row["depth"]) == (song_id, song_id, 1)
        assert (row["source_score"], row["note"]) == (1, None)
        assert row["source_at"] == pytest.approx(2, abs=0.05)


def test_every_option_reaches_the_gateway(shell: Any, core: Any) -> None:
    """Other fields are inherited; the same key pays once."""
    server, song_id = core("cometapi", "--seed", "7", "--lyrics", "la la", "--quality", "0.5")
    said = (
        *("--place", "back", "--context-length", "30", "--lyrics", "new words", "--lyrics-end", "0.9"),
        *("--model", "udio130-v1.5", "--prompt-strength", "0.9", "--section-end", "0.8", "--key", "mine"),
    )
    for _ in range(2):
        run = shell.run("extend", song_id, *said, *QUICK)
        assert (run.code, run.json["price"]) == (0, 2.0), run.err
    assert len(server.bill()) == 2
    body = server.bill()[1].body["gen_params"]
    assert (body["prompt"], body["seed"], body["generation_quality"]) == ("mother", 7, 0.5)
    assert (body["lyrics"], body["lyrics_type"], body["lyrics_placement_end"]) == ("new words", "user", 0.9)
    assert (body["song_section_start"], body["song_section_end"], body["prompt_strength"]) == (0.4, 0.8, 0.9)
    assert body["config"] == {
        "mode": "continuation",
        "context_length": 30,
        "source": {"source_type": "song", "song_id": song_id},
    }
    other = shell.run("extend", song_id, "--place", "outro", "--key", "mine", *QUICK)
    assert other.code == 2
    assert "config" in other.json["error"] or "context_length" in other.json["error"]


def test_a_song_that_only_the_gateway_knows(shell: Any, core: Any, to: Any) -> None:
    """With the gateway and a prompt, in a library that has never seen it."""
    server, song_id = core("openai-hk")
    elsewhere = ("--library", str(shell.folder / "elsewhere"))
    run = shell.run("extend", song_id, *elsewhere, *to(server, "openai-hk"))
    assert run.code == 2
    assert "prompt is required" in run.json["error"]
    run = shell.run("extend", song_id, "--prompt", "bells", *elsewhere, *to(server, "openai-hk"))
    assert run.code == 0, run.err
    rows = shell.run("songs", *elsewhere, "--json").json["songs"]
    assert {row["note"] for row in rows} == {"not compared with its source: this library does not have it"}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--mode", "precede", "--place", "outro"), "place outro belongs to mode continuation"),
        (("--section-start", "0.4"), "mode is required with song_section_start"),
        (("--place", "intro", "--section-start", "0.4"), "place intro is song_section_start 0"),
        (
            ("--context-length", "131"),
            "context_length is 131.0: allowed is a number of seconds from 1 to 130",
        ),
        (("--place", "middle"), "place"),
        (("--prompt-strength", "2"), "prompt_strength is 2.0"),
        (("--gateway", "cometapi"), "is at openai-hk"),
        (("--fallback", "cometapi"), "cannot extend it"),
        (("--instrumental", "--lyrics", "la"), "lyrics is forbidden"),
    ],
    ids=str,
)
def test_bad_input_is_refused_before_anything_is_sent(
    shell: Any, core: Any, posts: Any, options: tuple[str, ...], text: str
) -> None:
    """Exit 2, and the gateway has seen one POST: the parent's."""
    server, song_id = core()
    run = shell.run("extend", song_id, *options, *QUICK)
    assert run.code == 2
    assert text in run.json["error"]
    assert run.json["billed"] == "no"
    assert posts(server) == 1


def test_an_unknown_song_is_bad_input(shell: Any) -> None:
    """The message says how to list the known ones."""
    run = shell.run("extend", "nowhere", "--prompt", "x", "--json")
    assert run.code == 2
    assert "There is no song 'nowhere' in this library" in run.json["error"]
    assert "songflow songs" in run.json["next"]


def test_without_its_key_a_song_cannot_be_extended(shell: Any, core: Any) -> None:
    """The message names the account."""
    _server, song_id = core("openai-hk")
    run = shell.run("extend", song_id, "--json", env={"OPENAI_HK_KEY": None, "COMETAPI_KEY": None})
    assert run.code == 2
    assert "no key for its account 'env:OPENAI_HK_KEY'" in run.json["error"]


def test_help_names_every_option(shell: Any) -> None:
    """Its own, and all of generate's but the one that takes a whole request from a file."""
    text = shell.run("extend", "--help").out
    generate = shell.run("generate", "--help").out
    for option in (
        "--mode",
        "--place",
        "--prompt",
        "--context-length",
        *set(re.findall(r"(?<=\s)--[a-z-]+", generate)) - {"--like"},
    ):
        assert option in text, option
