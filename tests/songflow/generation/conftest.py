"""Parts for tests of generations: a gateway's counts and faults, abandoned generations, processes that die on cue."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from songflow import errors
from songflow.gateways import Gateway, Report
from songflow.generation.policy import PaidRequest, PayingPolicy
from songflow.generation.session import Session
from songflow.generation.submit import submit_once
from songflow.ledger import State, Submission, schema
from songflow.simulator import SimulatorServer

HELPER = Path(__file__).parent / "one_run.py"


@pytest.fixture
def play() -> Callable[..., None]:
    """Replaces the fault script of a simulated gateway (no script: no faults)."""

    def give(server: SimulatorServer, *faults: dict[str, Any]) -> None:
        httpx.put(f"{server.url}/_simulator/faults", json=list(faults)).raise_for_status()

    return give


@pytest.fixture
def closed_url() -> str:
    """The URL of a port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def change() -> Callable[..., Awaitable[Submission]]:
    """Changes columns of a submission, as the passing of time or another machine would."""

    async def set_columns(session: Session, submission: Submission, **columns: Any) -> Submission:
        ledger = session.library.ledger
        async with ledger.database.write("test") as connection:
            table = schema.submissions
            await connection.execute(update(table).where(table.c.id == submission.id).values(columns))
        return await ledger.submissions.get(submission.id)

    return set_columns


@pytest.fixture
async def run_process():
    """Starts a process that makes one generation; `one_run.py` documents its plan."""
    started: list[asyncio.subprocess.Process] = []

    async def start(**plan: Any) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, HELPER, json.dumps(plan, default=str), stdin=pipe, stdout=pipe, stderr=pipe
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
def finished(access, until):
    """Waits until every generation of a gateway has ended; returns their ids."""

    async def wait(server: SimulatorServer) -> list[str]:
        ids = [entry.generation_id for entry in server.bill()]
        async with Gateway(access(server.url).account) as gateway:

            async def listed() -> bool:
                reports = [await gateway.fetch("udio", one) for one in ids]
                return all(isinstance(one, Report) and one.collectable for one in reports)

            await until(listed)
        return ids

    return wait


@pytest.fixture
def die():
    """Lets every lease in this library expire, as if its process had died; sets `columns`, too."""

    async def now(opened, **columns) -> None:
        async with opened.library.ledger.database.write("test") as connection:
            ago = datetime.now(UTC) - timedelta(minutes=1)
            await connection.execute(update(schema.submissions).values(lease_expires_at=ago, **columns))

    return now


@pytest.fixture
def left(access, song_request, die):
    """A paid generation of a dead process, in the state accepted, running, overdue, lost or unknown."""

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
