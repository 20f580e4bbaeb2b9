"""Lines of a terminal: wrapped between words, a table as wide as it is, a path where it can be copied."""

from __future__ import annotations

import os
import pty
import select
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path

import pandas
import pytest
from rich.cells import cell_len
from rich.text import Text

from cli.lines import wrapped
from cli.output import Output
from songflow.catalog.manifest import empty_manifest
from songflow.generation.results import SongResult

LONG = (
    "17:55:01 The generation 04aea887-5f4d-4b66-be3b-c2f809711047 of 夜の歌夜の歌夜の歌 continues. Next: run the same "
    "command, or `songflow rescue --adopt 04aea887`: it is paid for."
)


@pytest.mark.parametrize("width", [40, 60, 80, 160])
def test_a_line_is_continued_between_words(width: int) -> None:
    """Nothing is lost, and a command stays whole."""
    lines = [line.plain for line in wrapped(Text(LONG), width)]
    assert all(cell_len(line) <= width for line in lines)
    assert " ".join(line.strip() for line in lines) == LONG
    assert all(line.startswith("  ") for line in lines[1:])
    assert any("`songflow rescue --adopt 04aea887`" in line for line in lines)


def test_the_margin_of_a_line_is_that_of_its_continuation_and_a_long_word_stays_whole() -> None:
    """An address that is wider than the terminal can still be copied."""
    address = "http://prefect.example:4200/" + "x" * 80
    assert [line.plain for line in wrapped(Text(f"    See {address} now"), 40)] == [
        "    See",
        f"      {address}",
        "      now",
    ]
    assert [line.plain for line in wrapped(Text(""), 40)] == [""]


def shown(monkeypatch, width: int, act: Callable[[Output], None]) -> list[str]:
    """The lines that a terminal of this width gets from an output."""
    ours, theirs = pty.openpty()
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    with TextIOWrapper(os.fdopen(theirs, "wb", buffering=0), "utf-8", write_through=True) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        act(Output(quiet=True))
        monkeypatch.undo()
        read = b""
        while not read.endswith(b"\n") or select.select([ours], [], [], 0)[0]:
            read += os.read(ours, 1 << 16)
    os.close(ours)
    return read.decode().split("\r\n")[:-1]


@pytest.mark.parametrize("width", [60, 80])
def test_a_wide_table_is_whole_in_a_narrow_terminal(monkeypatch, width: int) -> None:
    """Its rows go on in the next line of the terminal, without blank ends that would add more."""
    names = {
        "title": "Lanterns",
        "song_id": "7dfaad40-f500-50d0-96cf-55f6f84d76ba",
        "path": "/songs/" + "x" * 99,
    }
    row = dict.fromkeys(empty_manifest().columns) | names
    rows = pandas.DataFrame([row, {**row, "path": None}])
    _heading, first, second = shown(monkeypatch, width, lambda output: output.manifest(rows, wide=True))
    assert first.split()[-2:] == [names["song_id"], names["path"]]
    assert second.endswith(names["song_id"])


def test_the_path_of_a_song_has_its_own_line_where_both_do_not_fit(monkeypatch, capfd) -> None:
    """As it is from here; a pipe has it in full on the same line."""
    path = str(Path.cwd() / "songs" / "Edges over it.mp3")
    song = SongResult("id", "Edges over the Valley (simulated)", 32.81, path, None, None)
    head = "+ Edges over the Valley (simulated) (32.8 s)"
    assert shown(monkeypatch, 60, lambda output: output.songs([song])) == [
        head,
        "    songs/Edges over it.mp3",
    ]
    assert shown(monkeypatch, 80, lambda output: output.songs([song])) == [f"{head}  songs/Edges over it.mp3"]
    Output(quiet=True).songs([song])
    assert capfd.readouterr().out == f"{head}  {path}\n"
