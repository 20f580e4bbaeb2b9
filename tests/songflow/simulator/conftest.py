"""A simulator on a socket, and a client for its API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from songflow.simulator import FaultScript, SimulatorServer, SimulatorSettings

_PATIENCE = 20.0


class Simulation:
    """A running simulator and an HTTP client for it."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.server = SimulatorServer(settings)
        self.server.start()
        # Without TLS: loading the machine's certificates takes longer than most of these tests.
        self.http = httpx.Client(base_url=self.server.url, timeout=10, verify=False)

    def close(self) -> None:
        self.http.close()
        self.server.stop()

    @staticmethod
    def body(**params: Any) -> dict[str, Any]:
        return {"gen_params": {"prompt": "rain", "model_type": "udio32-v1.5", "seed": 7, **params}}

    def post(self, path: str = "/udio/submit/music", **params: Any) -> httpx.Response:
        return self.http.post(path, json=self.body(**params))

    def submit(self, **params: Any) -> str:
        answer = self.post(**params).json()
        assert answer["code"] == "success", answer
        return str(answer["data"])

    def fetch(self, generation_id: str) -> httpx.Response:
        return self.http.get(f"/udio/fetch/{generation_id}")

    def data(self, generation_id: str) -> dict[str, Any]:
        """The inner part of envelope B."""
        return dict(self.fetch(generation_id).json()["data"])

    def query(self, *ids: str) -> list[dict[str, Any]]:
        return list(self.http.get("/udio/query", params={"ids": ",".join(ids)}).json()["songs"])

    def rendered(self, generation_id: str) -> None:
        """Wait until the files are rendered, without a fetch that would count for a fault."""
        gateway = self.server.gateway
        job = gateway.store.job(generation_id)
        assert job is not None
        for take in range(1, job.takes + 1):
            gateway.renders.future(job, take).result(_PATIENCE)

    def generate(self, **params: Any) -> dict[str, Any]:
        """Submit and wait; the `data` of the SUCCESS answer."""
        generation_id = self.submit(**params)
        self.rendered(generation_id)
        return self.until(generation_id, "SUCCESS")

    def until(self, generation_id: str, status: str) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            data = self.data(generation_id)
            if data["status"] == status:
                return data
            time.sleep(0.01)
        raise AssertionError(f"{generation_id} never became {status}")

    def songs(self, **params: Any) -> list[dict[str, Any]]:
        return list(self.generate(**params)["data"]["songs"])

    def download(self, song: dict[str, Any], **headers: str) -> httpx.Response:
        return self.http.get(song["song_path"], headers=headers)

    def receive(self, into: bytearray, method: str, url: str, **request: Any) -> None:
        """Stream an answer into `into`, which keeps what arrived before an error. httpx's exceptions propagate."""
        with self.http.stream(method, url, **request) as answer:
            for piece in answer.iter_raw():
                into += piece

    def play(self, *rules: dict[str, Any]) -> None:
        """Replace the fault script over HTTP, as another process would."""
        script = FaultScript.of(*rules)
        sent = self.http.put(
            "/_simulator/faults", content=script.model_dump_json(exclude_unset=True, by_alias=True)
        )
        assert sent.json() == {"rules": len(rules)}, sent.text

    def posts(self) -> int:
        return int(self.http.get("/_simulator/bill").json()["posts"])

    def age(self, generation_id: str, seconds: float) -> None:
        """Set the gateway's clock to this many seconds after the submit."""
        job = self.server.gateway.store.job(generation_id)
        assert job is not None
        self.server.gateway.clock = lambda: job.submitted_at + seconds


@pytest.fixture
def simulate() -> Iterator[Callable[..., Simulation]]:
    """Starts simulators; by default, jobs finish at once and songs last 0.3 s."""
    started: list[Simulation] = []

    def start(**settings: Any) -> Simulation:
        usual = {"median_seconds": 0.0, "clip_seconds": 0.3}
        started.append(Simulation(SimulatorSettings(**{**usual, **settings})))
        return started[-1]

    yield start
    for sim in started:
        sim.close()


@pytest.fixture
def sim(simulate: Callable[..., Simulation]) -> Simulation:
    return simulate()


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"
