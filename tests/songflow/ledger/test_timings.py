"""Timings: stored durations of generations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from songflow.ledger import Ledger, RequestKind, State, Timing, schema
from songflow.ledger.songs import Lineage
from songflow.polling import duration_of

KIND = RequestKind(("openai-hk", "https://gateway.example"), "udio32-v1.5", "regular")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def ended(ledger: Ledger, in_state):
    """Generations that ended so many seconds after they were accepted, in the order of their ends."""

    async def make(key: str, seconds: float, number: int, **more) -> None:
        submission = await in_state(State.RUNNING, key, prompt=key)
        accepted = NOW + timedelta(hours=number)
        async with ledger.database.write("test") as connection:
            await connection.execute(
                update(schema.submissions)
                .where(schema.submissions.c.id == submission.id)
                .values(answered_at=accepted, sending_at=accepted - timedelta(seconds=2), **more)
            )
        timing = Timing(
            accepted,
            pending_at=accepted + timedelta(seconds=seconds - 5),
            finished_at=accepted + timedelta(seconds=seconds),
            ran_seconds=seconds - 1,
        )
        payload = {"status": 200, "body": "{}"}
        await ledger.songs.ended(submission.id, key, Lineage("regular", None), [], payload, timing=timing)

    return make


async def test_the_newest_of_a_kind_are_read_oldest_first(ledger: Ledger, ended) -> None:
    """Of the same gateway, address, model and mode only."""
    for number, seconds in enumerate((50.0, 60.0, 70.0)):
        await ended(f"key {number}", seconds, number)
    await ended("slower model", 200.0, 3, model_type="udio130-v1.5")
    await ended("other address", 9.0, 4, base_url="https://elsewhere.example")
    timings = await ledger.submissions.timings(KIND, 2)
    assert [(timing.finished_at - timing.accepted_at).total_seconds() for timing in timings] == [60.0, 70.0]
    duration = duration_of(timings[0])
    assert (duration.low, duration.high, duration.reported, duration.tolerance) == (55.0, 60.0, 58.0, 2.0)


async def test_a_wait_without_a_poll_keeps_the_earlier_pending_at(ledger: Ledger, in_state) -> None:
    """Overdue at 100 s, collected by a later process at its first poll: it ended in between."""
    submission = await in_state(State.RUNNING)
    seen = NOW + timedelta(seconds=100)
    await ledger.submissions.stop_waiting(submission.id, State.OVERDUE, "late", pending_at=seen)
    assert (await ledger.submissions.get(submission.id)).pending_at == seen
    payload = {"status": 200, "body": "{}"}
    await ledger.songs.ended(
        submission.id, submission.key, Lineage("regular", None), [], payload, timing=Timing(NOW)
    )
    assert (await ledger.submissions.get(submission.id)).pending_at == seen
