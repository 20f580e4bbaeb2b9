"""Choices: the takes of a step that a recipe continues from, committed before the next step is paid for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select

from songflow.ledger import schema
from songflow.ledger.engine import Database
from songflow.ledger.rows import clean_text
from songflow.ledger.upsert import upsert

__all__ = ["Choice", "Choices"]

_choices = schema.choices


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen takes of a step, who or which rule chose them, and when (UTC)."""

    key: str
    song_ids: tuple[str, ...]
    chosen_by: str
    chosen_at: datetime


class Choices:
    """Choices by request key. A choice is made once: later callers, in any process, get the first one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: str) -> Choice | None:
        """The choice for a step's request key, or None."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(_choices).where(_choices.c.key == key))
            row = rows.mappings().one_or_none()
        if row is None:
            return None
        return Choice(row["key"], tuple(row["song_id"].split("\n")), row["chosen_by"], row["chosen_at"])

    async def choose(self, key: str, song_ids: Sequence[str], chosen_by: str) -> Choice:
        """Commit a choice unless the key has one; returns the committed choice, which may be an earlier one."""
        async with self._database.write("choice") as connection:
            await upsert(
                connection,
                _choices,
                {
                    "key": key,
                    "song_id": "\n".join(song_ids),  # a song's id never contains a newline
                    "chosen_by": clean_text(chosen_by),
                    "chosen_at": datetime.now(UTC),
                },
            )
        committed = await self.get(key)
        assert committed is not None, "it was committed here or before"
        return committed
