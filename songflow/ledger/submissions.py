"""Submissions: each method is one committed transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, bindparam, func, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from songflow.errors import InputError
from songflow.gateways import place_urls
from songflow.ledger import schema
from songflow.ledger.answers import (
    FORMER_IDS,
    POLL,
    SUBMIT,
    ids_in_answers,
    last_submit_answer,
    store_answer,
)
from songflow.ledger.engine import Connection, Database
from songflow.ledger.ids import same_id_reason, with_ids
from songflow.ledger.intents import Claim, Twin, intend
from songflow.ledger.lease import Lease
from songflow.ledger.money import COUNTED, release_held, settle_money
from songflow.ledger.queries import (
    is_one_of,
    lock_name,
    makes_songs,
    one_generation,
    one_submission,
    submissions_of,
)
from songflow.ledger.rows import (
    LEFT_TO_SENDER,
    Generation,
    Intent,
    RequestKind,
    StoredAnswer,
    Submission,
    Timing,
    clean_text,
    json_list,
    lease_columns,
)
from songflow.ledger.states import RULES, SongState, State, sources_of

__all__ = ["Claim", "Submissions", "Twin"]

_submissions, _songs = schema.submissions, schema.songs

# Parameters named like columns are the values to set.
_SET = update(_submissions).where(_submissions.c.id == bindparam("which"))
_SET_UNDER_FENCE = _SET.where(_submissions.c.fence == bindparam("expected_fence"))
_SET_WHILE_SENDING = _SET_UNDER_FENCE.where(_submissions.c.state == State.SENDING)
_SET_UNLESS_SENDING = _SET_UNDER_FENCE.where(_submissions.c.state != State.SENDING)
_MAY_RUN = sources_of(State.RUNNING) | {State.RUNNING}


class Submissions:
    """Transactions on submissions. Every state change is a compare-and-set that returns whether it happened."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def intend(
        self,
        intent: Intent,
        lease: Lease,
        *,
        stop_at_twin: bool = True,
        pay_again: frozenset[State] = frozenset(),
    ) -> Claim:
        """Commit the intent to pay, or find the key's existing submission.

        Args:
            intent: The request to be paid for.
            lease: The caller's lease; it is stored only if the caller may send.
            stop_at_twin: Refuse a new generation if an unsettled one has the same body.
            pay_again: States of the last submission in which a new one is allowed; a failure of the same root flow
                run never counts.
        """
        async with self._database.write("intent") as connection:
            claim = await intend(connection, intent, lease, stop_at_twin, pay_again)
            if claim.refused:
                await connection.rollback()
            return claim

    async def begin_send(self, submission_id: str, lease: Lease) -> bool:
        """`intended` -> `sending`, only for the holder of the fence; False: another process has it, do not send.

        The lease names the sender from now on.
        """
        values = {"sending_at": datetime.now(UTC), **lease_columns(lease)}
        return await self._move(submission_id, State.SENDING, values, fence=lease.fence)

    async def leave_to_sender(self, submission_id: str, fence: str) -> None:
        """Note that only the sender works on a POST any more: its lease goes on, and a person is told."""
        async with self._database.write("release") as connection:
            await connection.execute(
                _SET_WHILE_SENDING,
                {"which": submission_id, "expected_fence": fence, "error": LEFT_TO_SENDER},
            )

    async def accepted(
        self,
        submission_id: str,
        generation_id: str | None,
        track_ids: Sequence[str],
        answer: Mapping[str, Any] | None,
        lease: Lease | None = None,
    ) -> Submission | None:
        """`sending` or `unknown` -> `accepted`, with the ids and the raw answer.

        An id that another submission of the same gateway has already is no acceptance: the songs behind it are the
        other's. The submission becomes `unknown`, with that reason, and a person settles it.

        Returns:
            The submission if it has these ids now, from this call or an earlier one.
        """
        clean_id, clean_tracks = clean_text(generation_id), json_list(track_ids)
        values: dict[str, Any] = {
            "generation_id": clean_id,
            "track_ids": clean_tracks,
            "answered_at": datetime.now(UTC),
            "settled_at": None,
            "written_off_at": None,
            "error": None,
        }
        if lease is not None:
            values |= lease_columns(lease)
        async with self._database.write("accepted") as connection:
            await lock_name(connection, clean_id or clean_tracks)  # another may be told the same id at once
            current, owner = await with_ids(connection, submission_id, clean_id, json.loads(clean_tracks))
            if current is None:
                return None
            if owner is not None:
                await _doubt(connection, current, owner, answer)
                return None
            if (current.generation_id, current.track_ids) == (clean_id, tuple(json.loads(clean_tracks))):
                return current
            row = await _apply(connection, submission_id, State.ACCEPTED, values, answer=answer)
            return None if row is None else Submission.from_row(dict(row))

    async def rename(self, submission: Submission, generation_id: str, why: str) -> Submission | None:
        """Give a paid submission another id of the gateway's, to wait for that one; the former id stays in an answer.

        Returns:
            The submission, now `running`; None if it has changed meanwhile.

        Raises:
            InputError: the id is another submission's.
        """
        former = {"generation_id": submission.generation_id, "track_ids": submission.track_ids, "why": why}
        async with self._database.write("running") as connection:
            await lock_name(connection, clean_text(generation_id) or "")
            current, owner = await with_ids(connection, submission.id, clean_text(generation_id), ())
            if owner is not None:
                raise InputError(
                    f"The id {generation_id} belongs to the key {owner.key!r} already.",
                    next="see `songflow songs` and `songflow rescue --list`.",
                )
            if current != submission or submission.state not in _MAY_RUN:
                return None
            changed = await connection.execute(
                _SET.where(_submissions.c.state == submission.state),
                {
                    "which": submission.id,
                    "state": State.RUNNING,
                    "generation_id": clean_text(generation_id),
                    "track_ids": "[]",
                    "error": None,
                    "settled_at": None,
                    "written_off_at": None,
                },
            )
            if changed.rowcount != 1:
                return None
            await store_answer(connection, submission.id, FORMER_IDS, {"body": json.dumps(former)})
            return await one_submission(connection, submission.id)

    async def known_ids(self, submission_id: str) -> list[str]:
        """Every id that may name a submission's generation: of the raw answer to its POST, and its former ids."""
        async with self._database.read() as connection:
            return await ids_in_answers(connection, submission_id)

    async def submit_answer(self, submission_id: str) -> StoredAnswer | None:
        """The last raw answer to its POST, if there was one."""
        async with self._database.read() as connection:
            return await last_submit_answer(connection, submission_id)

    async def settle_sending(
        self,
        submission_id: str,
        to: State,
        error: str,
        answer: Mapping[str, Any] | None = None,
        *,
        fence: str | None = None,
    ) -> bool:
        """Settle a POST that was not accepted as `unsent`, `refused` or `unknown`, and end its lease.

        Args:
            fence: Only under this fence (None: whoever sends it).
        """
        now = datetime.now(UTC)
        values = {"error": clean_text(error), "settled_at": now, "lease_expires_at": now}
        return await self._move(submission_id, to, values, fence=fence, answer=answer)

    async def never_sent(self, submission_id: str, fence: str, error: str) -> bool:
        """`intended` -> `unsent`: nothing will be sent. For the fence's holder, or who found it dead.

        Its reservation is released, and the next user of the key need not wait for the lease to expire. A sender that
        was only suspended and has begun to send meanwhile is not affected: the state is `sending` then.
        """
        now = datetime.now(UTC)
        values = {"error": error, "settled_at": now, "lease_expires_at": now}
        return await self._move(submission_id, State.UNSENT, values, fence=fence, origin=State.INTENDED)

    async def unknown(self, submission_id: str, fence: str, error: str) -> bool:
        """`sending` -> `unknown` for a dead sender; the fence ensures that it is still that sender's."""
        return await self._move(
            submission_id, State.UNKNOWN, {"error": error, "settled_at": datetime.now(UTC)}, fence=fence
        )

    async def running(self, submission_id: str) -> bool:
        """The gateway reports that it is running."""
        return await self._move(submission_id, State.RUNNING, {"running_at": datetime.now(UTC)})

    async def stop_waiting(
        self,
        submission_id: str,
        to: State,
        error: str,
        *,
        refund: bool = False,
        pending_at: datetime | None = None,
        answer: Mapping[str, Any] | None = None,
    ) -> bool:
        """End the wait as `overdue`, `lost` or `failed`, with the reason.

        `refund` is whether the gateway refunds a failure, `pending_at` when it was last seen unfinished, and `answer`
        the last one, which is kept for a report on the problem.
        """
        values: dict[str, Any] = {"error": clean_text(error)}
        if to is not State.OVERDUE:
            values["settled_at"] = datetime.now(UTC)
        if pending_at is not None:
            values["pending_at"] = pending_at
        return await self._move(submission_id, to, values, answer=answer, answer_to=POLL, refund=refund)

    async def hold(self, submission_id: str, lease: Lease) -> None:
        """Take the lease to wait for or collect it."""
        async with self._database.write("hold") as connection:
            await connection.execute(_SET, {"which": submission_id, **lease_columns(lease)})

    async def release(self, submission_id: str, fence: str) -> None:
        """End the lease (only by its holder); that of a POST under way is its sender's and goes on."""
        async with self._database.write("release") as connection:
            await connection.execute(
                _SET_UNLESS_SENDING,
                {"which": submission_id, "expected_fence": fence, "lease_expires_at": datetime.now(UTC)},
            )

    async def get(self, submission_id: str) -> Submission:
        """The current row of a submission."""
        async with self._database.read() as connection:
            return await one_submission(connection, submission_id)

    async def of_key(self, key: str) -> list[Submission]:
        """Every submission of a request key, first to last; empty for an unknown key."""
        async with self._database.read() as connection:
            return await submissions_of(connection, key)

    async def states_by_prefix(self, prefix: str) -> dict[str, State]:
        """The request keys that begin with a text, in order, each with the state of its last submission."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(_submissions.c.key, _submissions.c.state)
                .where(_submissions.c.key.startswith(prefix, autoescape=True))
                .order_by(_submissions.c.key, _submissions.c.ordinal)
            )
            # SQLite's LIKE takes capitals for small letters.
            return {key: State(state) for key, state in rows if key.startswith(prefix)}

    async def generation(self, key: str) -> Generation | None:
        """The generation of a request key."""
        async with self._database.read() as connection:
            return await one_generation(connection, key)

    async def in_states(self, states: Sequence[State]) -> list[Submission]:
        """Every submission in one of these states, oldest first."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(_submissions)
                .where(_submissions.c.state.in_(states))
                .order_by(_submissions.c.intended_at)
            )
            return [Submission.from_row(dict(row)) for row in rows.mappings()]

    async def uncollected(self) -> list[Submission]:
        """Submissions that may have been paid for and lack their songs or an outcome, oldest first."""
        unsettled = [state for state, rule in RULES.items() if rule.unsettled]
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(_submissions)
                .where(
                    _submissions.c.written_off_at.is_(None),
                    _submissions.c.state.in_(unsettled) | _has_announced(),
                )
                .order_by(_submissions.c.intended_at)
            )
            return [Submission.from_row(dict(row)) for row in rows.mappings()]

    async def of_one_take(self, ended_after: datetime) -> list[Submission]:
        """Recently succeeded submissions with one take only: the second of the usual two may come late."""
        takes = select(func.count()).where(_songs.c.submission_id == _submissions.c.id).scalar_subquery()
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(_submissions).where(
                    _submissions.c.state == State.SUCCEEDED,
                    _submissions.c.settled_at >= ended_after,
                    takes == 1,
                    makes_songs(_submissions),
                )
            )
            return [Submission.from_row(dict(row)) for row in rows.mappings()]

    async def timings(self, kind: RequestKind, limit: int) -> list[Timing]:
        """Durations of the newest succeeded generations of a kind, oldest first."""
        columns = _submissions.c
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(
                    columns.answered_at,
                    columns.sending_at,
                    columns.pending_at,
                    columns.settled_at,
                    columns.ran_seconds,
                )
                .where(
                    columns.gateway == kind.place[0],
                    columns.model_type == kind.model_type,
                    columns.mode == kind.mode,
                    columns.base_url.in_(place_urls(kind.place)),
                    columns.state == State.SUCCEEDED,
                    columns.answered_at.is_not(None),
                )
                .order_by(columns.settled_at.desc())
                .limit(limit)
            )
            return [Timing(*row) for row in reversed(rows.all())]

    async def by_generation_id(self, generation_id: str) -> list[Submission]:
        """The submissions with this gateway id."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(_submissions).where(_submissions.c.generation_id == generation_id)
            )
            return [Submission.from_row(dict(row)) for row in rows.mappings()]

    async def write_off(self, submission_id: str) -> bool:
        """Give up a submission and release its reservation; False if it has an outcome already."""
        may_be_written_off = [State.UNKNOWN, State.LOST, State.OVERDUE]
        async with self._database.write("write-off") as connection:
            result = await connection.execute(
                update(_submissions)
                .where(
                    _submissions.c.id == submission_id,
                    _submissions.c.state.in_(may_be_written_off)
                    | ((_submissions.c.state == State.SUCCEEDED) & _has_announced()),
                    _submissions.c.written_off_at.is_(None),
                )
                .values(written_off_at=datetime.now(UTC))
            )
            if result.rowcount == 1:
                await release_held(connection, submission_id)
            return result.rowcount == 1

    async def release_run(self, flow_run_id: str) -> int:
        """End the leases of a crashed or cancelled flow run; returns how many."""
        async with self._database.write("release") as connection:
            result = await connection.execute(
                update(_submissions)
                .where(
                    _submissions.c.flow_run_id == flow_run_id,
                    _submissions.c.lease_expires_at > datetime.now(UTC),
                    # A POST in flight keeps its lease: its process may be alive and record the answer.
                    _submissions.c.state != State.SENDING,
                )
                .values(lease_expires_at=datetime.now(UTC))
            )
            return result.rowcount

    async def of_flow_run(self, flow_run_id: str) -> list[Submission]:
        """The submissions that a flow run requested."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(_submissions).where(_submissions.c.flow_run_id == flow_run_id)
            )
            return [Submission.from_row(dict(row)) for row in rows.mappings()]

    async def _move(
        self,
        submission_id: str,
        to: State,
        values: Mapping[str, Any],
        *,
        fence: str | None = None,
        origin: State | None = None,
        answer: Mapping[str, Any] | None = None,
        answer_to: str = SUBMIT,
        refund: bool = False,
    ) -> bool:
        async with self._database.write(str(to)) as connection:
            row = await _apply(
                connection,
                submission_id,
                to,
                values,
                fence=fence,
                origin=origin,
                answer=answer,
                answer_to=answer_to,
                refund=refund,
            )
            return row is not None


async def _apply(
    connection: Connection,
    submission_id: str,
    to: State,
    values: Mapping[str, Any],
    *,
    fence: str | None = None,
    origin: State | None = None,
    answer: Mapping[str, Any] | None = None,
    answer_to: str = SUBMIT,
    refund: bool = False,
) -> RowMapping | None:
    """Change a state, and the counters of money with it; returns the columns that `_move_to` asks for, or None."""
    chosen = {"which": submission_id, **({} if fence is None else {"expected_fence": fence})}
    rows = await connection.execute(
        _move_to(to, fence is not None, origin), {**chosen, "state": to, **values}
    )
    row = rows.mappings().one_or_none()
    if answer is not None:
        await store_answer(connection, submission_id, answer_to, answer)
    if row is None:
        return None
    await settle_money(connection, row, to, refund=refund)
    return row


async def _doubt(
    connection: Connection, current: Submission, owner: Submission, answer: Mapping[str, Any] | None
) -> None:
    """`sending` -> `unknown`: the gateway answered with the ids of another submission."""
    now = datetime.now(UTC)
    values = {"error": same_id_reason(owner), "settled_at": now, "lease_expires_at": now}
    await connection.execute(
        _SET.where(is_one_of(_submissions.c.state, sources_of(State.ACCEPTED))),
        {"which": current.id, "state": State.UNKNOWN, **values},
    )
    if answer is not None:
        await store_answer(connection, current.id, SUBMIT, answer)


@cache
def _move_to(state: State, fenced: bool, origin: State | None) -> ReturningUpdate[Any]:
    """The compare-and-set of a state change, from all allowed states or from one only.

    An acceptance returns the whole row, any other change the columns that the counters need.
    """
    sources = sources_of(state) if origin is None else {origin}
    move = (_SET_UNDER_FENCE if fenced else _SET).where(is_one_of(_submissions.c.state, sources))
    return move.returning(*(_submissions.c if state is State.ACCEPTED else COUNTED))


def _has_announced() -> ColumnElement[bool]:
    """Whether a take of the submission was announced and is not stored."""
    return (
        select(_songs.c.id)
        .where(_songs.c.submission_id == _submissions.c.id, _songs.c.state == SongState.ANNOUNCED)
        .exists()
    )
