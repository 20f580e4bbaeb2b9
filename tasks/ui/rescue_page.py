"""The page of a rescue in Prefect's UI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from songflow.accounts import place_text
from songflow.generation.rescue import Rescued
from songflow.ledger.rows import Song
from songflow.settings import PageSettings, amount
from tasks.ui.markdown import escape, first_rows, table
from tasks.ui.players import MOST_HEARD, MOST_ROW_BYTES, Players
from tasks.ui.takes import take_block, take_links
from tasks.wording import worded

__all__ = ["collected_songs", "rescue_page"]

_HEAD = (
    "request key", "state", "billed", "gateway", "account", "generation id", "asked at", "songs", "why not", "next",
)  # fmt: skip


def rescue_page(
    found: Sequence[Rescued], takes: Mapping[str, Sequence[Song]], players: Players, unit: str
) -> str:
    """The generations that were paid for and not collected, with the result of the rescue, and collected songs.

    Args:
        found: The results.
        takes: The ledger's songs of each request key in them.
        players: Those of `collected_songs`.
        unit: The library's.
    """
    rows = first_rows(
        (_row(one, takes.get(one.key, ()), players.settings, unit) for one in found), MOST_ROW_BYTES
    )
    heard = collected_songs(found, takes)
    collected = sum(one.error is None for one in found)
    parts = [
        "# Rescue",
        f"Paid for and not collected: {len(found)}. Collected now: {collected}.",
        *(take_block(escape(song.title or "untitled"), song, players) for song in heard),
        "## All of them",
        table(_HEAD, rows),
    ]
    if len(rows) < len(found):
        parts.append(f"The first {len(rows)} of {len(found)} are shown; `songflow rescue --list` lists all.")
    return "\n\n".join(parts)


def collected_songs(found: Sequence[Rescued], takes: Mapping[str, Sequence[Song]]) -> list[Song]:
    """The songs that a rescue's page plays: stored takes of the first collected generations."""
    stored = (
        song for one in found if one.error is None for song in takes.get(one.key, ()) if song.path is not None
    )
    return list(islice(stored, MOST_HEARD))


def _row(one: Rescued, songs: Sequence[Song], settings: PageSettings, unit: str) -> tuple[str, ...]:
    return (
        escape(one.key),
        escape(one.state),
        f"{escape(one.billed)}, {amount(one.price, unit)}",
        escape(place_text(one.gateway, one.base_url)),
        escape(one.account),
        escape(one.generation_id or "none"),
        escape(one.asked_at),
        take_links(songs, settings) or "none",
        escape(worded(one.error or "")),
        escape(worded(one.next or "")),
    )
