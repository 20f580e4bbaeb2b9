"""Inputs of the ledger's tests: intents, leases of live and dead processes, announced takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from songflow.families.udio import UDIO, SongRequest
from songflow.gateways import DIALECTS
from songflow.ledger import Intent, Ledger, State, Submission, schema
from songflow.ledger.lease import Lease
from songflow.ledger.songs import AnnouncedTake


@pytest.fixture
def intent() -> Callable[..., Intent]:
    """Makes intents to pay; tests give only the fields that matter."""

    def make(key: str = "key", *, prompt: str = "a slow waltz", **changes: Any) -> Intent:
        request = SongRequest(prompt=prompt)
        made = Intent(
            key=key,
            body=request.canonical(),
            body_hash=UDIO.body_hash(request.body(), 1),
            hash_version=1,
            model_type=request.model_type,
            mode=request.mode.value,
            gateway="openai-hk",
            dialect=DIALECTS["openai-hk"].stored(),
            base_url="https://gateway.example",
            account="env:OPENAI_HK_KEY",
            key_fingerprint="0123456789ab",
            price=1.0,
        )
        return replace(made, **changes)

    return make


@pytest.fixture
def alive() -> Callable[[], Lease]:
    """Leases of this process that are valid for a minute."""
    return lambda: Lease.take(60.0)


@pytest.fixture
def dead() -> Callable[[], Lease]:
    """Leases that expired a minute ago."""
    return lambda: Lease.take(-60.0)


@pytest.fixture
def in_state(
    ledger: Ledger, intent: Callable[..., Intent], alive: Callable[[], Lease]
) -> Callable[..., Awaitable[Submission]]:
    """Makes submissions in any state, under any lease."""

    async def make(
        state: State,
        key: str = "key",
        *,
        lease: Lease | None = None,
        stop_at_twin: bool = False,
        **changes: Any,
    ) -> Submission:
        claim = await ledger.submissions.intend(
            intent(key, **changes), lease or alive(), stop_at_twin=stop_at_twin
        )
        assert claim.submission is not None
        async with ledger.database.write("test") as connection:
            await connection.execute(
                update(schema.submissions)
                .where(schema.submissions.c.id == claim.submission.id)
                .values(state=state)
            )
        return await ledger.submissions.get(claim.submission.id)

    return make


@pytest.fixture
def take() -> Callable[..., AnnouncedTake]:
    """Make takes as a gateway announces them."""

    def make(song_id: str | None = "song-1", **changes: Any) -> AnnouncedTake:
        made = AnnouncedTake(
            song_id=song_id,
            title="Waltz",
            tags=("slow", "cello"),
            lyrics="la la",
            seconds=32.8,
            song_url=f"https://files.example/{song_id}.mp3",
            image_url=None,
            error=None,
            payload='{"id": 1}',
        )
        return replace(made, **changes)

    return make


@pytest.fixture
def a_minute_ago() -> datetime:
    return datetime.now(UTC) - timedelta(minutes=1)
