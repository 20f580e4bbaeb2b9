"""Processes that are killed at a fail point, and a shared gateway; `tests/conftest.py` prints the table."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.commands import wait_or_kill

from songflow.ledger import Ledger, State
from songflow.ledger.engine import ledger_url
from songflow.ledger.money import Balance
from songflow.ledger.rows import Song, Submission
from songflow.runtime.failpoints import FAIL_POINT_VARIABLE
from songflow.settings import LibrarySettings
from songflow.simulator import FaultScript, SimulatorServer, SimulatorSettings

FORKS = Path(__file__).parent / "forks.py"


# --- processes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a process ended: its return code (negative: the signal), its answer, and what it logged."""

    code: int
    answer: Any
    log: str


class Forks:
    """Starts processes through `forks.py`.

    Attributes:
        forks_senders: Their senders are forks, too; else they start as they do for users.
    """

    def __init__(self) -> None:
        self.forks_senders = True
        quiet = {name: value for name, value in os.environ.items() if not name.startswith("SONGFLOW")}
        self._process = subprocess.Popen(
            [sys.executable, FORKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # A fork takes no threads with it.
            env={
                **quiet,
                "SONGFLOW_MEASURE": "off",
                "OPENBLAS_NUM_THREADS": "1",
                "PYTHONPATH": str(Path(__file__).parents[2]),
            },
        )

    def start(self, plans: Sequence[dict[str, Any]]) -> list[int]:
        """Start these at the same moment; returns their process ids."""
        return self._ask({"start": [{"forks_sender": self.forks_senders, **plan} for plan in plans]})

    def wait(self, pids: Sequence[int]) -> list[Ended]:
        """Wait for all of these processes; returns how each ended."""
        return [
            Ended(code, json.loads(said) if said else None, log)
            for code, said, log in self._ask({"wait": pids})
        ]

    def run(self, plan: dict[str, Any], *, kill_at: str | None = None, one_machine: bool = True) -> Ended:
        """Run one to its end; `kill_at` arms a fail point in its environment, which its sender gets, too.

        On one machine a sender that dies takes the process with it.
        """
        if kill_at is not None:
            plan = {**plan, "one_machine": one_machine, "environment": {FAIL_POINT_VARIABLE: kill_at}}
        return self.wait(self.start([plan]))[0]

    def log(self, pid: int) -> str:
        """The log of a running process so far."""
        return str(self._ask({"log": pid}))

    def close(self) -> None:
        """End the forking process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        wait_or_kill(self._process)

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question, default=str) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Start processes within milliseconds."""
    running = Forks()
    yield running
    running.close()


@pytest.fixture
def suspended_sender(suspended: Callable[[int], None]) -> Callable[[Place], int]:
    """Wait until the sender of a place's last submission has been stopped; returns its process id.

    Start the process with `"environment": stop_sender("post: before request")`.
    """

    def wait(place: Place) -> int:
        while not (place.library.ledger_url or (place.library.folder / "ledger.sqlite").exists()):
            time.sleep(0.02)
        while True:
            rows = place.look().submissions
            if rows and rows[-1].state is State.SENDING:
                pid = rows[-1].lease.owner.pid
                suspended(pid)
                return pid
            time.sleep(0.02)

    return wait


@pytest.fixture
def suspended() -> Callable[[int], None]:
    """Wait until a process has been stopped by a signal."""

    def wait(pid: int) -> None:
        while Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"T":
            time.sleep(0.005)

    return wait


# --- the gateway ------------------------------------------------------------------------------------------------


@pytest.fixture
def closed_url() -> str:
    """The URL of a port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


class Desk:
    """A simulated gateway that several tests share: each looks at its own prompt only."""

    def __init__(self, server: SimulatorServer) -> None:
        self.server = server
        self.url = server.url

    def play(self, *faults: dict[str, Any]) -> None:
        """Replace the script of faults; without arguments, remove all."""
        httpx.put(f"{self.url}/_simulator/faults", json=list(faults)).raise_for_status()

    def posts(self) -> int:
        """Number of POSTs since the start, billed or not."""
        return int(httpx.get(f"{self.url}/_simulator/requests").json()["posts"]["seen"])

    def billed(self, prompt: str) -> int:
        """Number of billed generations of a prompt."""
        return sum(_has(entry.body, prompt) for entry in self.server.bill())


def _has(body: Any, text: str) -> bool:
    """True if a text is a value in a body, whatever its gateway calls it."""
    if isinstance(body, dict):
        return any(_has(value, text) for value in body.values())
    return body == text


@pytest.fixture(scope="session")
def _desk() -> Iterator[Desk]:
    settings = SimulatorSettings(clip_seconds=0.25, speed=1000.0, sigma=0.0, pool=2, faults=FaultScript())
    with SimulatorServer(settings) as server:
        yield Desk(server)


@pytest.fixture
def desk(_desk: Desk) -> Desk:
    """The gateway of this test process, without faults."""
    _desk.play()
    return _desk


# --- one key in one library -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ledgered:
    """The ledger's rows of a request key."""

    submissions: list[Submission]
    songs: list[Song]
    balance: Balance


@dataclass(frozen=True)
class Place:
    """A library, a gateway, a request key and a prompt of its own, which every step of a test uses."""

    library: LibrarySettings
    desk: Desk
    prompt: str
    key: str = "key"
    more: dict[str, Any] = field(default_factory=dict)

    def plan(self, command: str = "generate", **more: Any) -> dict[str, Any]:
        """The plan of a step here, for `Forks`."""
        return {
            "command": command,
            "folder": self.library.folder,
            "ledger_url": self.library.ledger_url,
            "audio_url": self.library.audio_url,
            "url": self.desk.url,
            "key": self.key,
            "prompt": self.prompt,
            **more,
        }

    def when_sender_ends(self) -> State | None:
        """The state of the last submission once nobody sends it any more."""
        while rows := self.look().submissions:
            last = rows[-1]
            if last.state is not State.SENDING:
                return last.state
            if last.lease.owner.is_gone():
                return self.look().submissions[-1].state  # it may have committed meanwhile
            time.sleep(0.02)
        return None

    def look(self) -> Ledgered:
        """Read the ledger's rows."""

        async def read() -> Ledgered:
            async with Ledger(ledger_url(self.library.ledger_url, self.library.folder)) as ledger:
                return Ledgered(
                    await ledger.submissions.of_key(self.key),
                    await ledger.songs.of_key(self.key),
                    await ledger.money.balance(),
                )

        return asyncio.run(read())


@pytest.fixture
def make_place(desk: Desk, request: pytest.FixtureRequest) -> Callable[[LibrarySettings], Place]:
    """Make places in libraries that the test chooses."""
    return lambda library: Place(library, desk, request.node.nodeid)


@pytest.fixture
def place(any_library: LibrarySettings, desk: Desk, request: pytest.FixtureRequest) -> Place:
    """A place of this test's own, on SQLite and on PostgreSQL."""
    return Place(any_library, desk, request.node.nodeid)


@pytest.fixture
def local_place(library_settings: LibrarySettings, desk: Desk, request: pytest.FixtureRequest) -> Place:
    """A place of this test's own, on SQLite."""
    return Place(library_settings, desk, request.node.nodeid)
