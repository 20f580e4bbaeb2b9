"""Texts are read in one way, whatever editor, spreadsheet or pipe they come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from songflow.documents.text import (
    NotText,
    counted,
    decoded,
    marks_removed,
    plain_lines,
    plain_text,
    read_text,
)


@pytest.mark.parametrize(
    "written",
    [
        "la la\n\nlo\n",
        "\ufeffla la\n\nlo\n",
        "la la\r\n\r\nlo\r\n",
        "la la\r\rlo\r",
        "la la  \n \t\nlo\u00a0\n",
        "la la\n\ufeff\nlo\n",  # `cat a.txt b.txt`
        "\ufeff\ufeffla la \r\n\r\nlo\n",
    ],
    ids=ascii,
)
def test_what_an_editor_leaves_does_not_change_a_text(tmp_path: Path, written: str) -> None:
    """Byte-order marks, line ends, blanks at line ends; the line feed at the end is the text's own."""
    (tmp_path / "words.txt").write_bytes(written.encode())
    assert read_text(tmp_path / "words.txt") == "la la\n\nlo\n"
    assert plain_text("la la") == "la la"


def test_lines_end_where_their_text_does() -> None:
    assert plain_lines("\ufeffa waltz \t\r\n\ufeff\n  \n a tango\n") == ["a waltz", " a tango"]


def test_an_option_keeps_its_blanks() -> None:
    """It was typed so; marks and carriage returns come from a file by `$(cat FILE)`."""
    assert marks_removed("\ufeffa \r\nb ") == "a \nb "


def test_other_encodings_are_named() -> None:
    with pytest.raises(NotText, match=r"not UTF-8 text$"):
        decoded(b"\xe4")
    for encoding in ("utf-16", "utf-16-be"):
        raw = b"" if encoding == "utf-16" else b"\xfe\xff"
        with pytest.raises(NotText, match=r"UTF-16: save it as UTF-8"):
            decoded(raw + "Wörter".encode(encoding))


def test_one_thing_is_singular():
    assert [counted(number, "song") for number in (0, 1, 2)] == ["0 songs", "1 song", "2 songs"]
