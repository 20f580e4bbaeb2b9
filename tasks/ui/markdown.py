"""Text for pages of Prefect's UI.

Titles, tags and errors come from a foreign machine: they are shown as text, whatever they look like.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote, urlsplit

from songflow.documents.text import one_line

__all__ = ["artifact_key", "escape", "first_rows", "table", "web_link"]

# Every character with a meaning in Markdown; "." and ":" too, since "www.x.y" becomes a link.
_MARKS = re.compile(r"([\\`*_{}\[\]()#+.!|~:@^$-])")
_URL_SAFE = ":/?#@!&'*+,;=%~-._"


def escape(text: object, length: int = 300) -> str:
    """Escape a text to one line that Markdown and HTML show as plain text."""
    return html.escape(_MARKS.sub(r"\\\1", one_line(text, length)))


def web_link(label: str, url: str | None) -> str | None:
    """A link to an http(s) URL, with characters that would end the link percent-encoded; None for other URLs."""
    try:
        parts = urlsplit(url) if url else None
    except ValueError:  # such as an address with one bracket
        parts = None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return f"[{escape(label)}]({quote(url or '', safe=_URL_SAFE)})"


def artifact_key(key: str, name: str | None, kind: str = "song") -> str:
    """A unique artifact key (lower-case letters, digits, dashes) for what has a key, readable by its name."""
    readable = re.sub(r"[^a-z0-9]+", "-", (name or "").lower())[:60].strip("-")
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return "-".join(part for part in (kind, readable, digest) if part)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells that are already escaped."""
    return "\n".join(map(_table_line, [head, ["---"] * len(head), *rows]))


def first_rows(rows: Iterable[Sequence[str]], most_bytes: int) -> list[Sequence[str]]:
    """The first rows of a table that take at most so many bytes of a page."""
    found: list[Sequence[str]] = []
    for row in rows:
        most_bytes -= len(_table_line(row).encode()) + 1
        if most_bytes < 0:
            break
        found.append(row)
    return found


def _table_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
