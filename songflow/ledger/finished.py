"""Finished copies of songs: which file was made of which song with which settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import select

from songflow.ledger import schema
from songflow.ledger.engine import Database
from songflow.ledger.upsert import upsert

__all__ = ["FinishedCopies", "FinishedCopy"]

_finished = schema.finished


@dataclass(frozen=True, slots=True)
class FinishedCopy:
    """A finished copy of a song.

    Attributes:
        path: Where it is: an absolute path, or a URL.
        song: The number of the song's row.
        sha256, bytes, seconds: Its hash, size and length.
        settings: How it was made, as JSON.
        made_at: When.
    """

    path: str
    song: int
    sha256: str
    bytes: int
    seconds: float
    settings: str
    made_at: datetime

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> FinishedCopy:
        """A copy from its table row."""
        return cls(**{one.name: row[one.name] for one in fields(cls)})


class FinishedCopies:
    """Transactions on finished copies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, copy: FinishedCopy) -> None:
        """Record a copy; what was at its path before is forgotten."""
        row = asdict(copy)
        async with self._database.write("finished") as connection:
            await upsert(connection, _finished, row, replace=tuple(name for name in row if name != "path"))

    async def of_song(self, row_id: int) -> list[FinishedCopy]:
        """The copies of a song, by the number of its row, oldest first."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(_finished).where(_finished.c.song == row_id).order_by(_finished.c.made_at)
            )
            return [FinishedCopy.from_row(dict(row)) for row in rows.mappings()]
