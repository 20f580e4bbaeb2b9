"""What rescue's tests need: generations as dead processes left them, and the gateway's own counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import update

from songflow import errors
from songflow.gateways import Gateway, Report
from songflow.generation.policy import PaidRequest, PayingPolicy
from songflow.generation.submit import submit_once
from songflow.ledger import State, schema
from songflow.simulator import SimulatorServer


@pytest.fixture
def posts():
    """How many POSTs a simulated gateway has seen, billed or not."""

    def seen(server: SimulatorServer) -> int:
        return int(httpx.get(f"{server.url}/_simulator/requests").json()["posts"]["seen"])

    return seen


@pytest.fixture
def play():
    """Gives a simulated gateway another script of faults (none: it is well again)."""

    def give(server: SimulatorServer, *faults: dict) -> None:
        httpx.put(f"{server.url}/_simulator/faults", json=list(faults)).raise_for_status()

    return give


@pytest.fixture
def finished(access, until):
    """Waits until all is finished at a gateway, as it is when a person looks; what returns are its ids."""

    async def wait(server: SimulatorServer) -> list[str]:
        ids = [entry.generation_id for entry in server.bill()]
        async with Gateway(access(server.url).account) as gateway:

            async def listed() -> bool:
                reports = [await gateway.fetch(one) for one in ids]
                return all(isinstance(one, Report) and one.collectable for one in reports)

            await until(listed)
        return ids

    return wait


@pytest.fixture
def die():
    """Every process that looked after something in this library dies; `columns` say what else was left."""

    async def now(opened, **columns) -> None:
        async with opened.library.ledger.database.write("test") as connection:
            ago = datetime.now(UTC) - timedelta(minutes=1)
            await connection.execute(update(schema.submissions).values(lease_expires_at=ago, **columns))

    return now


@pytest.fixture
def left(access, song_request, die):
    """A paid generation that a dead process left in a state: accepted, running, overdue, lost or unknown."""

    async def leave(opened, server, state: State = State.ACCEPTED, key: str = "key", **fields):
        way = access(server.url)
        ledger = opened.library.ledger.submissions
        try:
            submission = await submit_once(
                opened, PaidRequest(song_request(**fields), key), way, PayingPolicy(if_unsettled="new")
            )
        except errors.OutcomeUnknown:
            submission = (await ledger.of_key(key))[-1]
        if state is State.RUNNING:
            assert await ledger.running(submission.id)
        elif state in {State.OVERDUE, State.LOST}:
            assert await ledger.stop_waiting(submission.id, state, "its process stopped waiting")
        await die(opened)
        submission = await ledger.get(submission.id)
        assert submission.state is state
        return submission

    return leave
