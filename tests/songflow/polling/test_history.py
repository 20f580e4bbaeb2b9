"""Observed durations reach the next wait's schedule through the ledger."""

from __future__ import annotations

import asyncio

from sqlalchemy import select

from songflow.accounts import access_from_environment
from songflow.generation.lifecycle import generate_in
from songflow.ledger import schema
from songflow.polling import Learned
from songflow.polling.loop import Fixed


async def _rows(opened) -> list[dict]:
    async with opened.library.ledger.database.read() as connection:
        rows = await connection.execute(select(schema.submissions))
        return [dict(row) for row in rows.mappings()]


async def test_after_ten_songs_the_next_session_has_a_learned_schedule(session, song_request) -> None:
    """Each wait stores its two polls and the reported duration; a new process learns from them."""
    access, request = access_from_environment(), song_request()
    # Slow enough for a busy machine to look before the end.
    more = {"poll_interval": None, "embedded_speed": 20.0, "clip_seconds": 0.5, "deadline": 150.0}
    opened = await session(**more)
    assert isinstance(await opened.polling.schedule(access, request), Fixed)
    await asyncio.gather(
        *(generate_in(opened, song_request(f"waltz {n}"), access, key=f"key {n}") for n in range(10))
    )
    rows = await _rows(opened)
    assert all(row["answered_at"] <= row["pending_at"] < row["settled_at"] for row in rows)
    assert all(row["ran_seconds"] >= 0 for row in rows)
    learned = await opened.polling.schedule(access, request)
    again = await (await session(**more)).polling.schedule(access, request)
    assert isinstance(learned, Learned)
    assert isinstance(again, Learned)
    # The first look comes when there may be something to see, and the two sessions know the same.
    assert again.times[0] > again.interval == learned.interval == 0.25
    assert again.times[0] < 4 * max((row["settled_at"] - row["answered_at"]).total_seconds() for row in rows)
    assert isinstance(await opened.polling.schedule(access, song_request(model_type="udio130-v1.5")), Fixed)
    # Where others wait for each slot, a finish is noticed in half the time; without history nothing is different.
    busy = await session(busy=True, **more)
    swept = await busy.polling.schedule(access, request)
    assert isinstance(swept, Learned)
    assert (swept.interval, len(swept.times) > len(learned.times)) == (0.125, True)
    unknown = await busy.polling.schedule(access, song_request(model_type="udio130-v1.5"))
    assert unknown.interval == 0.25
