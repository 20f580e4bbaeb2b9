"""The pace of submits: after a 429, all processes that use the same key slow down, then recover.

Each rate-limited key has one row, shared through the ledger. While it exists, each submit takes the next slot of
`pause` seconds; a 429 doubles the pause (or uses the gateway's Retry-After), an accepted submit halves it, and
below half a second the row is deleted.

This is the only reaction to a 429 that all processes share, with Prefect or without. Two limits act before a 429:
`tasks.limits` on submits of flow runs, and `songflow.sweeps.window` on the generations of one sweep.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import bindparam, delete, select, update

from songflow.ledger import schema
from songflow.ledger.engine import Database
from songflow.ledger.upsert import upsert

__all__ = ["LONGEST_PAUSE_SECONDS", "Pace"]

_paces = schema.paces
_PAUSE = select(_paces.c.pause).where(_paces.c.account == bindparam("wanted"))

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0
_FORGET_BELOW_SECONDS = 0.5


class Pace:
    """The submit rate of each key; `account` identifies gateway and key without containing the key."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def slot(self, account: str, longest: float = LONGEST_PAUSE_SECONDS) -> float | None:
        """Take the next slot; returns the seconds to wait for it, or None if this key is not limited.

        A slot that is more than `longest` seconds away is returned but not taken: the caller gives up, and an unused
        slot would delay all others.
        """
        async with self._database.read() as connection:
            known = await connection.execute(_PAUSE, {"wanted": account})
            if known.scalar() is None:
                return None
        async with self._database.write("pace") as connection:
            rows = await connection.execute(
                select(_paces).where(_paces.c.account == account).with_for_update()
            )
            row = rows.mappings().one_or_none()
            if row is None:
                return None
            now = datetime.now(UTC)
            # After a clock jump, submits must not wait longer than the longest pause.
            slot = min(max(now, row["not_before"]), now + timedelta(seconds=LONGEST_PAUSE_SECONDS))
            seconds: float = (slot - now).total_seconds()
            if seconds <= longest:
                await connection.execute(
                    update(_paces)
                    .where(_paces.c.account == account)
                    .values(not_before=slot + timedelta(seconds=row["pause"]))
                )
            return seconds

    async def slow_down(self, account: str, asked: float | None, *, paced: bool = True) -> None:
        """Record a 429; `asked` is its Retry-After in seconds, if present.

        `paced` is False for a request that was sent without a pause: of fifty concurrent requests that are refused,
        only the first one changes the pause.
        """
        async with self._database.write("pace") as connection:
            rows = await connection.execute(
                select(_paces.c.pause, _paces.c.not_before)
                .where(_paces.c.account == account)
                .with_for_update()
            )
            row = rows.one_or_none()
            before = None if row is None else row.pause
            doubled = FIRST_PAUSE_SECONDS if before is None else (2 * before if paced else before)
            pause = min(max(doubled, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            wait = min(pause if asked is None else max(asked, pause), LONGEST_PAUSE_SECONDS)
            not_before = datetime.now(UTC) + timedelta(seconds=wait)
            # Slots were handed out already until then: earlier ones between them would make the requests closer.
            if row is not None and asked is None and paced:
                not_before = max(not_before, row.not_before)
            values = {"pause": pause, "not_before": not_before}
            await upsert(connection, _paces, {"account": account, **values}, replace=tuple(values))

    async def speed_up(self, account: str) -> None:
        """Record an accepted submit: halve the pause, and delete a short one."""
        async with self._database.write("pace") as connection:
            await connection.execute(
                delete(_paces).where(_paces.c.account == account, _paces.c.pause < 2 * _FORGET_BELOW_SECONDS)
            )
            await connection.execute(
                update(_paces).where(_paces.c.account == account).values(pause=_paces.c.pause / 2)
            )
