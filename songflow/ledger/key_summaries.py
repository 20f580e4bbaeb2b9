"""How many request keys stand at once, a query for a thousand of them: what plans, runs and views of sweeps read."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, case, func, select

from songflow.ledger import schema
from songflow.ledger.engine import Database
from songflow.ledger.lease import Lease, ProcessIdentity
from songflow.ledger.states import RULES, Billed, SongState, State

__all__ = ["KeySummaries", "KeySummary"]

_submissions, _songs = schema.submissions, schema.songs

# Databases take some 30,000 parameters at once; a thousand keys are a few milliseconds.
_CHUNK = 1000
# How long a kind of request takes: the newest ones say it best.
_HISTORY = 200


@dataclass(frozen=True, slots=True)
class KeySummary:
    """One key: the state that speaks for it, and what became of its songs.

    Attributes:
        state: That of the submission furthest along.
        dead: Whether no live process looks after that submission.
        stored: Its takes on the store.
        missing: Its takes that were announced and are not stored yet.
        spent: Units that are or may be billed, over all its submissions.
        error: Why it did not end well, where it did not.
        generation_id: The gateway's id, where it gave one.
        settled_at: When it ended.
    """

    state: State
    dead: bool
    stored: int
    missing: int
    spent: float
    error: str | None
    generation_id: str | None
    settled_at: datetime | None


class KeySummaries:
    """Reads of many keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_keys(self, keys: Sequence[str]) -> dict[str, KeySummary]:
        """How each key stands; keys without a submission are left out."""
        found: dict[str, KeySummary] = {}
        async with self._database.read() as connection:
            for start in range(0, len(keys), _CHUNK):
                chunk = keys[start : start + _CHUNK]
                rows = (await connection.execute(_STANDING.where(_submissions.c.key.in_(chunk)))).mappings()
                of_key: dict[str, list[RowMapping]] = {}
                for row in rows:
                    of_key.setdefault(row["key"], []).append(row)
                found |= {key: _standing(rows_of_key) for key, rows_of_key in of_key.items()}
        return found

    async def typical_seconds(self, gateway: str, model_type: str, mode: str) -> float | None:
        """The median time from accepted to ended of the newest such generations, in seconds; None without any."""
        columns = [_submissions.c[name] for name in ("ran_seconds", "answered_at", "settled_at")]
        statement = (
            select(*columns)
            .where(
                _submissions.c.gateway == gateway,
                _submissions.c.model_type == model_type,
                _submissions.c.mode == mode,
                _submissions.c.state == State.SUCCEEDED,
                _submissions.c.answered_at.is_not(None),
            )
            .order_by(_submissions.c.settled_at.desc())
            .limit(_HISTORY)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(statement)).mappings().all()
        took = [
            (row["settled_at"] - row["answered_at"]).total_seconds()
            if row["ran_seconds"] is None
            else row["ran_seconds"]
            for row in rows
        ]
        return statistics.median(took) if took else None

    async def of_run(self, budget_run: str) -> tuple[int, float]:
        """What a run has sent: POSTs that left, and the units that these cost or may cost."""
        billed = _submissions.c.state.in_(
            [state for state, rule in RULES.items() if rule.billed is not Billed.NO]
        )
        statement = select(
            func.count().label("posts"),
            func.coalesce(func.sum(case((billed, _submissions.c.price), else_=0.0)), 0.0).label("price"),
        ).where(
            _submissions.c.budget_run == budget_run,
            _submissions.c.sending_at.is_not(None),
            _submissions.c.state != State.UNSENT,
        )
        async with self._database.read() as connection:
            found = (await connection.execute(statement)).mappings().one()
        return int(found["posts"]), float(found["price"])


def _count(state: SongState) -> Any:
    return func.sum(case((_songs.c.state == state, 1), else_=0))


_READ = (
    "key", "ordinal", "state", "price", "error", "generation_id", "settled_at",
    "fence", "lease_host", "lease_boot", "lease_pid", "lease_start", "lease_expires_at",
)  # fmt: skip
_STANDING = (
    select(
        *[_submissions.c[name] for name in _READ],
        _count(SongState.STORED).label("stored"),
        _count(SongState.ANNOUNCED).label("missing"),
    )
    .join(_songs, _songs.c.submission_id == _submissions.c.id, isouter=True)
    .group_by(_submissions.c.id)
)


def _standing(rows: Iterable[RowMapping]) -> KeySummary:
    """The standing of one key from the rows of all its submissions."""
    known = sorted(rows, key=lambda row: (RULES[State(row["state"])].rank, row["ordinal"]))
    speaks = known[-1]
    owner = ProcessIdentity(
        speaks["lease_host"], speaks["lease_boot"], speaks["lease_pid"], speaks["lease_start"]
    )
    state = State(speaks["state"])
    return KeySummary(
        state=state,
        # Asked of the system for what is under way only: the rest has no process.
        dead=not RULES[state].then or Lease(owner, speaks["fence"], speaks["lease_expires_at"]).is_dead(),
        stored=speaks["stored"],
        missing=speaks["missing"],
        spent=sum(row["price"] for row in known if RULES[State(row["state"])].billed is not Billed.NO),
        error=speaks["error"],
        generation_id=speaks["generation_id"],
        settled_at=speaks["settled_at"],
    )
