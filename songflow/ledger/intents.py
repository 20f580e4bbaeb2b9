"""Commit the intent to pay, in one transaction before anything is sent."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import Integer, Select, bindparam, func, insert, or_, select, update

from songflow.families.registry import body_hash
from songflow.gateways import bills_nothing
from songflow.gateways.simulator import SIMULATOR
from songflow.ledger import schema
from songflow.ledger.engine import Connection
from songflow.ledger.lease import Lease
from songflow.ledger.money import reserve, stop_reason
from songflow.ledger.queries import (
    is_one_of,
    leading_submission,
    one_generation,
    one_submission,
    submissions_of,
)
from songflow.ledger.rows import Generation, Intent, Submission, lease_columns
from songflow.ledger.states import RULES, SongState, State
from songflow.ledger.upsert import upsert

__all__ = ["Claim", "Twin", "intend"]

_generations, _submissions, _songs = schema.generations, schema.submissions, schema.songs

_NEW_SUBMISSION = insert(_submissions).returning(*_submissions.c)

_BEFORE_THE_ANSWER = frozenset({State.INTENDED, State.SENDING})


@dataclass(frozen=True, slots=True)
class Claim:
    """The result of `intend`.

    Attributes:
        submission: The submission of the key: a new one, or the leading one of those it had.
        mine: True if it is `intended` under the caller's lease: only the caller may send it.
        conflict: The stored generation if the key belongs to another body.
        twin: The unsettled generation of the same body under another key, if there is one.
        stopped: The reason why no money may be spent.
    """

    submission: Submission | None = None
    mine: bool = False
    conflict: Generation | None = None
    twin: Twin | None = None
    stopped: str | None = None

    @property
    def refused(self) -> bool:
        """True if the transaction must be rolled back."""
        return self.twin is not None or self.stopped is not None


@dataclass(frozen=True, slots=True)
class Twin:
    """A generation of the same body under another key, unsettled or uncollected, whose process is dead."""

    key: str
    submission: Submission


async def intend(
    connection: Connection,
    intent: Intent,
    lease: Lease,
    stop_at_twin: bool,
    pay_again: frozenset[State],
) -> Claim:
    """Decide who pays for an intent, inside the caller's transaction; see `Submissions.intend`."""
    if await _insert_generation(connection, intent):
        twin = await _find_twin(connection, intent) if stop_at_twin else None
        return Claim(twin=twin) if twin is not None else await _admit(connection, intent, lease, ordinal=1)
    generation = await one_generation(connection, intent.key, lock=True)
    assert generation is not None, "the insert found its row"
    known = await submissions_of(connection, intent.key)
    return await _reattach(connection, intent, lease, generation, known, pay_again)


async def _insert_generation(connection: Connection, intent: Intent) -> bool:
    return await upsert(
        connection,
        _generations,
        {
            "key": intent.key,
            "body": intent.body,
            "body_hash": intent.body_hash,
            "hash_version": intent.hash_version,
            "created_at": datetime.now(UTC),
        },
    )


async def _reattach(
    connection: Connection,
    intent: Intent,
    lease: Lease,
    generation: Generation,
    known: Sequence[Submission],
    pay_again: frozenset[State],
) -> Claim:
    """Decide what a caller with an existing key may do: send, or reattach to its submission."""
    if not _same_body(generation, intent):
        return Claim(conflict=generation)
    if any(one.state is State.FAILED and _of_this_run(one, intent) for one in known):
        # `pay_again` is about failures before this run: a retry of the run must not pay again for its own failure.
        pay_again -= {State.FAILED}
    current = leading_submission(known)
    if current is None:
        return await _admit(connection, intent, lease, ordinal=1)
    if RULES[current.state].sends or current.state in pay_again:
        # A second attempt may be in flight although another one leads (an overdue one ranks higher): no third one.
        current = next((one for one in reversed(known) if one.state in _BEFORE_THE_ANSWER), current)
    if current.state is State.INTENDED and current.lease.is_dead():
        return await _take_over(connection, intent, lease, current)
    if RULES[current.state].sends or current.state in pay_again:
        return await _admit(connection, intent, lease, max(one.ordinal for one in known) + 1)
    return Claim(current)


async def _admit(connection: Connection, intent: Intent, lease: Lease, ordinal: int) -> Claim:
    """Insert a submission if money may be spent; pause switch, budgets and row are one transaction."""
    stopped = await _permit(connection, intent)
    if stopped is not None:
        return Claim(stopped=stopped)
    rows = await connection.execute(
        _NEW_SUBMISSION,
        {
            "id": _new_id(),
            "key": intent.key,
            "ordinal": ordinal,
            "state": State.INTENDED,
            "intended_at": datetime.now(UTC),
            **_account_columns(intent),
            **lease_columns(lease),
        },
    )
    return Claim(Submission.from_row(dict(rows.mappings().one())), mine=True)


def _new_id() -> str:
    """A UUID of version 7 (RFC 9562): it starts with the time, so new rows are adjacent in every index.

    A random one touches a different page with each row, which gets slower as the ledger grows.
    """
    milliseconds = time.time_ns() // 1_000_000
    return uuid.UUID(
        int=milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    ).hex


async def _take_over(connection: Connection, intent: Intent, lease: Lease, current: Submission) -> Claim:
    """Take over an intent of a dead process: its row gets a new fence, so that its old holder cannot send it."""
    found = await one_submission(connection, current.id, lock=True)
    if (found.state, found.lease.fence) != (State.INTENDED, current.lease.fence):
        return Claim(found)  # PostgreSQL: its holder resumed between the read and the lock
    stopped = await _permit(connection, intent, instead_of=current.id)
    if stopped is not None:
        return Claim(stopped=stopped)
    await connection.execute(
        update(_submissions)
        .where(_submissions.c.id == current.id)
        .values(**lease_columns(lease), **_account_columns(intent))
    )
    return Claim(await one_submission(connection, current.id), mine=True)


async def _permit(connection: Connection, intent: Intent, instead_of: str | None = None) -> str | None:
    """Reserve the price; returns the reason why nothing may be spent, or None."""
    stopped = await stop_reason(connection)
    return stopped or await reserve(
        connection,
        price=intent.price,
        day=intent.day,
        run=intent.budget_run,
        caps=intent.caps,
        instead_of=instead_of,
    )


def _of_this_run(submission: Submission, intent: Intent) -> bool:
    """Whether both belong to one root flow run. Without Prefect there are no automatic retries: each call is a run."""
    root = intent.runs.root_flow_run_id
    return root is not None and submission.runs.root_flow_run_id == root


def _same_body(generation: Generation, intent: Intent) -> bool:
    """Compare over the fields of the stored row's hash version, so that a field added later does not matter."""
    if generation.hash_version == intent.hash_version:
        return generation.body_hash == intent.body_hash
    return body_hash(json.loads(intent.body), generation.hash_version) == generation.body_hash


def _account_columns(intent: Intent) -> dict[str, Any]:
    return {
        "model_type": intent.model_type,
        "mode": intent.mode,
        "gateway": intent.gateway,
        "dialect": intent.dialect,
        "base_url": intent.base_url,
        "account": intent.account,
        "key_fingerprint": intent.key_fingerprint,
        "price": intent.price,
        "held": intent.price,
        "budget_day": intent.day,
        "budget_run": intent.budget_run,
        "flow_run_id": intent.runs.flow_run_id,
        "root_flow_run_id": intent.runs.root_flow_run_id,
        "task_run_id": intent.runs.task_run_id,
    }


async def _find_twin(connection: Connection, intent: Intent) -> Twin | None:
    """Find the oldest generation of the same body that may have been paid for and has no live process."""
    body = json.loads(intent.body)
    # The body's hash under each hash version up to the intent's own.
    hashes = {f"hash_{version}": body_hash(body, version) for version in range(1, intent.hash_version)}
    # Replicates of one cell are intended, and each is found by its own key.
    kin = {} if intent.kin is None else {"kin": intent.kin, "kin_length": len(intent.kin)}
    rows = await connection.execute(
        _twins(intent.hash_version, bills_nothing(intent.gateway), bool(kin)),
        {"own": intent.key, f"hash_{intent.hash_version}": intent.body_hash, **hashes, **kin},
    )
    for row in rows.mappings():
        submission = Submission.from_row(dict(row))
        if submission.is_left:
            return Twin(submission.key, submission)
    return None


@cache
def _twins(hash_version: int, simulated: bool, has_kin: bool) -> Select[Any]:
    """Select unsettled or uncollected generations under other keys by body hash, oldest first.

    Kin are left out here, so that a thousand replicates that are under way are not read for each further one.
    """
    uncollected = (
        select(_songs.c.id)
        .where(_songs.c.submission_id == _submissions.c.id, _songs.c.state == SongState.ANNOUNCED)
        .exists()
    )
    unsettled = [state for state, rule in RULES.items() if rule.unsettled]
    same_body = (
        (_generations.c.hash_version == version) & (_generations.c.body_hash == bindparam(f"hash_{version}"))
        for version in range(1, hash_version + 1)
    )
    # A simulated song costs nothing, so it does not block a paid one.
    same_kind = (
        _submissions.c.gateway == SIMULATOR.name if simulated else _submissions.c.gateway != SIMULATOR.name
    )
    start = func.substr(_generations.c.key, 1, bindparam("kin_length", type_=Integer))
    strangers = (start != bindparam("kin"),) if has_kin else ()
    return (
        select(_submissions)
        .join(_generations, _generations.c.key == _submissions.c.key)
        .where(
            or_(*same_body),
            _generations.c.key != bindparam("own"),
            *strangers,
            _submissions.c.written_off_at.is_(None),
            same_kind,
            is_one_of(_submissions.c.state, unsettled)
            | ((_submissions.c.state == State.SUCCEEDED) & uncollected),
        )
        .order_by(_submissions.c.intended_at)
    )
