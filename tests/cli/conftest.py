"""The command as a process with its own environment, against simulated gateways on real sockets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from support.commands import COMMAND, Forked, ForkServer, fork_server

from songflow.simulator import FaultScript, SimulatorServer, SimulatorSettings

KEY = "sk-never/Show+me=0123456789abcdef"

__all__ = ["fork_server", "gateways", "heal", "posts", "shell", "to"]

Process = subprocess.Popen[bytes] | Forked


@dataclass(frozen=True)
class Run:
    """A command that has ended."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def out(self) -> str:
        """The text on stdout."""
        return self.stdout.decode()

    @property
    def err(self) -> str:
        """The text on stderr."""
        return self.stderr.decode()

    @property
    def json(self) -> dict[str, Any]:
        """The only object on stdout; any other output fails the test."""
        assert self.stdout.endswith(b"\n")
        assert self.stdout.count(b"\n") == 1
        found = json.loads(self.stdout)
        assert isinstance(found, dict)
        return found


@dataclass
class Shell:
    """Runs `songflow` in a folder of its own; `run` waits for the end, `start` does not.

    Commands are forks of a process with all modules loaded, unless `installed`: then they start from the script.
    """

    folder: Path
    forks: ForkServer
    key: str = KEY
    installed: bool = False
    running: list[Process] = field(default_factory=list)

    @property
    def library(self) -> Path:
        """The default library."""
        return self.folder / "songs"

    def environment(self, **more: str | None) -> dict[str, str]:
        """The environment: only PATH and the tests' certificate authority are the machine's."""
        plain = {
            "PATH": os.environ["PATH"],
            "SSL_CERT_FILE": os.environ["SSL_CERT_FILE"],
            "HOME": str(self.folder / "home"),
            "PREFECT_HOME": str(self.folder / "prefect"),
            "LANG": "C.UTF-8",
            "SONGFLOW_MEASURE": "off",
            "COMETAPI_KEY": KEY,
            "OPENAI_HK_KEY": KEY,
            **more,
        }
        return {name: value for name, value in plain.items() if value is not None}

    def start(self, *arguments: str, env: dict[str, str | None] | None = None) -> Process:
        """The process, with pipes; SIGINT reaches it alone."""
        environment = self.environment(**(env or {}))
        process: Process
        if self.installed or not self.forks.can_start(environment):
            process = subprocess.Popen(
                [*COMMAND, *arguments],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        else:
            process = self.forks.start(arguments, self.folder, environment)
        self.running.append(process)
        return process

    def run(self, *arguments: str, env: dict[str, str | None] | None = None) -> Run:
        """The ended command; none shows a traceback or the key."""
        return self.end(self.start(*arguments, env=env))

    def end(self, process: Process) -> Run:
        """Wait for a process that was started."""
        out, err = process.communicate(timeout=100)
        run = Run(process.returncode, out, err)
        assert b"Traceback" not in err + out, run.err
        assert KEY.encode() not in err + out
        return run

    def interrupt(self, process: Process, when: str) -> Run:
        """Press Ctrl-C as soon as a text is on stderr."""
        assert process.stderr is not None
        read = b""
        while when.encode() not in read:
            line = process.stderr.readline()
            assert line, read.decode()
            read += line
        process.send_signal(signal.SIGINT)
        ended = self.end(process)
        return Run(ended.code, ended.stdout, read + ended.stderr)


@pytest.fixture
def shell(tmp_path: Path, fork_server: ForkServer) -> Iterator[Shell]:
    """A folder in which `songflow` runs."""
    opened = Shell(tmp_path, fork_server)
    (tmp_path / "home").mkdir()
    yield opened
    for process in opened.running:
        if process.poll() is None:
            process.kill()
            process.communicate()


class Gateways(Protocol):
    """Starts a simulated gateway with these faults; `settings` are those of `SimulatorSettings`."""

    def __call__(self, *faults: dict[str, Any], **settings: Any) -> SimulatorServer: ...


@pytest.fixture
def gateways() -> Iterator[Gateways]:
    """Simulated gateways with songs of 0.25 s that are finished at once."""
    running: list[SimulatorServer] = []

    def start(*faults: dict[str, Any], **settings: Any) -> SimulatorServer:
        chosen = {"clip_seconds": 0.25, "speed": 500.0, "sigma": 0.0, **settings}
        server = SimulatorServer(SimulatorSettings(faults=FaultScript.of(*faults), **chosen))
        server.start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def heal() -> Callable[[SimulatorServer], None]:
    """Remove all faults of a gateway."""

    def put(server: SimulatorServer) -> None:
        httpx.put(f"{server.url}/_simulator/faults", json=[]).raise_for_status()

    return put


@pytest.fixture
def posts() -> Callable[[SimulatorServer], int]:
    """Number of POSTs that a gateway has seen, billed or not."""

    def count(server: SimulatorServer) -> int:
        found: int = httpx.get(f"{server.url}/_simulator/requests").json()["posts"]["seen"]
        return found

    return count


@pytest.fixture
def to() -> Callable[..., list[str]]:
    """The options that choose a simulated gateway."""

    def options(server: SimulatorServer, gateway: str = "cometapi") -> list[str]:
        return ["--gateway", gateway, "--base-url", server.url, "--poll-interval", "0.1", "--json"]

    return options
