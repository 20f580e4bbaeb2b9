"""Start processes as a group, each with a log file, and end them together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from songflow.errors import SongflowError

__all__ = ["Group", "ProcessFailed", "free_port", "prefect_command"]

_STOP_SECONDS = 20.0
# Prefect's server starts in 10 s on an idle machine, and in minutes on one with several test runs at once.
_PREFECT_START_SECONDS = 240.0


class ProcessFailed(SongflowError):
    """A process has ended early, or did not become ready."""


@dataclass
class Group:
    """Named processes, stopped in the reverse order of their start.

    Attributes:
        folder: Their working directory, where each writes `<name>.log`.
        environment: Their whole environment; nothing else is inherited.
    """

    folder: Path
    environment: Mapping[str, str]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(
        self, name: str, command: Sequence[str], more: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process in a new session, so that `stop` also ends the processes it starts."""
        with self._log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**self.environment, **(more or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.running[name]

    def run(self, name: str, command: Sequence[str], more: Mapping[str, str] | None = None) -> None:
        """Run a process to its end.

        Raises:
            ProcessFailed: its exit code is not 0.
        """
        if self.start(name, command, more).wait() != 0:
            raise self.failed(name)
        del self.running[name]

    def start_prefect_server(
        self, port: int, *options: str, more: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a Prefect server on 127.0.0.1 as the process "server", and wait until its API is healthy.

        Raises:
            ProcessFailed: it has ended, or does not answer.
        """
        address = ("--host", "127.0.0.1", "--port", str(port))
        process = self.start("server", prefect_command("server", "start", *address, *options), more)
        self.wait_until_healthy("server", f"http://127.0.0.1:{port}/api/health", _PREFECT_START_SECONDS)
        return process

    def wait_until_healthy(self, name: str, url: str, seconds: float) -> None:
        """Wait until a process answers a GET of a URL with success.

        Raises:
            ProcessFailed: it has ended, or does not answer in that time.
        """
        end = time.monotonic() + seconds
        with httpx.Client(timeout=5, trust_env=False) as client:  # opening one takes 25 ms of CPU
            while time.monotonic() < end and self.is_alive(name):
                with suppress(httpx.TransportError):
                    if client.get(url).is_success:
                        return
                time.sleep(0.1)
        raise self.failed(name)

    def failed(self, name: str) -> ProcessFailed:
        """Make an error with the end of a process's log."""
        last = self._log(name).read_text(errors="replace")[-2000:]
        return ProcessFailed(f"{name} has failed:\n{last}", next=f"see {self._log(name)}.")

    def is_alive(self, name: str) -> bool:
        """True while a process runs."""
        return name in self.running and self.running[name].poll() is None

    def kill(self, name: str) -> None:
        """Send SIGKILL to the process alone: its children continue, as after a crash."""
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def stop(self, name: str) -> None:
        """End a process and the processes it has started."""
        process = self.running.pop(name, None)
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop_all(self) -> None:
        """End all processes, the last started first, so that a server outlives its clients."""
        for name in reversed(list(self.running)):
            self.stop(name)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def prefect_command(*arguments: str) -> list[str]:
    """The command line of Prefect in this interpreter's environment."""
    return [sys.executable, "-m", "prefect", *arguments]


def free_port() -> int:
    """A port on which nothing listens at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
