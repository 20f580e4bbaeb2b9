"""ACE-Step from the command line: no key, no price, and options of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ACE = ("--model", "acestep-v15-turbo")


def test_a_server_of_ones_own_makes_and_extends_a_song(shell: Any, gateways: Any) -> None:
    """At the address in the environment; a song's file name is enough to extend it, and 0 is budget enough."""
    server = gateways(clip_seconds=3.0)
    here = {"ACESTEP_URL": server.url}
    chosen = ("--bpm", "90", "--duration", "20", "--key-scale", "Am", "--batch-size", "1", "--seed", "0")
    made = shell.run(
        "generate", "indie folk", "--lyrics", "la la", *chosen, "--budget", "0",
        "--gateway", "ace-step", *ACE, "--poll-interval", "0.1", "--json", env=here,
    )  # fmt: skip
    assert made.code == 0, made.err
    (song,) = made.json["songs"]
    assert (made.json["price"], song["title"]) == (0.0, "indie folk")
    name = Path(song["song_id"]).name[:8]
    more = shell.run(
        "extend", name, "--at", "3", "--duration", "15", "--poll-interval", "0.1", "--json", env=here
    )
    assert more.code == 0, more.err
    first, second = (entry.body for entry in server.bill())
    expected = {
        "lyrics": "la la",
        "bpm": 90,
        "audio_duration": 20,
        "key_scale": "Am",
        "batch_size": 1,
        "seed": 0,
    }
    assert {field: first[field] for field in expected} == expected
    assert (second["src_audio_path"], second["repainting_start"], second["repainting_end"]) == (
        song["song_id"],
        3,
        18,
    )
    tree = shell.run("songs", "--tree", env=here)
    assert "continuation at 3, 6.0 s, holds its source from 0.0 s" in tree.out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("generate", "a", *ACE, "--duration", "30"), "duration is forbidden with lyrics_type generate"),
        (("generate", "a", *ACE, "--lyrics", "la", "--quality", "1"), "generation_quality is not a field"),
        (("generate", "a", "--bpm", "90"), "bpm is not a field"),
        (("generate", "a", *ACE, "--gateway", "openai-hk"), "openai-hk does not sell ace-step"),
        (("extend", "song", "--at", "9", "--duration", "91"), "duration is 91"),
        (
            ("generate", "a", *ACE, "--gateway", "ace-step", "--base-url", "me"),
            "the gateway's base URL must look",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_sent(
    shell: Any, arguments: tuple[str, ...], reason: str
) -> None:
    """Exit 2, and no library is made."""
    run = shell.run(*arguments, "--json", env={"OPENAI_HK_KEY": "any"})
    assert run.code == 2
    assert reason in run.json["error"]
