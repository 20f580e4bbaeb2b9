"""Commands in a locale that has no code for the letters of a title."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.commands import ForkServer

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
TITLES = ("歌 für Zoë", "🎸")


@pytest.fixture
def ascii_shell(shell: Any) -> Iterator[Any]:
    """Forks commands from an interpreter that was started in this locale."""
    shell.forks = ForkServer(ASCII)
    yield shell
    shell.forks.close()


def test_a_title_that_file_names_cannot_have_is_stored_in_ascii(
    ascii_shell: Any, gateways: Any, to: Any
) -> None:
    """Its manifest and its tag keep the title; export, stitch and the pictures find its file."""
    shell = ascii_shell
    server = gateways({"fault": "hostile_titles", "titles": TITLES}, pool=2)
    made = shell.run("generate", "a song for Zoe", *to(server), env=ASCII)
    assert made.code == 0, made.err
    assert [song["title"] for song in made.json["songs"]] == list(TITLES)
    names = sorted(Path(song["path"]).name for song in made.json["songs"])
    assert all(name.isascii() for name in names)
    assert [name[: name.rindex("-")] for name in names] == ["fur Zoe", "untitled"]
    assert all(Path(song["path"]).is_file() for song in made.json["songs"])
    for command in (
        ["songs", "--json"],
        ["songs"],
        ["export", "--output", "exported", "--json"],
        ["rescue", "--json"],
        ["rebuild", "songs/audio", "--json"],
    ):
        run = shell.run(*command, env=ASCII)
        assert run.code == 0, (command, run.err)
    assert "\\u6b4c" in shell.run("songs", env=ASCII).out
    assert shell.run("songs", "--json", env=ASCII).json["songs"][0]["title"] in TITLES
