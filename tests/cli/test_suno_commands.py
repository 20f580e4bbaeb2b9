"""Suno from the command line: the model decides which options a request takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

QUICK = ("--poll-interval", "0.1", "--json")


def test_a_chirp_model_makes_sings_extends_and_joins(shell: Any, gateways: Any, to: Any) -> None:
    """From an idea, with words of one's own and a title, and from a second of a song on; each costs one price."""
    server = gateways(clip_seconds=3.0, takes=1)
    account = (*to(server, "openai-hk"), "--model", "chirp-auk")
    made = shell.run("generate", "a cat on a roof", *account)
    sung = shell.run("generate", "emotional punk", "--lyrics", "la la", "--title", "City", *account)
    assert (made.code, sung.code) == (0, 0), made.err + sung.err
    (song,) = made.json["songs"]
    more = shell.run(
        "extend", song["song_id"][:12], "--at", "2", "--title", "Roof", "--lyrics", "miau", *QUICK
    )
    assert more.code == 0, more.err
    idea, own, continued = (entry.body for entry in server.bill())
    assert idea == {"mv": "chirp-auk", "gpt_description_prompt": "a cat on a roof"}
    assert own == {"prompt": "la la", "tags": "emotional punk", "mv": "chirp-auk", "title": "City"}
    assert continued == {
        "prompt": "miau",
        "tags": "a cat on a roof",
        "mv": "chirp-auk",
        "title": "Roof",
        "task_id": made.json["generation_id"],
        "continue_clip_id": song["song_id"],
        "continue_at": 2,
    }
    assert [run.json["price"] for run in (made, sung, more)] == [1.0, 1.0, 1.0]
    (part,) = more.json["songs"]
    assert Path(part["path"]).is_file()
    assert Path(part["whole_path"]).is_file()
    assert "whole_path" not in song
    tree = shell.run("songs", "--tree")
    assert f"new part, joined: {Path(part['whole_path']).name}" in tree.out
    repeated = shell.run("generate", "--like", part["path"], "--instrumental", *to(server, "openai-hk"))
    assert repeated.code == 0, repeated.err
    assert server.bill()[3].body == continued | {"prompt": "", "make_instrumental": True}
    own_words = sung.json["songs"][0]["path"]
    moved = shell.run("generate", "--like", own_words, *to(server, "openai-hk"), "--model", "udio32-v1.5")
    assert moved.code == 0, moved.err
    params = server.bill()[4].body["gen_params"]
    assert (params["prompt"], params["lyrics"], params["lyrics_type"]) == ("emotional punk", "la la", "user")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("generate", "a", "--model", "chirp-auk", "--seed", "7"), "seed is not a field"),
        (("generate", "a", "--title", "T"), "title is not a field"),
        (("generate", "a", "--model", "chirp-auk", "--title", "T"), "title is forbidden without lyrics"),
        (("generate", "a", "--model", "chirp-9"), "chirp-auk"),
        (("extend", "song", "--at", "0"), "continue_at is 0.0: allowed is a number of seconds above 0"),
        (("extend", "song", "--at", "9", "--place", "outro"), "continue a song at a second of it"),
        (("extend", "song", "--at", "9", "--model", "udio32-v1.5"), "continue_at is not a field"),
    ],
)
def test_an_option_of_another_family_is_refused_before_anything_is_sent(
    shell: Any, arguments: tuple[str, ...], reason: str
) -> None:
    """Exit 2, and no library is made."""
    run = shell.run(*arguments, "--json")
    assert (run.code, run.json["billed"]) == (2, "no")
    assert reason in run.json["error"]
    assert not (shell.folder / "songs").exists()


def test_a_model_that_the_gateway_does_not_sell_names_those_that_do(
    shell: Any, gateways: Any, to: Any
) -> None:
    """Nothing is sent."""
    server = gateways()
    run = shell.run("generate", "a", "--model", "chirp-auk-turbo", *to(server, "cometapi"))
    assert (run.code, server.bill()) == (2, [])
    assert "cometapi does not sell chirp-auk-turbo" in run.json["error"]
    assert "openai-hk, simulator" in run.json["next"]
