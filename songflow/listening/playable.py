"""Songs that can be heard: stored, and not in the trash."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, FromClause, RowMapping, Select, select

from songflow.ledger import schema

__all__ = ["is_playable", "playable_row", "playable_songs"]

_songs, _measures = schema.songs, schema.measures
_SHOWN = ("id", "submission_id", "take", "title", "rms_db", "rating", "decision", "notes")


def is_playable(songs: FromClause = _songs) -> ColumnElement[bool]:
    """Whether a row of the songs, or of an alias of them, can be heard."""
    return songs.c.path.is_not(None) & songs.c.trashed_at.is_(None)


def playable_songs() -> Select[Any]:
    """Stored songs that are not in the trash, with what the player and the judging need of each."""
    return (
        select(*(_songs.c[name] for name in _SHOWN), _measures.c.loudness_lufs.label("loudness"))
        .outerjoin(_measures, _measures.c.song == _songs.c.id)
        .where(is_playable())
    )


def playable_row(row: RowMapping) -> dict[str, Any]:
    """A row of `playable_songs` as plain data for a browser."""
    return {name: row[name] for name in (*_SHOWN, "loudness")}
