"""Fixtures for tests of sweeps: the cells of a spec, and runs of them in separate sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from songflow.accounts import Access
from songflow.generation.lifecycle import wait
from songflow.generation.session import Session
from songflow.simulator import SimulatorServer
from songflow.sweeps.cells import Cell, cells_of
from songflow.sweeps.run import RunOptions
from songflow.sweeps.spec import parse_sweep
from songflow.sweeps.sweep import run_sweep
from songflow.sweeps.tally import SweepResult


@pytest.fixture
def simulator(simulator: Callable[..., SimulatorServer]) -> Callable[..., SimulatorServer]:
    """Simulated gateways that serve ready-made takes, since their sound does not matter here."""

    def start(*faults: dict[str, Any], **settings: Any) -> SimulatorServer:
        return simulator(*faults, **{"pool": 2, **settings})

    return start


@pytest.fixture
def cells(access: Callable[..., Access]) -> Callable[..., list[Cell]]:
    """The cells of a sweep at a simulated gateway: `cells(server, 5)` has seeds from 1 to 5."""

    def give(server: SimulatorServer, count: int = 0, **spec: Any) -> list[Cell]:
        axes = {"grid": {"seed": list(range(1, count + 1))}} if count else {}
        data = {"prompt": "a slow waltz", "lyrics_type": "instrumental", **axes, **spec}
        return cells_of(parse_sweep(data, Path()), access(server.url))

    return give


class Run(Protocol):
    """Runs cells in an open session; the rest are fields of `RunOptions`."""

    async def __call__(
        self, session: Session, server: SimulatorServer, cells: list[Cell], **options: Any
    ) -> SweepResult: ...


@pytest.fixture
def run(access: Callable[..., Access]) -> Run:
    """Runs a sweep as the command does."""

    async def go(session: Session, server: SimulatorServer, cells: list[Cell], **options: Any) -> SweepResult:
        return await run_sweep(session, "test", cells, access(server.url), RunOptions(**options))

    return go


class HeldWaits:
    """Controls the waits of a sweep: each starts, and continues when the test lets it."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = asyncio.Event()

    async def wait(self, *arguments: Any, **options: Any) -> Any:
        """Wait for a generation, later."""
        self.begun += 1
        await self.go_on.wait()
        return await wait(*arguments, **options)


@pytest.fixture
def held_waits(monkeypatch: pytest.MonkeyPatch) -> HeldWaits:
    """Generations keep their slots until the test releases them."""
    held = HeldWaits()
    monkeypatch.setattr("songflow.sweeps.run.wait", held.wait)
    return held


@pytest.fixture
def heal() -> Callable[[SimulatorServer], None]:
    """Remove all faults of a gateway."""

    def put(server: SimulatorServer) -> None:
        httpx.put(f"{server.url}/_simulator/faults", json=[]).raise_for_status()

    return put
