"""Hints that a generation may have ended: what a gateway's callback leaves for whoever waits, in any process.

A hint is no fact. It makes a wait ask at once; nothing else reads it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select

from songflow.ledger import schema
from songflow.ledger.engine import Database
from songflow.ledger.states import State
from songflow.ledger.upsert import upsert

__all__ = ["Hint", "Hints"]

_hints, _submissions = schema.hints, schema.submissions
_WAITED_FOR = (State.ACCEPTED, State.RUNNING, State.OVERDUE)
_KEPT = timedelta(days=1)
# How far the clocks of the receiver and of whoever waits may be apart.
_CLOCK_DIFFERENCE = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class Hint:
    """A callback's subject; `mark` is the same if the same callback comes again."""

    mark: str
    gateway: str
    generation_id: str


class Hints:
    """The hints of a ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, hint: Hint) -> bool:
        """Commit a hint about a generation that may still be waited for.

        Returns:
            False if it came before, or concerns no such generation: then nothing is written.
        """
        waited = select(_submissions.c.id).where(
            _submissions.c.gateway == hint.gateway,
            _submissions.c.generation_id == hint.generation_id,
            _submissions.c.state.in_(_WAITED_FOR),
        )
        async with self._database.read() as connection:
            if (await connection.execute(waited)).first() is None:
                return False
        now = datetime.now(UTC)
        async with self._database.write("hint") as connection:
            await connection.execute(delete(_hints).where(_hints.c.at < now - _KEPT))
            return await upsert(
                connection,
                _hints,
                {
                    "mark": hint.mark,
                    "gateway": hint.gateway,
                    "generation_id": hint.generation_id,
                    "at": now,
                },
            )

    async def recent(self, seen: Collection[str]) -> list[Hint]:
        """The hints of the last seconds, without those whose marks were seen."""
        since = datetime.now(UTC) - _CLOCK_DIFFERENCE
        columns = (_hints.c.mark, _hints.c.gateway, _hints.c.generation_id)
        async with self._database.read() as connection:
            rows = await connection.execute(select(*columns).where(_hints.c.at > since))
            return [Hint(*row) for row in rows if row.mark not in seen]
