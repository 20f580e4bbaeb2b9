"""Everything that the room shows of one song."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import select

from songflow.families.registry import fields_of_bodies
from songflow.ledger import schema
from songflow.ledger.ledger import Ledger
from songflow.listening.index import Index
from songflow.listening.search import cards_of

__all__ = ["details"]

_songs = schema.songs
_MOST_RELATIVES = 200
_OF_FILE = ("bytes", "sha256", "audio_sha256", "sample_rate", "channels", "peak")


async def details(ledger: Ledger, index: Index, number: int) -> dict[str, Any] | None:
    """A song's card with its lyrics, request, measures, takes, lineage and judgements; None if there is no such song.

    `takes` are the songs of its generation, `ancestors` lead from its parent to the first song, and `extensions` are
    the songs that extend it: all as cards.
    """
    if await ledger.songs.find(number) is None:
        return None
    origin = await ledger.songs.origin(number)
    song, submission = origin.song, origin.submission
    async with ledger.database.read() as connection:
        found = await connection.execute(select(schema.measures).where(schema.measures.c.song == number))
        measured = found.mappings().one_or_none()
        extended = await connection.execute(
            select(_songs.c.id).where(_songs.c.parent_song_id == song.song_id).limit(_MOST_RELATIVES)
        )
        extensions = [] if song.song_id is None else list(extended.scalars())
    cards = index.cards([number])
    return {
        **(cards[0] if cards else {"id": number}),
        "lyrics": song.lyrics,
        "key": song.key,
        "generation_id": submission.generation_id,
        "submission": submission.ordinal,
        "price": submission.price,
        "intended_at": submission.intended_at.isoformat(),
        "settled_at": submission.settled_at.isoformat() if submission.settled_at else None,
        "fields": _fields(origin.generation.body),
        "file": None if song.path is None else PurePosixPath(song.path).name,
        **{name: getattr(song, name) for name in _OF_FILE},
        "measures": None if measured is None else _measures(dict(measured)),
        "takes": index.cards(await _of_submission(ledger, song.submission_id)),
        "ancestors": _ancestors(index, song.parent_song_id),
        "extensions": index.cards(extensions),
        "judgements": [
            {
                "id": one.id, "kind": one.kind, "value": one.value, "other_song": one.other_song, "by": one.by,
                "at": one.at.isoformat() if one.at else None, "undone": one.undone_at is not None,
            }
            for one in await ledger.judgements.of_song(number)
        ],
    }  # fmt: skip


async def _of_submission(ledger: Ledger, submission_id: str) -> list[int]:
    return [song.id for song in await ledger.songs.of_submission(submission_id)]


def _ancestors(index: Index, parent: str | None) -> list[dict[str, Any]]:
    """The cards from a parent to its first ancestor that is in the library."""
    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    while parent is not None and parent not in seen and len(found) < _MOST_RELATIVES:
        seen.add(parent)
        rows = index.database.execute(
            "SELECT place FROM listing WHERE song_id = ? ORDER BY song DESC LIMIT 1", (parent,)
        ).fetchall()
        if not rows:
            break
        found += cards_of(index.database, [rows[0][0]])
        parent = found[-1]["parent_song_id"]
    return found


def _fields(body: str) -> dict[str, Any]:
    """All fields of a request that have a value."""
    [fields] = fields_of_bodies([json.loads(body)])
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}


def _measures(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in {"song", "version", "measured_at"}}
