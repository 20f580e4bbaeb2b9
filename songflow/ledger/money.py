"""Money: counters of spent and reserved units, their caps, and the pause of spending.

A submission is counted three times: for its library, its day (UTC) and its run. A price is *reserved* in the
transaction that writes the intent, becomes *spent* when the gateway accepts, and is released when nothing is
billed. An unknown outcome keeps its reservation until it is settled. Each counter is one row that is changed
by one conditional UPDATE, so that any number of processes together never exceed a cap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, RowMapping, Update, bindparam, delete, select, update

from songflow.ledger import schema
from songflow.ledger.engine import Connection, Database
from songflow.ledger.rows import Caps, clean_text
from songflow.ledger.states import State
from songflow.ledger.upsert import upsert
from songflow.settings import amount, number_text

__all__ = [
    "COUNTED",
    "LIBRARY_SCOPE",
    "Balance",
    "Money",
    "count_reserved",
    "count_spent",
    "release_held",
    "reserve",
    "settle_money",
    "stop_reason",
]

_budgets, _submissions, _switches = schema.budgets, schema.submissions, schema.switches

LIBRARY_SCOPE = "library"
_SPENDING = "spending"
_NO_CAP = 1e18
# Binary sums of decimal prices are slightly off; a cap of 10 must still allow a hundred songs at 0.1.
_ROUNDING = 1e-6


_wanted: BindParameter[Any] = bindparam("wanted")
_STOPPED = select(_switches).where(_switches.c.name == _SPENDING)
_RESERVE = (
    update(_budgets)
    .where(
        _budgets.c.scope == _wanted,
        _budgets.c.spent + _budgets.c.reserved + bindparam("price") <= bindparam("cap"),
    )
    .values(reserved=_budgets.c.reserved + bindparam("price"))
)
COUNTED = tuple(
    _submissions.c[name] for name in ("id", "price", "held", "refunded", "budget_day", "budget_run")
)
"""The columns of a submission that a change of its counters needs."""

# Locked: every transaction locks the submission before the counters, so that there are no deadlocks.
_COUNTED_ROW = select(*COUNTED).where(_submissions.c.id == _wanted).with_for_update()
_SET = update(_submissions).where(_submissions.c.id == _wanted)


@dataclass(frozen=True, slots=True)
class Balance:
    """One counter: units spent, units reserved (in flight or unknown), and units refunded."""

    scope: str
    spent: float
    reserved: float
    refunded: float


def scopes_of(day: str, run: str | None) -> list[str]:
    """The counters of a submission, the library's first: every transaction locks them in this order."""
    return [LIBRARY_SCOPE, f"day:{day}", *([f"run:{run}"] if run else [])]


async def stop_reason(connection: Connection) -> str | None:
    """The reason why spending is paused (`songflow pause`), or None."""
    rows = await connection.execute(_STOPPED)
    row = rows.mappings().one_or_none()
    if row is None:
        return None
    note = f": {row['reason']}" if row["reason"] else ""
    return f"spending is paused for this library since {row['since']:%Y-%m-%d %H:%M} UTC{note}"


async def reserve(
    connection: Connection,
    *,
    price: float,
    day: str,
    run: str | None,
    caps: Caps,
    instead_of: str | None = None,
) -> str | None:
    """Reserve a price on its counters; returns the reason why it cannot be reserved, or None.

    `instead_of` is the submission whose reservation this one replaces. If a reason is returned, the caller rolls its
    transaction back, and with it the counters that were changed before the full one.
    """
    scopes = scopes_of(day, run)
    # Before any counter is locked: inserting a row blocks others that insert it until the commit.
    await _make_rows(connection, scopes)
    if instead_of is not None:
        await release_held(connection, instead_of)
    limits = dict(zip(scopes, (caps.total, caps.per_day, caps.per_run), strict=False))
    for scope in scopes:
        cap = limits[scope]
        limit = _NO_CAP if cap is None else cap + _ROUNDING
        moved = await connection.execute(_RESERVE, {"wanted": scope, "price": price, "cap": limit})
        if moved.rowcount == 0:
            return await _over(connection, scope, price, cap or 0.0)
    return None


async def count_spent(connection: Connection, *, price: float, day: str, run: str | None = None) -> None:
    """Count a price that was paid without this ledger; no cap applies, because it is spent already."""
    await _count(connection, scopes_of(day, run), spent=price)


async def count_reserved(connection: Connection, *, price: float, day: str, run: str | None) -> None:
    """Reserve a price that may have been paid without this ledger; no cap applies."""
    await _count(connection, scopes_of(day, run), reserved=price)


async def _count(connection: Connection, scopes: Sequence[str], **changes: float) -> None:
    await _make_rows(connection, scopes)
    by = {f"{name}_by": change for name, change in changes.items()}
    await connection.execute(_move_by(tuple(changes)), [{"wanted": scope, **by} for scope in scopes])


async def settle_money(connection: Connection, row: RowMapping, to: State, *, refund: bool) -> None:
    """Update the counters for a submission's new state, in the transaction that has changed its row."""
    if to is State.ACCEPTED:
        # Without a reservation (written off meanwhile) it counts as spent all the same.
        await _move(connection, row, reserved=-row["held"], spent=row["price"])
        await _set(connection, row, held=0.0)
    elif to in {State.REFUSED, State.UNSENT}:
        await _release(connection, row)
    elif to is State.FAILED and refund:
        await _move(connection, row, spent=-row["price"], refunded=row["price"])
        await _set(connection, row, refunded=row["price"])
    elif to is State.SUCCEEDED and row["refunded"]:
        await _move(connection, row, spent=row["refunded"], refunded=-row["refunded"])
        await _set(connection, row, refunded=0.0)


async def release_held(connection: Connection, submission_id: str) -> None:
    """Release a submission's reservation: nothing is billed, or it was written off."""
    rows = await connection.execute(_COUNTED_ROW, {"wanted": submission_id})
    await _release(connection, rows.mappings().one())


async def _release(connection: Connection, row: RowMapping) -> None:
    if row["held"]:
        await _move(connection, row, reserved=-row["held"])
        await _set(connection, row, held=0.0)


async def _set(connection: Connection, row: RowMapping, **values: float) -> None:
    await connection.execute(_SET, {"wanted": row["id"], **values})


async def _move(connection: Connection, row: RowMapping, **changes: float) -> None:
    by = {f"{name}_by": change for name, change in changes.items()}
    scopes = scopes_of(row["budget_day"], row["budget_run"])
    await connection.execute(_move_by(tuple(changes)), [{"wanted": scope, **by} for scope in scopes])


@cache
def _move_by(counters: tuple[str, ...]) -> Update:
    changed = {name: _budgets.c[name] + bindparam(f"{name}_by") for name in counters}
    return update(_budgets).where(_budgets.c.scope == _wanted).values(changed)


async def _make_rows(connection: Connection, scopes: Sequence[str]) -> None:
    rows = [{"scope": scope, "spent": 0.0, "reserved": 0.0, "refunded": 0.0} for scope in scopes]
    await upsert(connection, _budgets, rows)


async def _over(connection: Connection, scope: str, price: float, cap: float) -> str:
    row = (await connection.execute(select(_budgets).where(_budgets.c.scope == scope))).mappings().one()
    kind = {"library": "The library's budget", "day": "Today's budget", "run": "This run's budget"}
    return (
        f"{kind[scope.partition(':')[0]]} of {amount(cap)} is used up: {number_text(row['spent'])} are spent, "
        f"{number_text(row['reserved'])} reserved, and this costs {number_text(price)}"
    )


class Money:
    """Balances, and pausing and resuming of spending."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def balance(self, scope: str = LIBRARY_SCOPE) -> Balance:
        """The current value of one counter."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(_budgets).where(_budgets.c.scope == scope))
            row = rows.mappings().one_or_none()
        return Balance(**row) if row is not None else Balance(scope, 0.0, 0.0, 0.0)

    async def pause(self, reason: str | None = None) -> None:
        """Stop all new spending of this library in every process; running generations are still collected."""
        values = {"since": datetime.now(UTC), "reason": clean_text(reason)}
        async with self._database.write("pause") as connection:
            await upsert(connection, _switches, {"name": _SPENDING, **values}, replace=tuple(values))

    async def resume(self) -> bool:
        """Allow spending again; False if it was not paused."""
        async with self._database.write("resume") as connection:
            result = await connection.execute(delete(_switches).where(_switches.c.name == _SPENDING))
            return result.rowcount == 1

    async def stop_reason(self) -> str | None:
        """The reason why spending is paused, or None."""
        async with self._database.read() as connection:
            return await stop_reason(connection)
