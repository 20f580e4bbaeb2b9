"""A take on a page of Prefect's UI: its player, its facts, and where to hear and rate it."""

from __future__ import annotations

from collections.abc import Sequence

from songflow.catalog.judging import BEST_RATING
from songflow.ledger.rows import Song
from songflow.library.source_check import contains_source, seam_of
from songflow.settings import PageSettings
from tasks.ui.links import NO_LINKS, FormLinks
from tasks.ui.markdown import escape, web_link
from tasks.ui.players import Players

__all__ = ["length_of", "length_text", "stored_at", "take_block", "take_links"]


def take_block(heading: str, song: Song, players: Players, *facts: str, links: FormLinks = NO_LINKS) -> str:
    """A take as blocks of Markdown; `heading` and `facts` are escaped already."""
    about = [length_of(song), _rating_of(song), *facts]
    place = [f"id {escape(song.song_id)}" if song.song_id else "", stored_at(song.path), _note_of(song)]
    parts = [
        f"### {heading}",
        players.of(song),
        " · ".join(one for one in (*about, *_links(song, players.settings, links)) if one),
        " · ".join(one for one in place if one),
    ]
    return "\n\n".join(part for part in parts if part)


def _links(song: Song, settings: PageSettings, links: FormLinks) -> list[str]:
    """Links to the whole song, and to the form that extends it."""
    here = (
        (web_link("hear it whole, rate it", settings.song_url(song.id)), links.extend(song.song_id))
        if song.path
        else ()
    )
    return [link for link in (*here, web_link("at the gateway", song.song_url)) if link]


def stored_at(path: str | None) -> str | None:
    """A link if the store has http(s) addresses, else the file's path as text."""
    return (web_link("stored", path) or escape(path)) if path else None


def take_links(songs: Sequence[Song], settings: PageSettings) -> str:
    """Takes for a cell of a table: each title as a link to the song, and its rating."""
    return ", ".join(" ".join(filter(None, (_titled(song, settings), _rating_of(song)))) for song in songs)


def _titled(song: Song, settings: PageSettings) -> str:
    title = song.title or "untitled"
    if song.path is None:
        return f"{escape(title, 60)} (not stored)"
    urls = (settings.song_url(song.id), song.path, song.song_url)
    links = (web_link(title[:60], url) for url in urls)
    return next((link for link in links if link), escape(title, 60))


def length_of(song: Song) -> str:
    """The decoded length, else the announced one."""
    return length_text(song.seconds if song.seconds is not None else song.announced_seconds)


def length_text(seconds: float | None) -> str:
    """A length in seconds as text."""
    return f"{seconds:.1f} s" if seconds is not None else "unknown length"


def _rating_of(song: Song) -> str:
    """The rating as text; empty without one."""
    return f"rated {song.rating:g} of {BEST_RATING:g}" if song.rating is not None else ""


def _note_of(song: Song) -> str:
    """Why a take is not stored, or a remark on it, or how it holds its source."""
    if song.error or song.note:
        return escape(song.error or song.note)
    seam = seam_of(song)
    if seam is None or not contains_source(song):
        return ""
    return f"holds its source from {song.source_at:.1f} s; seam at {seam:.1f} s, {song.added_seconds:.1f} s added"
