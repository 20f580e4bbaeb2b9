"""Rows of generations and submissions, read inside the caller's transaction.

Here and in the other modules of the ledger, statements that every generation needs are built once: SQLAlchemy takes
longer to build one and to look up its compiled form than SQLite takes to run it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    RowMapping,
    Table,
    bindparam,
    false,
    func,
    or_,
    select,
)

from songflow.families.registry import models_without_songs
from songflow.ledger import schema
from songflow.ledger.engine import Connection
from songflow.ledger.rows import Generation, Submission
from songflow.ledger.states import RULES

__all__ = [
    "is_one_of",
    "leading_submission",
    "lock_name",
    "makes_songs",
    "one_generation",
    "one_submission",
    "submissions_of",
]

_generations, _submissions = schema.generations, schema.submissions

_wanted: BindParameter[Any] = bindparam("wanted")
_ONE_SUBMISSION = select(_submissions).where(_submissions.c.id == _wanted)
_ONE_SUBMISSION_LOCKED = _ONE_SUBMISSION.with_for_update()
_SUBMISSIONS_OF = select(_submissions).where(_submissions.c.key == _wanted).order_by(_submissions.c.ordinal)
_LOCK_NAME = select(func.pg_advisory_xact_lock(bindparam("number", type_=BigInteger)))
_ONE_GENERATION = select(_generations).where(_generations.c.key == _wanted)
_ONE_GENERATION_LOCKED = _ONE_GENERATION.with_for_update()


def is_one_of(column: ColumnElement[Any], values: Iterable[Any]) -> ColumnElement[bool]:
    """Whether a column has one of a few values that are fixed when the statement is built.

    SQLAlchemy writes the list of an `IN` into the statement at each execution, which takes as long as the execution.
    """
    return or_(false(), *(column == value for value in values))


def makes_songs(submissions: Table) -> ColumnElement[bool]:
    """Whether a submission makes songs of its own: not a whole song that belongs to a new part's row."""
    model = submissions.c.model_type
    return model.is_(None) | model.not_in(models_without_songs())


def leading_submission(submissions: Sequence[Submission]) -> Submission | None:
    """The submission that represents a generation: the one of the highest rank, then the newest."""
    return max(submissions, key=lambda one: (RULES[one.state].rank, one.ordinal), default=None)


async def one_submission(connection: Connection, submission_id: str, lock: bool = False) -> Submission:
    statement = _ONE_SUBMISSION_LOCKED if lock else _ONE_SUBMISSION
    rows = await connection.execute(statement, {"wanted": submission_id})
    return Submission.from_row(dict(rows.mappings().one()))


async def lock_name(connection: Connection, name: str) -> None:
    """Take turns with other transactions that lock this name, until this one ends. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
        await connection.execute(_LOCK_NAME, {"number": number})


async def submissions_of(connection: Connection, key: str) -> list[Submission]:
    rows = await connection.execute(_SUBMISSIONS_OF, {"wanted": key})
    return [Submission.from_row(dict(row)) for row in rows.mappings()]


async def one_generation(connection: Connection, key: str, lock: bool = False) -> Generation | None:
    rows = await connection.execute(_ONE_GENERATION_LOCKED if lock else _ONE_GENERATION, {"wanted": key})
    row: RowMapping | None = rows.mappings().one_or_none()
    return None if row is None else Generation(**row)
