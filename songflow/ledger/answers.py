"""The gateways' raw answers: stored in the transaction that acts on them, and read again where an id is in doubt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, select

from songflow.gateways import candidate_ids
from songflow.ledger import schema
from songflow.ledger.engine import Connection
from songflow.ledger.rows import StoredAnswer, clean_text

__all__ = ["FORMER_IDS", "POLL", "SUBMIT", "ids_in_answers", "last_submit_answer", "store_answer"]

SUBMIT, POLL, FORMER_IDS = "submit", "poll", "former ids"
"""Kinds of answers: to a POST, the last one of a wait that ended without a song, and ids that were given up."""

_answers = schema.answers
_STORE_ANSWER = insert(_answers)
_FORGET_POLL = delete(_answers).where(_answers.c.submission_id == bindparam("which"), _answers.c.kind == POLL)


async def store_answer(
    connection: Connection, submission_id: str, kind: str, answer: Mapping[str, Any]
) -> None:
    """Store a gateway's raw answer: `status`, `headers`, `body`; that of a poll replaces the one of an earlier wait."""
    if kind == POLL:
        await connection.execute(_FORGET_POLL, {"which": submission_id})
    await connection.execute(
        _STORE_ANSWER,
        {
            "submission_id": submission_id,
            "kind": kind,
            "status": answer.get("status"),
            "headers": json.dumps(dict(answer.get("headers", {}))),
            "body": clean_text(answer["body"]),
            "received_at": datetime.now(UTC),
        },
    )


async def last_submit_answer(connection: Connection, submission_id: str) -> StoredAnswer | None:
    """The last raw answer to a submission's POST, if there was one."""
    rows = await connection.execute(
        select(_answers.c.status, _answers.c.headers, _answers.c.body)
        .where(_answers.c.submission_id == submission_id, _answers.c.kind == SUBMIT)
        .order_by(_answers.c.id.desc())
        .limit(1)
    )
    found = rows.first()
    return None if found is None else StoredAnswer(found.status, json.loads(found.headers), found.body)


async def ids_in_answers(connection: Connection, submission_id: str) -> list[str]:
    """Every id that may name a submission's generation: of the raw answer to its POST, and its former ids."""
    rows = await connection.execute(
        select(_answers.c.body)
        .where(_answers.c.submission_id == submission_id, _answers.c.kind.in_([SUBMIT, FORMER_IDS]))
        .order_by(_answers.c.id)
    )
    return list(dict.fromkeys(one for row in rows for one in candidate_ids(row.body)))
