"""Summaries of many request keys, read in batches of 1,000."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, case, func, select

from songflow.gateways import Place, place_of
from songflow.ledger import schema
from songflow.ledger.engine import Database
from songflow.ledger.lease import Lease, ProcessIdentity
from songflow.ledger.states import RULES, Billed, SongState, State

__all__ = ["KeySummaries", "KeySummary", "PaidKey"]

_generations, _submissions, _songs = schema.generations, schema.submissions, schema.songs

# Databases accept about 30,000 parameters per statement; a thousand keys take a few milliseconds.
_CHUNK = 1000
# The newest generations that typical durations are computed from.
_HISTORY = 200


@dataclass(frozen=True, slots=True)
class KeySummary:
    """The state of one key and counts of its songs.

    Attributes:
        state: The state of the leading submission.
        dead: Whether no live process works on that submission.
        stored: Stored takes.
        missing: Takes that were announced and are not stored yet.
        spent: Units that are or may be billed, over all its submissions.
        error: The reason of a failure.
        generation_id: The gateway's id, if it returned one.
        sending_at: When its request was sent.
        settled_at: When it ended.
    """

    state: State
    dead: bool
    stored: int
    missing: int
    spent: float
    error: str | None
    generation_id: str | None
    sending_at: datetime | None
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class PaidKey:
    """A key under which a body was or may have been paid for, and the account that did it."""

    key: str
    place: Place
    key_fingerprint: str


class KeySummaries:
    """Reads summaries of many keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_keys(self, keys: Sequence[str]) -> dict[str, KeySummary]:
        """The summary of each key; keys without a submission are left out."""
        found: dict[str, KeySummary] = {}
        async with self._database.read() as connection:
            for start in range(0, len(keys), _CHUNK):
                chunk = keys[start : start + _CHUNK]
                rows = (
                    await connection.execute(_SUMMARY_ROWS.where(_submissions.c.key.in_(chunk)))
                ).mappings()
                of_key: dict[str, list[RowMapping]] = {}
                for row in rows:
                    of_key.setdefault(row["key"], []).append(row)
                found |= {key: _summary(rows_of_key) for key, rows_of_key in of_key.items()}
        return found

    async def of_bodies(self, body_hashes: Sequence[str]) -> list[PaidKey]:
        """The keys under which these bodies were or may have been paid for, oldest first for each body."""
        found: list[PaidKey] = []
        wanted = list(dict.fromkeys(body_hashes))
        async with self._database.read() as connection:
            for start in range(0, len(wanted), _CHUNK):
                chunk = wanted[start : start + _CHUNK]
                rows = await connection.execute(_PAID_KEYS.where(_generations.c.body_hash.in_(chunk)))
                found += [
                    PaidKey(row.key, place_of(row.gateway, row.base_url), row.key_fingerprint) for row in rows
                ]
        return found

    async def typical_seconds(self, gateway: str, model_type: str, mode: str) -> float | None:
        """The median seconds from acceptance to end of the newest generations of this kind; None without any."""
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
        """A run's POSTs that were sent, and the units that they cost or may cost."""
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
    "key", "ordinal", "state", "price", "error", "generation_id", "sending_at", "settled_at",
    "fence", "lease_host", "lease_boot", "lease_pid", "lease_start", "lease_expires_at",
)  # fmt: skip
_SUMMARY_ROWS = (
    select(
        *[_submissions.c[name] for name in _READ],
        _count(SongState.STORED).label("stored"),
        _count(SongState.ANNOUNCED).label("missing"),
    )
    .join(_songs, _songs.c.submission_id == _submissions.c.id, isouter=True)
    .group_by(_submissions.c.id)
)


_PAID_KEYS = (
    select(
        _generations.c.key,
        *[_submissions.c[name] for name in ("gateway", "base_url", "key_fingerprint")],
    )
    .join(_generations, _generations.c.key == _submissions.c.key)
    .where(_submissions.c.state.in_([state for state, rule in RULES.items() if rule.billed is not Billed.NO]))
    .order_by(_generations.c.created_at, _generations.c.key)
)


def _summary(rows: Iterable[RowMapping]) -> KeySummary:
    """Summarize one key from the rows of all its submissions."""
    known = sorted(rows, key=lambda row: (RULES[State(row["state"])].rank, row["ordinal"]))
    leading = known[-1]
    owner = ProcessIdentity(
        leading["lease_host"], leading["lease_boot"], leading["lease_pid"], leading["lease_start"]
    )
    state = State(leading["state"])
    return KeySummary(
        state=state,
        # Processes are looked up for unfinished submissions only: the others have none.
        dead=not RULES[state].then or Lease(owner, leading["fence"], leading["lease_expires_at"]).is_dead(),
        stored=leading["stored"],
        missing=leading["missing"],
        spent=sum(row["price"] for row in known if RULES[State(row["state"])].billed is not Billed.NO),
        error=leading["error"],
        generation_id=leading["generation_id"],
        sending_at=leading["sending_at"],
        settled_at=leading["settled_at"],
    )
