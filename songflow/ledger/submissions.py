"""Generations and their submissions: each method is one committed transaction of the paid step."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from songflow.ledger import schema
from songflow.ledger.engine import Database
from songflow.ledger.lease import Lease
from songflow.ledger.rows import Generation, Intent, Submission, clean_text, json_list, lease_columns
from songflow.ledger.states import RULES, SongState, State, sources_of
from songflow.request import body_hash

__all__ = ["Claim", "Submissions", "Twin"]

_generations, _submissions, _songs = schema.generations, schema.submissions, schema.songs


@dataclass(frozen=True, slots=True)
class Claim:
    """What `intend` found or made.

    `mine` is True where the submission is in state `intended` under the caller's lease: the caller, and
    nobody else, may send it. `conflict` is the stored generation where the key stands for another body.
    """

    submission: Submission | None = None
    mine: bool = False
    conflict: Generation | None = None
    twin: Twin | None = None


@dataclass(frozen=True, slots=True)
class Twin:
    """A generation of the same body under another key, unsettled or uncollected, whose process is dead."""

    key: str
    submission: Submission


class Submissions:
    """The paid step's transactions. Every move is a compare-and-set: it says whether it happened."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def intend(
        self, intent: Intent, lease: Lease, *, stop_at_twin: bool = True, retry_failed: bool = False
    ) -> Claim:
        """Commit the intent to pay, or find what the key already stands for.

        Args:
            intent: What is to be paid for.
            lease: The caller's lease; it is stored only where the caller may send.
            stop_at_twin: Look for an unsettled generation of the same body before a new one is made.
            retry_failed: Allow a new submission where the last one failed at the gateway.
        """
        async with self._database.write() as connection:
            inserted = await self._insert_generation(connection, intent)
            if inserted:
                twin = await _find_twin(connection, intent) if stop_at_twin else None
                if twin is not None:
                    await connection.rollback()
                    return Claim(twin=twin)
                return Claim(await _add_submission(connection, intent, lease, ordinal=1), mine=True)
            generation = await _generation(connection, intent.key, lock=True)
            assert generation is not None, "the insert found it there"
            known = await _submissions_of(connection, intent.key)
            return await _reattach(connection, intent, lease, generation, known, retry_failed)

    async def _insert_generation(self, connection: AsyncConnection, intent: Intent) -> bool:
        insert_on = sqlite.insert if self._database.is_sqlite else postgresql.insert
        result = await connection.execute(
            insert_on(_generations)
            .values(
                key=intent.key,
                body=intent.body,
                body_hash=intent.body_hash,
                hash_version=intent.hash_version,
                created_at=datetime.now(UTC),
            )
            .on_conflict_do_nothing(index_elements=["key"])
        )
        return result.rowcount == 1

    async def begin_send(self, submission_id: str, lease: Lease) -> bool:
        """`intended` -> `sending`, only for the holder of the fence; False: somebody else has it, do not send."""
        return await self._move(
            submission_id,
            State.SENDING,
            {"sending_at": datetime.now(UTC), "lease_expires_at": lease.expires_at},
            fence=lease.fence,
        )

    async def accepted(
        self,
        submission_id: str,
        generation_id: str | None,
        track_ids: Sequence[str],
        answer: Mapping[str, Any] | None,
        lease: Lease | None = None,
    ) -> bool:
        """`sending` or `unknown` -> `accepted`, with the ids and the raw answer."""
        values: dict[str, Any] = {
            "generation_id": clean_text(generation_id),
            "track_ids": json_list(track_ids),
            "answered_at": datetime.now(UTC),
            "settled_at": None,
            "error": None,
        }
        if lease is not None:
            values |= lease_columns(lease)
        return await self._move(submission_id, State.ACCEPTED, values, answer=answer)

    async def settle_sending(
        self, submission_id: str, to: State, error: str, answer: Mapping[str, Any] | None = None
    ) -> bool:
        """The end of a POST that was not accepted: `unsent`, `refused` or `unknown`. Nobody is at work on it then."""
        now = datetime.now(UTC)
        values = {"error": clean_text(error), "settled_at": now, "lease_expires_at": now}
        return await self._move(submission_id, to, values, answer=answer)

    async def unknown(self, submission_id: str, fence: str, error: str) -> bool:
        """`sending` -> `unknown` for a sender found dead; the fence makes sure that it is still that sender's."""
        return await self._move(
            submission_id, State.UNKNOWN, {"error": error, "settled_at": datetime.now(UTC)}, fence=fence
        )

    async def running(self, submission_id: str) -> bool:
        """The gateway says that it works on it."""
        return await self._move(submission_id, State.RUNNING, {"running_at": datetime.now(UTC)})

    async def stop_waiting(self, submission_id: str, to: State, error: str) -> bool:
        """`overdue`, `lost` or `failed`: why we no longer wait."""
        settled = {"settled_at": datetime.now(UTC)} if to is not State.OVERDUE else {}
        return await self._move(submission_id, to, {"error": clean_text(error), **settled})

    async def hold(self, submission_id: str, lease: Lease) -> None:
        """Say that this process now waits for or collects it."""
        async with self._database.write() as connection:
            await connection.execute(
                update(_submissions).where(_submissions.c.id == submission_id).values(lease_columns(lease))
            )

    async def release(self, submission_id: str, fence: str) -> None:
        """Say that nobody is at work on it any more (only by the lease's holder)."""
        await self._update_where_fence(submission_id, fence, {"lease_expires_at": datetime.now(UTC)})

    async def _update_where_fence(self, submission_id: str, fence: str, values: Mapping[str, Any]) -> None:
        async with self._database.write() as connection:
            await connection.execute(
                update(_submissions)
                .where(_submissions.c.id == submission_id, _submissions.c.fence == fence)
                .values(values)
            )

    async def get(self, submission_id: str) -> Submission:
        """One submission as it stands now."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(_submissions).where(_submissions.c.id == submission_id))
            return Submission.from_row(dict(rows.mappings().one()))

    async def of_key(self, key: str) -> list[Submission]:
        """Every submission of a request key, first to last; empty for a key that the ledger does not know."""
        async with self._database.read() as connection:
            return await _submissions_of(connection, key)

    async def generation(self, key: str) -> Generation | None:
        """What a request key asks for."""
        async with self._database.read() as connection:
            return await _generation(connection, key)

    async def in_states(self, states: Sequence[State]) -> list[Submission]:
        """Every submission in one of these states, oldest first."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(_submissions)
                .where(_submissions.c.state.in_(states))
                .order_by(_submissions.c.intended_at)
            )
            return [Submission.from_row(dict(row)) for row in rows.mappings()]

    async def _move(
        self,
        submission_id: str,
        to: State,
        values: Mapping[str, Any],
        *,
        fence: str | None = None,
        answer: Mapping[str, Any] | None = None,
    ) -> bool:
        statement = update(_submissions).where(
            _submissions.c.id == submission_id, _submissions.c.state.in_(sources_of(to))
        )
        if fence is not None:
            statement = statement.where(_submissions.c.fence == fence)
        async with self._database.write() as connection:
            result = await connection.execute(statement.values(state=to, **values))
            if answer is not None:
                await store_answer(connection, submission_id, "submit", answer)
            return result.rowcount == 1


def speaker(submissions: Sequence[Submission]) -> Submission | None:
    """Of a generation's submissions, the one that speaks for it: the furthest along, then the newest."""
    return max(submissions, key=lambda one: (RULES[one.state].rank, one.ordinal), default=None)


async def store_answer(
    connection: AsyncConnection, submission_id: str, kind: str, answer: Mapping[str, Any]
) -> None:
    """Keep a gateway's raw answer: `status`, `headers`, `body`."""
    await connection.execute(
        insert(schema.answers).values(
            submission_id=submission_id,
            kind=kind,
            status=answer.get("status"),
            headers=json.dumps(dict(answer.get("headers", {}))),
            body=clean_text(answer["body"]),
            received_at=datetime.now(UTC),
        )
    )


async def _reattach(
    connection: AsyncConnection,
    intent: Intent,
    lease: Lease,
    generation: Generation,
    known: Sequence[Submission],
    retry_failed: bool,
) -> Claim:
    """What a process that meets an existing key may do: send, or take what stands there."""
    if not _same_body(generation, intent):
        return Claim(conflict=generation)
    current = speaker(known)
    if current is None:
        return Claim(await _add_submission(connection, intent, lease, ordinal=1), mine=True)
    if current.state is State.INTENDED and current.lease.is_dead():
        # Nobody sent it: the same row under a new fence. Its old holder, should it wake, finds the fence gone.
        await connection.execute(
            update(_submissions)
            .where(_submissions.c.id == current.id)
            .values(**lease_columns(lease), **_who_takes_it(intent))
        )
        return Claim(await _submission(connection, current.id), mine=True)
    if RULES[current.state].sends or (current.state is State.FAILED and retry_failed):
        ordinal = max(one.ordinal for one in known) + 1
        return Claim(await _add_submission(connection, intent, lease, ordinal), mine=True)
    return Claim(current)


def _same_body(generation: Generation, intent: Intent) -> bool:
    """Equal over the fields of the stored row's hash version: a later default makes no new body of an old one."""
    if generation.hash_version == intent.hash_version:
        return generation.body_hash == intent.body_hash
    return body_hash(json.loads(intent.body), generation.hash_version) == generation.body_hash


def _same_hash(intent: Intent) -> list[ColumnElement[bool]]:
    """The intent's body as each hash version up to its own would have stored it."""
    body = json.loads(intent.body)
    return [
        (_generations.c.hash_version == version) & (_generations.c.body_hash == body_hash(body, version))
        for version in range(1, intent.hash_version + 1)
    ]


def _who_takes_it(intent: Intent) -> dict[str, Any]:
    return {
        "gateway": intent.gateway,
        "dialect": intent.dialect,
        "base_url": intent.base_url,
        "account": intent.account,
        "key_fingerprint": intent.key_fingerprint,
        "price": intent.price,
        "flow_run_id": intent.runs.flow_run_id,
        "root_flow_run_id": intent.runs.root_flow_run_id,
        "task_run_id": intent.runs.task_run_id,
    }


async def _add_submission(
    connection: AsyncConnection, intent: Intent, lease: Lease, ordinal: int
) -> Submission:
    submission_id = uuid.uuid4().hex
    await connection.execute(
        insert(_submissions).values(
            id=submission_id,
            key=intent.key,
            ordinal=ordinal,
            state=State.INTENDED,
            intended_at=datetime.now(UTC),
            **_who_takes_it(intent),
            **lease_columns(lease),
        )
    )
    return await _submission(connection, submission_id)


async def _submission(connection: AsyncConnection, submission_id: str) -> Submission:
    rows = await connection.execute(select(_submissions).where(_submissions.c.id == submission_id))
    return Submission.from_row(dict(rows.mappings().one()))


async def _submissions_of(connection: AsyncConnection, key: str) -> list[Submission]:
    rows = await connection.execute(
        select(_submissions).where(_submissions.c.key == key).order_by(_submissions.c.ordinal)
    )
    return [Submission.from_row(dict(row)) for row in rows.mappings()]


async def _generation(connection: AsyncConnection, key: str, lock: bool = False) -> Generation | None:
    statement = select(_generations).where(_generations.c.key == key)
    rows = await connection.execute(statement.with_for_update() if lock else statement)
    row: RowMapping | None = rows.mappings().one_or_none()
    return None if row is None else Generation(**row)


async def _find_twin(connection: AsyncConnection, intent: Intent) -> Twin | None:
    """The oldest generation of the same body that was perhaps paid for, and that no live process looks after."""
    uncollected = (
        select(_songs.c.id)
        .where(_songs.c.submission_id == _submissions.c.id, _songs.c.state == SongState.ANNOUNCED)
        .exists()
    )
    unsettled = [state for state, rule in RULES.items() if rule.unsettled]
    rows = await connection.execute(
        select(_submissions)
        .join(_generations, _generations.c.key == _submissions.c.key)
        .where(
            or_(*_same_hash(intent)),
            _generations.c.key != intent.key,
            _submissions.c.state.in_(unsettled) | ((_submissions.c.state == State.SUCCEEDED) & uncollected),
        )
        .order_by(_submissions.c.intended_at)
    )
    for row in rows.mappings():
        submission = Submission.from_row(dict(row))
        if submission.lease.is_dead():
            return Twin(submission.key, submission)
    return None
