"""Texts: read from files in one way, and shown to people on one line."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

__all__ = [
    "PATH_SIGNS",
    "NotText",
    "close_names",
    "counted",
    "decoded",
    "joined_notes",
    "line_feeds",
    "marks_removed",
    "one_line",
    "plain_lines",
    "plain_text",
    "read_text",
    "sentence",
    "short_name",
]

PATH_SIGNS = ("/", "\\")
"""What separates the parts of a path, here and on Windows."""

_BYTE_ORDER_MARK = "\ufeff"
_LINE_ENDS = re.compile(r"\r\n?")
_BLANKS_AT_LINE_ENDS = re.compile(r"[ \t\u00a0]+$", re.MULTILINE)
_WHOLE_PATH = re.compile(r"(?:/|[A-Za-z]:[/\\]).*[/\\]", re.DOTALL)
_OTHER_ENCODINGS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


class NotText(ValueError):
    """The bytes are no UTF-8 text; the message is the end of a sentence: "it is not UTF-8 text"."""


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 song", "2 songs"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def decoded(raw: bytes) -> str:
    """Decode the bytes of a text: UTF-8, as it is.

    Raises:
        NotText: they are not UTF-8.
    """
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        other = _OTHER_ENCODINGS.get(raw[:2])
        hint = f" ({other}: save it as UTF-8)" if other else ""
        raise NotText(f"it is not UTF-8 text{hint}") from None


def line_feeds(text: str) -> str:
    """A text whose lines all end with a line feed."""
    return _LINE_ENDS.sub("\n", text)


def marks_removed(text: str) -> str:
    """A text without byte-order marks, which editors and `cat` leave anywhere in it, and with line feeds."""
    return line_feeds(text.replace(_BYTE_ORDER_MARK, ""))


def plain_text(text: str) -> str:
    """A text from a file or a pipe: the same for every editor that wrote it.

    Without byte-order marks and blanks at the ends of lines, and every line ends with a line feed. Line feeds at the
    end of the text stay.
    """
    return _BLANKS_AT_LINE_ENDS.sub("", marks_removed(text))


def plain_lines(text: str) -> list[str]:
    """The lines of a text that are not blank, each without what is invisible at its end."""
    return [line for raw in text.splitlines() if (line := plain_text(raw).rstrip())]


def read_text(path: Path) -> str:
    """Read a text file as `plain_text`.

    Raises:
        OSError: it cannot be read.
        NotText: it is not UTF-8.
    """
    return plain_text(decoded(path.read_bytes()))


def close_names(name: str, known: Sequence[str]) -> list[str]:
    """The known name that is spelled most like another, and a second one if that is very close as well."""
    first, second = get_close_matches(name, known, n=1), get_close_matches(name, known, n=2, cutoff=0.8)
    return second or first


def joined_notes(*notes: str | None) -> str | None:
    """Remarks as one text; None if there is none."""
    return "; ".join(note for note in notes if note) or None


def sentence(text: str) -> str:
    """A text with its full stop, unless it ends with one or asks."""
    return text if text.endswith((".", "?")) else f"{text}."


def short_name(song_id: str) -> str:
    """A song's id as people type it: of one that is a whole path, the file name."""
    return _WHOLE_PATH.sub("", song_id, count=1)


def one_line(text: object, length: int = 60) -> str:
    """Render untrusted text as one line of at most `length` characters.

    Control characters, and marks that reorder text, become spaces.
    """
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in str(text))
    line = " ".join(visible.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"
