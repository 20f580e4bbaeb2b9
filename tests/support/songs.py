"""Fixtures of the Prefect layers: a simulator on a socket, and a library, with short waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blocks import SimulatorCredentials, SongLibrary
from songflow.ledger.rows import Song, Submission
from songflow.library.library import Library
from songflow.simulator import FaultScript, SimulatorServer, SimulatorSettings

KEY = "sk-never-show-me-0123456789abcdef"


@dataclass(frozen=True)
class Studio:
    """A gateway, an account there and a library, with quick defaults for flows."""

    simulator: SimulatorServer
    library: SongLibrary
    folder: Path
    secret: str = KEY

    @property
    def credentials(self) -> SimulatorCredentials:
        """The account as an unsaved block."""
        return SimulatorCredentials(base_url=self.simulator.url, api_key=KEY)

    @property
    def options(self) -> dict[str, Any]:
        """Parameters of every flow here."""
        return {"credentials": self.credentials, "library": self.library, "waiting": {"poll_interval": 0.1}}

    @property
    def billed(self) -> int:
        """Number of requests that the gateway has billed."""
        return len(self.simulator.bill())

    async def ledger(self, key: str) -> tuple[list[Submission], list[Song]]:
        """The ledger's submissions and songs of a request key."""
        async with Library(self.library.get_settings()) as library:
            return await library.ledger.submissions.of_key(key), await library.ledger.songs.of_key(key)


class Studios:
    """Opens studios; their simulators stop with the test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: list[SimulatorServer] = []

    def __call__(self, *faults: dict[str, Any], **settings: Any) -> Studio:
        """A studio whose gateway has these faults; it takes a third of a second for a song of two."""
        folder = self._folder / f"studio{len(self._open)}"
        quick = {"speed": 200.0, "clip_seconds": 0.25, "state_dir": folder / "gateway"}
        server = SimulatorServer(SimulatorSettings(faults=FaultScript.of(*faults), **{**quick, **settings}))
        server.start()
        self._open.append(server)
        return Studio(server, SongLibrary(folder=str(folder / "songs")), folder)

    def close(self) -> None:
        """Stop every gateway."""
        for server in self._open:
            server.stop()


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studios]:
    """`studio(*faults)` opens a gateway, an account and a library."""
    studios = Studios(tmp_path)
    yield studios
    studios.close()
