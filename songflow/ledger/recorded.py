"""What gateways answered to the newest requests, for a report on a problem."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from songflow.ledger import schema
from songflow.ledger.engine import Database

__all__ = ["RecordedRequest", "newest_requests"]

_FACTS = (
    "state", "gateway", "base_url", "model_type", "mode", "price", "error", "generation_id",
    "intended_at", "sending_at", "answered_at", "running_at", "settled_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One POST.

    Attributes:
        facts: From its row of the ledger, without the account: state, times (ISO 8601, UTC), error, ids.
        settings: Paths and shape of its gateway.
        answers: The raw answers, oldest first: `kind` (submit, fetch or poll), `status`, `headers`, `body`,
            `received_at`.
    """

    facts: Mapping[str, Any]
    settings: Mapping[str, Any]
    answers: tuple[Mapping[str, Any], ...]


async def newest_requests(database: Database, count: int) -> list[RecordedRequest]:
    """The newest `count` requests with their answers, oldest first."""
    submissions, answers = schema.submissions, schema.answers
    newest = (
        select(submissions).order_by(submissions.c.intended_at.desc(), submissions.c.id.desc()).limit(count)
    )
    async with database.read() as connection:
        rows = list((await connection.execute(newest)).mappings())[::-1]
        ids = [row["id"] for row in rows]
        stored = await connection.execute(
            select(answers).where(answers.c.submission_id.in_(ids)).order_by(answers.c.id)
        )
        of_submission: dict[str, list[Mapping[str, Any]]] = {}
        for row in stored.mappings():
            of_submission.setdefault(row["submission_id"], []).append(_answer(dict(row)))
    return [_request(dict(row), tuple(of_submission.get(row["id"], ()))) for row in rows]


def _request(row: Mapping[str, Any], answers: tuple[Mapping[str, Any], ...]) -> RecordedRequest:
    facts = {name: _plain(row[name]) for name in _FACTS} | {"track_ids": json.loads(row["track_ids"])}
    dialect = json.loads(row["dialect"])
    settings = {name: dialect[name] for name in ("submit_path", "fetch_path", "shape") if name in dialect}
    return RecordedRequest(facts, settings, answers)


def _answer(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kind": row["kind"],
        "status": row["status"],
        "headers": json.loads(row["headers"]),
        "body": row["body"],
        "received_at": _plain(row["received_at"]),
    }


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value
