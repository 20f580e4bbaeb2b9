"""Lines for a terminal: wrapped between words, with commands and paths as they are typed from here."""

from __future__ import annotations

import re
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from songflow.runtime.programs import as_typed

__all__ = ["nearby", "plain", "print_wrapped", "printable", "prose", "wrapped"]

_INDENT = 2
# A command in backquotes is one word.
_WORD = re.compile(r"\S*`[^`]+`\S*|\S+")


def printable(text: str) -> str:
    """A text of others on one line, without escape sequences or marks that reorder it."""
    return "".join(char if char.isprintable() else " " if char.isspace() else "" for char in text)


def plain(text: str) -> Text:
    """Text of others for a terminal: one line, without markup, escape sequences or marks that reorder it."""
    return Text(printable(text))


def prose(text: str) -> Text:
    """Our own text for a terminal, as `plain`, with commands as they can be typed here."""
    return plain(as_typed(text))


def print_wrapped(console: Console, text: Text) -> None:
    """Print a line; in a terminal it is continued on indented lines, and no word is divided."""
    if not console.is_terminal:
        console.print(text)
        return
    for line in wrapped(text, console.width):
        console.print(line)


def wrapped(text: Text, width: int) -> list[Text]:
    """A text as lines of at most so many cells, the first one's margin and more before the others; words stay whole."""
    plain_text = text.plain
    margin = len(plain_text) - len(plain_text.lstrip())
    breaks: list[int] = []
    start, end = 0, 0
    for word in _WORD.finditer(plain_text, margin):
        indent = margin + _INDENT if breaks else 0
        if end > start and indent + cell_len(plain_text[start : word.end()]) > width:
            breaks.append(word.start())
            start = word.start()
        end = word.end()
    first, *others = text.divide(breaks)
    indented = [Text(" " * (margin + _INDENT)).append_text(line) for line in others]
    for line in (first, *indented):
        line.rstrip()
    return [first, *indented]


def nearby(path: str | Path) -> str:
    """A path as it is shortest from here."""
    try:
        return printable(str(Path(path).relative_to(Path.cwd())))
    except (ValueError, OSError):
        return printable(str(path))
