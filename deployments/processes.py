"""Processes that are started together and end together, each with a log of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from songflow.errors import SongflowError

__all__ = ["Group", "ProcessFailed", "free_port"]

_PATIENCE_SECONDS = 20.0


class ProcessFailed(SongflowError):
    """A process that others need has ended, or never became ready."""


@dataclass
class Group:
    """Named processes, in the order of their start; they end in the opposite one.

    Attributes:
        folder: Where they run, and where each writes `<name>.log`.
        environment: What they see of it, and nothing else.
    """

    folder: Path
    environment: Mapping[str, str]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(
        self, name: str, command: Sequence[str], more: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process in a session of its own: what it starts ends with it in `stop`."""
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
        """Start a process and wait for its end.

        Raises:
            ProcessFailed: it did not end well.
        """
        if self.start(name, command, more).wait() != 0:
            raise self.failed(name)
        del self.running[name]

    def until_it_answers(self, name: str, url: str, seconds: float = 120.0) -> None:
        """Wait until a process that was started answers at an address, for so many seconds.

        Raises:
            ProcessFailed: it has ended, or does not answer.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.is_alive(name):
            with suppress(httpx.TransportError):
                if httpx.get(url, timeout=5, trust_env=False).is_success:
                    return
            time.sleep(0.1)
        raise self.failed(name)

    def failed(self, name: str) -> ProcessFailed:
        """What a process said last, as an error."""
        last = self._log(name).read_text(errors="replace")[-2000:]
        return ProcessFailed(f"{name} has failed:\n{last}", next=f"see {self._log(name)}.")

    def is_alive(self, name: str) -> bool:
        """Whether a process runs."""
        return name in self.running and self.running[name].poll() is None

    def kill(self, name: str) -> None:
        """SIGKILL to the process alone: what it started goes on, as after a crash."""
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def stop(self, name: str) -> None:
        """End a process and everything that it has started."""
        process = self.running.pop(name, None)
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop_all(self) -> None:
        """End everything, the last started first: who needs a server ends before it."""
        for name in reversed(list(self.running)):
            self.stop(name)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
