"""Rows of generations and submissions, read inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from songflow.ledger import schema
from songflow.ledger.rows import Generation, Submission
from songflow.ledger.states import RULES

__all__ = ["one_generation", "one_submission", "speaker", "submissions_of"]

_generations, _submissions = schema.generations, schema.submissions


def speaker(submissions: Sequence[Submission]) -> Submission | None:
    """Of a generation's submissions, the one that speaks for it: the furthest along, then the newest."""
    return max(submissions, key=lambda one: (RULES[one.state].rank, one.ordinal), default=None)


async def one_submission(connection: AsyncConnection, submission_id: str, lock: bool = False) -> Submission:
    statement = select(_submissions).where(_submissions.c.id == submission_id)
    rows = await connection.execute(statement.with_for_update() if lock else statement)
    return Submission.from_row(dict(rows.mappings().one()))


async def submissions_of(connection: AsyncConnection, key: str) -> list[Submission]:
    rows = await connection.execute(
        select(_submissions).where(_submissions.c.key == key).order_by(_submissions.c.ordinal)
    )
    return [Submission.from_row(dict(row)) for row in rows.mappings()]


async def one_generation(connection: AsyncConnection, key: str, lock: bool = False) -> Generation | None:
    statement = select(_generations).where(_generations.c.key == key)
    rows = await connection.execute(statement.with_for_update() if lock else statement)
    row: RowMapping | None = rows.mappings().one_or_none()
    return None if row is None else Generation(**row)
