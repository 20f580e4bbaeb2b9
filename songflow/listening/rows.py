"""Song data for the listening room, from the ledger."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import RowMapping, func, select

from songflow.families.registry import compared_fields
from songflow.ledger import schema
from songflow.ledger.ledger import Ledger

__all__ = ["room_songs", "stored_path"]

_songs, _submissions, _generations = schema.songs, schema.submissions, schema.generations
_SHOWN = (
    "id", "submission_id", "take", "song_id", "title", "state", "error", "seconds", "mode", "parent_song_id",
    "root_song_id", "depth", "rating", "note", "rms_db",
)  # fmt: skip


async def room_songs(ledger: Ledger) -> list[dict[str, Any]]:
    """Every take, the newest generation first and takes in order, as plain data for a browser."""
    columns = [
        _songs.c[name] for name in (*_SHOWN, "path", "whole_path", "tags", "stored_at", "announced_at")
    ]
    statement = (
        select(*columns, _generations.c.body)
        .join(_generations, _generations.c.key == _songs.c.key)
        .join(_submissions, _submissions.c.id == _songs.c.submission_id)
        .order_by(_submissions.c.intended_at.desc(), _songs.c.submission_id, _songs.c.take)
    )
    async with ledger.database.read() as connection:
        return [_row(row) for row in (await connection.execute(statement)).mappings()]


async def stored_path(ledger: Ledger, row_id: int) -> str | None:
    """Path or URL of a stored song, by row id, or of the whole song that it was joined into; None if there is none."""
    async with ledger.database.read() as connection:
        found = await connection.execute(
            select(func.coalesce(_songs.c.whole_path, _songs.c.path)).where(_songs.c.id == row_id)
        )
        path: str | None = found.scalar_one_or_none()
        return path


def _row(row: RowMapping) -> dict[str, Any]:
    return {
        **{name: row[name] for name in _SHOWN},
        "tags": json.loads(row["tags"]),
        "stored": row["path"] is not None,
        "joined": row["whole_path"] is not None,
        "made_at": (row["stored_at"] or row["announced_at"]).isoformat(),
        "request": compared_fields(json.loads(row["body"])),
    }
