"""Text for people: untrusted strings on one line."""

from __future__ import annotations

import unicodedata

__all__ = ["one_line"]


def one_line(text: object, length: int = 60) -> str:
    """Render untrusted text as one line of at most `length` characters.

    Control characters, and marks that reorder text, become spaces.
    """
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in str(text))
    line = " ".join(visible.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"
