"""`songflow generate`: the contract with programs, in real processes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

RESULT = {"key", "generation_id", "state", "billed", "price", "songs"}
SONG = {"song_id", "title", "duration", "path", "sha256", "error"}
FAILURE = {"error", "billed", "key", "generation_id", "state", "next"}


def test_a_prompt_becomes_songs_through_either_gateway(shell: Any, gateways: Any, to: Any) -> None:
    """The same JSON, the same music for a seed, and rows with the same columns."""
    results, frames, music = [], [], []
    for gateway in ("cometapi", "openai-hk"):
        server, library = gateways(), shell.folder / gateway
        run = shell.run("generate", "a waltz", "--seed", "7", "--library", str(library), *to(server, gateway))
        assert run.code == 0, run.err
        result = run.json
        assert list(result) == ["key", "generation_id", "state", "billed", "price", "songs"]
        assert (result["state"], result["billed"], result["price"]) == ("succeeded", "yes", 1.0)
        assert f"key: {result['key']}\n" in run.err
        assert run.err.index("key: ") < run.err.index("Sending the request")
        assert len(result["songs"]) == 2
        for song in result["songs"]:
            assert set(song) == SONG
            path = Path(song["path"])
            assert path.is_absolute()
            assert path.parent == library / "audio"
            assert hashlib.sha256(path.read_bytes()).hexdigest() == song["sha256"]
            assert song["error"] is None
        assert [entry.generation_id for entry in server.bill()] == [result["generation_id"]]
        results.append(result)
        music.append([soundfile.read(song["path"])[0] for song in result["songs"]])
        shown = shell.run("songs", "--library", str(library), "--format", "csv")
        frames.append(pd.read_csv(pd.io.common.BytesIO(shown.stdout)))
    one, other = results
    for name in ("title", "duration"):  # the files' own stories name the gateway, so their sums differ
        assert [song[name] for song in one["songs"]] == [song[name] for song in other["songs"]]
    for mine, yours in zip(*music, strict=True):
        np.testing.assert_array_equal(mine, yours)
    assert list(frames[0].columns) == list(frames[1].columns)
    assert [frame["gateway"].unique().tolist() for frame in frames] == [["cometapi"], ["openai-hk"]]


def test_the_same_key_pays_once_and_returns_the_same_songs(
    shell: Any, gateways: Any, to: Any, posts: Any
) -> None:
    """The second command finds them stored; another body under the key is refused with its fields named."""
    server = gateways()
    first = shell.run("generate", "a waltz", "--key", "mine", *to(server))
    second = shell.run("generate", "a waltz", "--key", "mine", *to(server))
    assert (first.code, second.code) == (0, 0)
    assert first.json == second.json
    assert first.json["key"] == "mine"
    other = shell.run("generate", "a polka", "--seed", "3", "--key", "mine", *to(server))
    assert other.code == 2
    assert set(other.json) == FAILURE
    assert "these fields differ: prompt, seed" in other.json["error"]
    assert (other.json["billed"], other.json["key"]) == ("no", "mine")
    assert posts(server) == 1


def test_every_option_reaches_the_gateway(shell: Any, gateways: Any, to: Any) -> None:
    """The gateway receives the body that the options describe."""
    server = gateways()
    options = {
        "--lyrics": "[Verse]\nla la, - la",
        "--model": "udio130-v1.5",
        "--seed": "7",
        "--negative-prompt": "drums",
        "--prompt-strength": "0.1",
        "--clarity-strength": "0.2",
        "--lyrics-strength": "0.3",
        "--quality": "1",
        "--section-start": "0.4",
        "--section-end": "0.9",
        "--lyrics-start": "0",
        "--lyrics-end": "0.95",
    }
    given = [part for option in options.items() for part in option]
    run = shell.run("generate", 'rock, 歌 "quoted"', *given, "--raw-prompt", "--retries", "0", *to(server))
    assert run.code == 0, run.err
    assert run.json["price"] == 2.0
    assert server.bill()[0].body == {
        "gen_params": {
            "prompt": 'rock, 歌 "quoted"',
            "lyrics": "[Verse]\nla la, - la",
            "lyrics_type": "user",
            "negative_prompt": "drums",
            "model_type": "udio130-v1.5",
            "seed": 7,
            "bypass_prompt_optimization": True,
            "song_section_start": 0.4,
            "song_section_end": 0.9,
            "lyrics_placement_start": 0,
            "lyrics_placement_end": 0.95,
            "prompt_strength": 0.1,
            "clarity_strength": 0.2,
            "lyrics_strength": 0.3,
            "generation_quality": 1,
            "config": {"mode": "regular"},
        }
    }


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ([], {}),
        (["--instrumental"], {"lyrics_type": "instrumental"}),
        (["--lyrics-file", "words.txt"], {"lyrics": "Wörter\n歌\n", "lyrics_type": "user"}),
        (["--lyrics=- a dash", "--seed", "-1"], {"lyrics": "- a dash", "lyrics_type": "user"}),
    ],
    ids=["nothing", "instrumental", "file", "dash"],
)
def test_options_determine_the_lyrics(
    shell: Any, gateways: Any, to: Any, options: list[str], changed: dict[str, Any]
) -> None:
    """Without lyrics, `lyrics_type` is generate; other fields have the gateways' defaults."""
    (shell.folder / "words.txt").write_text("Wörter\n歌\n", encoding="utf-8")
    server = gateways(takes=1)
    assert shell.run("generate", "a waltz", *options, *to(server)).code == 0
    assert server.bill()[0].body["gen_params"] == {
        "prompt": "a waltz",
        "lyrics": "",
        "lyrics_type": "generate",
        "negative_prompt": "",
        "model_type": "udio32-v1.5",
        "seed": -1,
        "bypass_prompt_optimization": False,
        "song_section_start": 0,
        "song_section_end": 1,
        "prompt_strength": 0.5,
        "clarity_strength": 0.25,
        "lyrics_strength": 0.5,
        "generation_quality": 0.75,
        "config": {"mode": "regular"},
        **changed,
    }


def test_one_failed_take_of_two_is_a_success(shell: Any, gateways: Any, to: Any) -> None:
    """Exit 0 for at least one song; the other's path is null and its error says why."""
    run = shell.run("generate", "a waltz", *to(gateways({"fault": "one_take_fails"})))
    assert run.code == 0
    good, bad = run.json["songs"]
    assert Path(good["path"]).is_file()
    assert (bad["path"], bad["sha256"]) == (None, None)
    assert "GENERATION_ERROR" in bad["error"]


def test_for_people_the_answer_is_text(shell: Any, gateways: Any, to: Any) -> None:
    """A line per take and one for the money; quiet keeps stderr to the key."""
    server = gateways({"fault": "one_take_fails"})
    options = [option for option in to(server) if option != "--json"]
    run = shell.run("generate", "a waltz", "--quiet", *options)
    assert run.code == 0
    good, bad, money = run.out.splitlines()
    assert good.startswith("+ ")
    assert good.endswith(".mp3")
    assert "(0.2 s)  /" in good
    assert bad.startswith("- ")
    assert money.endswith("price 1 unit (billed: yes)")
    assert [line.split()[0] for line in run.err.splitlines()] == ["key:"]


def test_hostile_titles_break_neither_json_nor_table(shell: Any, gateways: Any, to: Any) -> None:
    """Escape sequences, line breaks and 300 letters stay data; a row stays a row."""
    server = gateways({"fault": "hostile_titles", "times": None}, takes=8)
    for key in ("a", "b"):
        run = shell.run("generate", f"song {key}", "--key", key, *to(server))
        assert run.code == 0, run.err
        assert "\x1b" not in run.err
        assert len(run.json["songs"]) == 8
    table = shell.run("songs")
    assert table.code == 0
    assert len(table.out.splitlines()) == 1 + 16
    assert all(character.isprintable() for line in table.out.splitlines() for character in line)
    assert all(line.rstrip().endswith(".mp3") for line in table.out.splitlines()[1:])
    titles = [song["title"] for song in shell.run("songs", "--json").json["songs"]]
    assert "../../../etc/passwd" in titles
    audio = shell.library / "audio"
    assert sum(path.suffix == ".mp3" for path in audio.iterdir()) == 16
    csv = shell.run("songs", "--format", "csv")
    assert len(pd.read_csv(pd.io.common.BytesIO(csv.stdout))) == 16


def test_the_key_is_never_shown_even_if_the_gateway_repeats_it(shell: Any, gateways: Any, to: Any) -> None:
    """Not on stdout, not on stderr, and in no byte of the library."""
    echo = f"your key {shell.key} is not allowed here (simulated)"
    server = gateways(
        {
            "fault": "status",
            "on": "submit",
            "status": 403,
            "message": echo,
            "envelope": "openai",
            "match": "echo",
        },
        {"fault": "moderated", "fail_reason": echo, "match": "fail"},
        {"fault": "status", "on": "fetch", "status": 500, "body": echo},
    )
    codes = [shell.run("generate", prompt, *to(server)).code for prompt in ("echo", "fail", "a waltz")]
    assert codes == [3, 4, 0]
    files = [path for path in shell.folder.rglob("*") if path.is_file()]
    assert any(path.name == "ledger.sqlite" for path in files)
    assert [path for path in files if shell.key.encode() in path.read_bytes()] == []


def test_a_title_that_the_terminal_cannot_encode_is_no_failure(shell: Any, gateways: Any, to: Any) -> None:
    """JSON is always UTF-8, and text is escaped."""
    server = gateways({"fault": "hostile_titles", "titles": ["歌 ü"]}, takes=1)
    ascii_only = {"PYTHONIOENCODING": "ascii", "LANG": "C", "PYTHONUTF8": "0"}
    run = shell.run("generate", "a waltz", *to(server), env=ascii_only)
    assert (run.code, run.json["songs"][0]["title"]) == (0, "歌 ü")
    assert shell.run("songs", env=ascii_only).code == 0


def test_json_on_stdout_is_one_line_of_utf8(shell: Any, gateways: Any, to: Any) -> None:
    """All bytes are valid JSON."""
    run = shell.run("generate", "a waltz", *to(gateways(takes=1)))
    assert json.loads(run.stdout)["songs"][0]["duration"] == 0.25
    assert run.stdout.count(b"\n") == 1
