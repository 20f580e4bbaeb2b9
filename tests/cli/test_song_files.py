"""`rebuild` and `generate --like`: restore a ledger from song files, and repeat the request of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SAME_WORDS = ("--lyrics", "La la\nla", "--seed", "3")


def lose_ledger(library: Path) -> None:
    """Delete the database, but not the songs."""
    for file in library.glob("ledger.sqlite*"):
        file.unlink()


def test_a_lost_ledger_is_rebuilt_and_a_song_of_it_extended(
    shell: Any, gateways: Any, to: Any, posts: Any
) -> None:
    """The manifest is the same, and extending needs no gateway: the file names it."""
    server = gateways()
    made = shell.run("generate", "a waltz", *to(server)).json
    before = shell.run("songs", "--json").json["songs"]
    lose_ledger(shell.library)
    stranger = shell.run("rebuild", "songs/audio", "--json")
    assert (stranger.code, stranger.json["added"], stranger.json["skipped"]) == (2, 0, 2)
    assert "would let them be paid for again" in stranger.json["error"]
    assert f"--trust cometapi={server.url}." in stranger.json["next"]
    assert f"--trust cometapi={server.url}" in stranger.json["files"][0]["reason"]
    rebuilt = shell.run("rebuild", "songs/audio", "--trust", f"cometapi={server.url}", "--json")
    assert (rebuilt.code, rebuilt.json["added"], rebuilt.json["skipped"]) == (0, 2, 0)
    assert shell.run("songs", "--json").json["songs"] == before
    assert shell.run("songs", "--cost", "--json").json["cost"]["spent"] == 1
    seen = posts(server)
    extended = shell.run("extend", made["songs"][0]["song_id"], "--poll-interval", "0.1", "--json")
    assert extended.code == 0, extended.err
    assert posts(server) == seen + 1
    assert server.bill()[-1].body["gen_params"]["config"]["source"]["song_id"] == made["songs"][0]["song_id"]
    assert extended.json["songs"][0]["duration"] > made["songs"][0]["duration"]


def test_rebuild_reports_each_file(shell: Any, gateways: Any, to: Any) -> None:
    """A line for each file that is new or skipped, and the counts."""
    server = gateways()
    shell.run("generate", "a waltz", *to(server))
    (shell.folder / "songs" / "audio" / "foreign.mp3").write_bytes(b"no song")
    lose_ledger(shell.library)
    run = shell.run("rebuild", "songs/audio", "--trust", f"cometapi={server.url}")
    assert run.code == 0, run.err
    lines = run.out.splitlines()
    assert lines[-1] == "2 added, 0 known, 0 moved, 1 skipped."
    assert sorted(line[0] for line in lines[:-1]) == ["+", "+", "-"]
    assert "foreign.mp3 (it has no Songflow metadata)" in run.out
    assert shell.run("rebuild", "songs/audio").out.splitlines()[-1] == "0 added, 2 known, 0 moved, 1 skipped."


def test_rebuild_refuses_bad_input_and_creates_no_library(shell: Any) -> None:
    """A missing folder, an unknown gateway."""
    for arguments in (
        ("nowhere",),
        (".", "--trust", "cometapi"),
        (".", "--trust", "nobody=https://x.example"),
    ):
        run = shell.run("rebuild", *arguments, "--json")
        assert run.code == 2
        assert "nothing was changed" in run.json["next"]
    assert not shell.library.exists()


def test_generate_like_repeats_the_request(shell: Any, gateways: Any, to: Any) -> None:
    """Without a prompt it is the same body under a new key; each option and the prompt override their part."""
    server = gateways()
    first = shell.run("generate", "a waltz", *SAME_WORDS, *to(server)).json
    path = first["songs"][0]["path"]
    again = shell.run("generate", "--like", path, *to(server))
    assert again.code == 0, again.err
    other = shell.run("generate", "a march", "--like", path, "--instrumental", "--seed", "4", *to(server))
    assert other.code == 0, other.err
    one, two, three = (entry.body["gen_params"] for entry in server.bill())
    assert one == two
    assert again.json["key"] != first["key"]
    changed = {"prompt": "a march", "lyrics": "", "lyrics_type": "instrumental", "seed": 4}
    assert three == {**one, **changed}


def test_generate_like_an_extension_goes_to_the_gateway_of_its_source(
    shell: Any, gateways: Any, to: Any, posts: Any
) -> None:
    """The file names the gateway, but options must choose it; with any other nothing is sent."""
    server, other = gateways(), gateways()
    core = shell.run("generate", "a waltz", *to(server)).json["songs"][0]["song_id"]
    longer = shell.run("extend", core, "--poll-interval", "0.1", "--json").json["songs"][0]["path"]
    seen = posts(server)
    for options in (
        ("--json",),
        to(other),
        to(server, "openai-hk"),
        (*to(server), "--fallback", f"cometapi={other.url}"),
    ):
        refused = shell.run("generate", "--like", longer, *options)
        assert refused.code == 2, refused.err
        assert "--gateway cometapi" in refused.json["next"]
    assert (posts(server), posts(other)) == (seen, 0)
    again = shell.run("generate", "--like", longer, *to(server))
    assert again.code == 0, again.err
    bill = [entry.body for entry in server.bill()]
    assert bill[-1] == bill[-2]
    assert bill[-1]["gen_params"]["config"]["mode"] == "continuation"


def test_generate_like_refuses_files_without_a_request(shell: Any, gateways: Any, to: Any) -> None:
    """No file, no metadata, or a second file as the prompt (a shell pattern matched both)."""
    server = gateways()
    path = shell.run("generate", "a waltz", *to(server)).json["songs"][0]["path"]
    (shell.folder / "foreign.mp3").write_bytes(b"no song")
    for arguments in (("--like", "nowhere.mp3"), ("--like", "foreign.mp3"), (path, "--like", path), ()):
        run = shell.run("generate", *arguments, *to(server))
        assert (run.code, json.loads(run.out)["billed"]) == (2, "no")
        assert "nothing was sent" in run.json["next"]
    assert len(server.bill()) == 1
