"""A reader who follows a document: runs its commands where possible, with songs from fast simulators."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pandas
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from support.documents import ROOT
from support.forms import forget_deployments
from support.prefect_server import PrefectServer

import deployments.doctor
import songflow.generation.poll_schedules
import songflow.simulator
from cli.main import run
from deployments.health import Check
from songflow.catalog.manifest import read_manifest
from songflow.ledger.states import State
from songflow.library.library import Library
from songflow.settings import LibrarySettings
from songflow.simulator import SimulatorServer, SimulatorSettings

KEY = "sk-of-the-documents-0123456789abcdef"
_QUICK = {"speed": 500.0, "sigma": 0.0, "median_seconds": 30.0, "clip_seconds": 1.0}
_KEYS = ("COMETAPI_KEY", "OPENAI_HK_KEY", "SONGFLOW_API_KEY")
_START_SECONDS = 120.0


class Reader:
    """A reader's folder, environment and gateway; `songflow` and `process` run a command and return its exit code."""

    def __init__(self, folder: Path, change: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.output = ""
        self.simulated = ""
        self.settings: dict[str, Any] = {**_QUICK}
        self.names: dict[str, Any] = {"__name__": "document"}
        self._change = change
        self._capture = capture
        self._open = ExitStack()
        self._gateway: SimulatorServer | None = None
        self._lost = 0

    def close(self) -> None:
        """Stop everything that was started."""
        self._open.close()

    @property
    def gateway(self) -> SimulatorServer:
        """The simulated gateway used in place of every real one."""
        if self._gateway is None:
            self._gateway = self._open.enter_context(
                SimulatorServer(SimulatorSettings(state_dir=self.folder / "gateway", **self.settings))
            )
        return self._gateway

    # --- running commands ---

    def songflow(self, *arguments: str) -> int:
        """Run the `songflow` command inside this process."""
        code = run(list(arguments))
        self.capture()
        return code

    def capture(self) -> None:
        """Add the captured output to `output`."""
        out, err = self._capture.readouterr()
        self.output += out + err

    def process(self, *words: str, where: Path | None = None) -> int:
        """Run another program as a process."""
        done = subprocess.run(
            _as_process(words),
            cwd=where or self.folder,
            env=dict(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_START_SECONDS,
            check=False,
        )
        self.output += done.stdout.decode()
        return done.returncode

    def started(self, *words: str, until: str) -> str:
        """Start a command that serves until Ctrl-C, wait until its log matches `until`, and return the matched text."""
        return self._open.enter_context(Service(words, self.folder, until)).found

    def python(self, text: str) -> None:
        """Run a Python block."""
        exec(compile(text, "document", "exec"), self.names)
        self.capture()

    def set(self, assignment: str) -> None:
        """`export NAME=value`; Prefect reads its settings once, so they are changed as well."""
        name, _, value = assignment.partition("=")
        self._change.setenv(name, value)
        if name == "PREFECT_API_URL":
            self._change.delenv("SONGFLOW_PREFECT")
            chosen = {PREFECT_API_URL: value, PREFECT_HOME: Path(os.environ["PREFECT_HOME"])}
            self._open.enter_context(temporary_settings(chosen))

    # --- values for placeholders ---

    def manifest(self) -> pandas.DataFrame:
        """The stored songs of the library, oldest first; if there is none, one is made."""
        found = asyncio.run(self._manifest())
        if found.empty:
            assert self.songflow("generate", "a song to begin with") == 0, self.output
            found = asyncio.run(self._manifest())
        return found

    async def _manifest(self) -> pandas.DataFrame:
        async with Library(LibrarySettings.from_environment()) as library:
            frame = await read_manifest(library.ledger)
        return frame[frame["song_state"] == "stored"].sort_values("stored_at")

    def unknown(self) -> tuple[str, str]:
        """The key of a request whose answer was lost, and its id in the gateway's own log."""
        found = asyncio.run(self._unknown())
        if found is None:
            prompt, key = f"a lost waltz {self._lost}", f"lost-{self._lost}"
            self._lost += 1
            self.lose_an_answer()
            there = ("--gateway", "cometapi", "--base-url", self.gateway.url)
            assert self.songflow("generate", prompt, "--key", key, *there) == 5, self.output
            found = key, prompt
        [entry] = [one for one in self.gateway.bill() if one.body["gen_params"]["prompt"] == found[1]]
        asked = f"{self.gateway.url}/udio/fetch/{entry.generation_id}"
        while (
            httpx.get(asked, headers={"Authorization": f"Bearer {KEY}"}).json()["data"]["status"] != "SUCCESS"
        ):
            time.sleep(0.05)
        return found[0], entry.generation_id

    async def _unknown(self) -> tuple[str, str] | None:
        async with Library(LibrarySettings.from_environment()) as library:
            submissions = library.ledger.submissions
            for one in await submissions.uncollected():
                generation = await submissions.generation(one.key)
                if one.state is State.UNKNOWN and generation is not None:
                    return one.key, str(generation.sent_fields["prompt"])
        return None

    def lose_an_answer(self) -> None:
        """Let the gateway bill the next request for a lost waltz and lose its answer."""
        script = [{"fault": "lost_answer", "match": "a lost waltz"}]
        httpx.put(f"{self.gateway.url}/_simulator/faults", json=script).raise_for_status()


class Service:
    """A process that serves until Ctrl-C; `found` is what its log said when it was ready."""

    def __init__(self, words: Sequence[str], folder: Path, until: str, where: Path | None = None) -> None:
        self._log = folder / f"{re.sub(r'[^a-z]+', '-', ' '.join(words).lower())}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                _as_process(words),
                cwd=where or folder,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.found = self._await(until)
        except BaseException:
            self.process.kill()
            raise

    def _await(self, until: str) -> str:
        end = time.monotonic() + _START_SECONDS
        while True:
            said = self._log.read_text(errors="replace")
            if found := re.search(until, said):
                return found[found.re.groups]
            assert self.process.poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(0.1)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _as_process(words: Sequence[str]) -> list[str]:
    """The command run by this interpreter, whatever is on the PATH."""
    match list(words):
        case ["songflow", *rest]:
            return [sys.executable, "-m", "cli", *rest]
        case ["prefect", *rest]:
            return [sys.executable, "-m", "prefect", *rest]
        case ["python", *rest]:
            return [sys.executable, *rest]
    return list(words)


@pytest.fixture
def reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Reader]:
    """A reader in an empty folder, without keys and without a Prefect server; simulators and polls are fast."""
    for name in [name for name in os.environ if name.startswith(("PREFECT_", "SONGFLOW_")) or name in _KEYS]:
        monkeypatch.delenv(name)
    for name, value in (
        ("SONGFLOW_PREFECT", "off"),
        ("SONGFLOW_MEASURE", "off"),
        ("PREFECT_HOME", str(tmp_path / "prefect")),
        ("PREFECT_SERVER_ANALYTICS_ENABLED", "false"),
        ("PYTHONPATH", str(ROOT)),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(songflow.generation.poll_schedules, "DEFAULT_INTERVAL_SECONDS", 0.1)
    opened = Reader(tmp_path, monkeypatch, capfd)

    def quick(**given: Any) -> SimulatorSettings:
        return SimulatorSettings(**{**given, **opened.settings})

    monkeypatch.setattr(songflow.simulator, "SimulatorSettings", quick)
    reachable = deployments.doctor.reachable

    async def here(part: str, _base_url: str) -> Check:
        return await reachable(part, opened.gateway.url)

    monkeypatch.setattr(deployments.doctor, "reachable", here)  # no test contacts a real gateway
    yield opened
    opened.close()


class Serving:
    """Processes that several pages need: each is started once and runs until the end of the module."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, Service] = {}
        self._servers: set[str] = set()

    def ensure(self, *words: str, until: str) -> None:
        """Start it unless it is running."""
        name = " ".join(words)
        if name not in self._running:
            self._servers.add(os.environ["PREFECT_API_URL"])
            self._running[name] = Service(words, self._folder, until, where=ROOT)

    def close(self) -> None:
        """Stop all, and remove their traces from the session's Prefect server."""
        for service in self._running.values():
            service.__exit__()
        for url in self._servers:
            forget_deployments(PrefectServer(url, self._folder))
            with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                for worker in client.post("/work_pools/songflow/workers/filter", json={}).json():
                    client.delete(f"/work_pools/songflow/workers/{worker['name']}")


@pytest.fixture(scope="module")
def serving_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The module's long-running processes."""
    serving = Serving(tmp_path_factory.mktemp("serving"))
    yield serving
    serving.close()
