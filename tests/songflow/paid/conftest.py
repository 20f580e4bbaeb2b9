"""What the paid step's tests need besides: the gateway's own counts, and processes that die where they are told."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from songflow.generation.session import Session
from songflow.ledger import Submission, schema
from songflow.simulator import SimulatorServer

HELPER = Path(__file__).parent / "one_run.py"


@pytest.fixture
def posts() -> Callable[[SimulatorServer], int]:
    """How many POSTs a simulated gateway has seen, billed or not."""

    def seen(server: SimulatorServer) -> int:
        return int(httpx.get(f"{server.url}/_simulator/requests").json()["posts"]["seen"])

    return seen


@pytest.fixture
def play() -> Callable[..., None]:
    """Gives a simulated gateway another script of faults (none: it is well again)."""

    def give(server: SimulatorServer, *faults: dict[str, Any]) -> None:
        httpx.put(f"{server.url}/_simulator/faults", json=list(faults)).raise_for_status()

    return give


@pytest.fixture
def closed_url() -> str:
    """The URL of a port where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def change() -> Callable[..., Awaitable[Submission]]:
    """Changes columns of a submission, as time or another machine would have."""

    async def set_columns(session: Session, submission: Submission, **columns: Any) -> Submission:
        ledger = session.library.ledger
        async with ledger.database.write("test") as connection:
            table = schema.submissions
            await connection.execute(update(table).where(table.c.id == submission.id).values(columns))
        return await ledger.submissions.get(submission.id)

    return set_columns


@pytest.fixture
async def run_process():
    """Starts a process of its own that makes one generation; see `one_run.py` for what it can be told."""
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
