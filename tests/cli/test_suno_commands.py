"""Suno from the command line: the model decides which options a request takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from songflow.simulator import FaultScript

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


def test_the_gateway_joins_if_it_is_asked_to(shell: Any, gateways: Any, to: Any) -> None:
    """One answer with both files; a join has a key below the song's, which the beginning of a key does not name."""
    server = gateways({"fault": "concat_refused"}, clip_seconds=3.0, takes=2)
    made = shell.run("generate", "a cat", "--model", "chirp-auk", *to(server, "openai-hk"))
    song = made.json["songs"][0]["song_id"]
    extend = ("extend", song, "--at", "2", "--key", "some-roof")
    more = shell.run(*extend, "--join", "gateway", *QUICK)
    assert more.code == 0, more.err
    assert {one["joined_by"] for one in more.json["songs"]} == {"local", "gateway"}
    assert all(Path(one["whole_path"]).is_file() for one in more.json["songs"])
    assert "invalid_action" in more.err
    assert (more.json["key"], more.json["price"], len(server.bill())) == ("some-roof", 1.0, 3)
    frame = shell.run("songs", "--json").json["songs"]
    assert {one["joined_by"] for one in frame[2:]} == {"local", "gateway"}
    tree = shell.run("songs", "--tree").out
    assert tree.count("new part, joined: ") == tree.count("new part, joined by the gateway: ") == 1
    assert "is 'succeeded': there is nothing to pay again" in shell.run("rescue", "--resubmit", "some-r").err
    again = shell.run(*extend, "--join", "gateway", *QUICK)
    assert (again.json["songs"], len(server.bill())) == (more.json["songs"], 3)


def test_ctrl_c_while_the_gateway_joins_names_that_request_and_rescue_collects_it(
    shell: Any, gateways: Any, to: Any
) -> None:
    """The extension is stored; the answer is that of what still runs, and the key that of the extension."""
    server = gateways(
        {"fault": "unknown_for_ever", "match": "(concatenation)", "times": None}, clip_seconds=3.0, takes=1
    )
    made = shell.run("generate", "a cat", "--model", "chirp-auk", *to(server, "openai-hk"))
    song = made.json["songs"][0]["song_id"]
    extend = ("extend", song, "--at", "2", "--key", "some-roof", "--join", "gateway", *QUICK)
    run = shell.interrupt(shell.start(*extend), "Sending the request (key some-roof/join.1")
    join = server.bill()[-1]
    assert (run.code, run.json["key"], run.json["billed"]) == (5, "some-roof", "yes")
    assert (run.json["generation_id"], join.body["is_infill"]) == (join.generation_id, False)
    server.gateway.play(FaultScript())
    collected = shell.run("rescue", "--json")
    assert [one["key"] for one in collected.json["rescued"]] == ["some-roof/join.1"]
    again = shell.run(*extend)
    assert ([one["joined_by"] for one in again.json["songs"]], len(server.bill())) == (["gateway"], 3)


def test_a_gateway_that_does_not_join_is_refused_before_anything_is_sent(
    shell: Any, gateways: Any, to: Any
) -> None:
    """Exit 2, naming those that do."""
    server = gateways()
    song = ("extend", "any", "--prompt", "punk", "--model", "chirp-auk", "--at", "3", "--join", "gateway")
    run = shell.run(*song, *to(server, "kie"), env={"KIE_KEY": "any"})
    assert (run.code, run.json["billed"], server.bill()) == (2, "no", [])
    assert run.json["error"] == "kie does not join new parts with the songs that they extend."
    assert "--join local" in run.json["next"]
    assert "openai-hk" in run.json["next"]


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
