"""A generation as a page of Prefect's UI.

Titles, tags and errors come from a foreign machine: they are shown as text, whatever they look like.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from songflow.accounts import place_text
from songflow.documents.text import one_line
from songflow.generation.rescue import Rescued
from songflow.ledger.rows import Song, Submission
from songflow.library.source_check import contains_source, seam_of
from songflow.settings import amount
from tasks.ui.links import NO_LINKS, FormLinks
from tasks.wording import worded

__all__ = ["artifact_key", "escape", "generation_page", "rescue_rows", "table", "web_link"]

# Every character with a meaning in Markdown; "." and ":" too, since "www.x.y" becomes a link.
_MARKS = re.compile(r"([\\`*_{}\[\]()#+.!|~:@^$-])")
_URL_SAFE = ":/?#@!&'*+,;=%~-._"


def escape(text: object, length: int = 300) -> str:
    """Escape a text to one line that Markdown and HTML show as plain text."""
    return html.escape(_MARKS.sub(r"\\\1", one_line(text, length)))


def web_link(label: str, url: str | None) -> str | None:
    """A link to an http(s) URL, with characters that would end the link percent-encoded; None for other URLs."""
    parts = urlsplit(url) if url else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return f"[{escape(label)}]({quote(url or '', safe=_URL_SAFE)})"


def artifact_key(key: str, name: str | None, kind: str = "song") -> str:
    """A unique artifact key (lower-case letters, digits, dashes) for what has a key, readable by its name."""
    readable = re.sub(r"[^a-z0-9]+", "-", (name or "").lower())[:60].strip("-")
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return "-".join(part for part in (kind, readable, digest) if part)


def generation_page(
    submission: Submission,
    params: Mapping[str, Any],
    songs: Sequence[Song],
    unit: str,
    links: FormLinks = NO_LINKS,
) -> str:
    """The page of one generation: its songs, their links, the price in the library's unit, and the request."""
    stored = [song for song in songs if song.path is not None]
    more = links.more() if links.flow in ("generate-song", "extend-song") else None
    facts = {
        "state": submission.state,
        "billed": f"{submission.billed}, {amount(submission.price, unit)}",
        "gateway": place_text(submission.gateway, submission.base_url),
        "account": submission.account,
        "generation id": submission.any_id or "none",
        "request key": submission.key,
        "flow run": submission.runs.flow_run_id or "none",
    }
    return "\n\n".join(
        [
            f"# {escape(songs[0].title if songs and songs[0].title else 'Generation')}",
            " ".join(filter(None, (f"{len(stored)} of {len(songs)} takes are stored.", more))),
            table(
                ("take", "title", "length", "hear it", "song id", "note"),
                (_song_row(song, links) for song in songs),
            ),
            "## What it cost",
            table(("", ""), ((escape(name), escape(value)) for name, value in facts.items())),
            "## How it was asked for",
            table(("field", "value"), _param_rows(params)),
        ]
    )


def rescue_rows(found: Sequence[Rescued], unit: str) -> list[dict[str, str]]:
    """The results of a rescue as rows of a table artifact; `unit` is the library's."""
    return [
        {
            "request key": escape(one.key),
            "state": escape(one.state),
            "billed": f"{escape(one.billed)}, {amount(one.price, unit)}",
            "gateway": escape(place_text(one.gateway, one.base_url)),
            "account": escape(one.account),
            "generation id": escape(one.generation_id or "none"),
            "asked at": escape(one.asked_at),
            "songs": f"{sum(song.path is not None for song in one.songs)} of {len(one.songs)} stored",
            "why not": escape(worded(one.error or "")),
            "next": escape(worded(one.next or "")),
        }
        for one in found
    ]


def _song_row(song: Song, links: FormLinks) -> tuple[str, ...]:
    seconds = song.seconds if song.seconds is not None else song.announced_seconds
    places = [escape(song.path) if song.path else None, web_link("at the gateway", song.song_url)]
    if song.path and "://" in song.path:
        places[0] = web_link("stored", song.path) or places[0]
    if song.path:
        places.append(links.extend(song.song_id))
    return (
        str(song.take + 1),
        escape(song.title or "untitled"),
        f"{seconds:.1f} s" if seconds is not None else "unknown",
        " · ".join(link for link in places if link) or "nowhere",
        escape(song.song_id or "none"),
        escape(song.error or song.note or _of_its_source(song)),
    )


def _of_its_source(song: Song) -> str:
    """Whether an extension contains its source, for people."""
    seam = seam_of(song)
    if seam is None or not contains_source(song):
        return ""
    return f"holds its source from {song.source_at:.1f} s; seam at {seam:.1f} s, {song.added_seconds:.1f} s added"


def _param_rows(params: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in params.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield escape(name), escape(text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells that are already escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
