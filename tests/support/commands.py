"""Processes of the `songflow` command, forked from one that has its modules loaded (see `fork_server.py`)."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pytest

COMMAND = [str(Path(sys.executable).parent / "songflow")]
_SERVER = Path(__file__).with_name("fork_server.py")
_LOCALE = {"LANG": "C.UTF-8"}


class Forked:
    """A forked command; the part of `subprocess.Popen` that tests use."""

    stdin = None

    def __init__(self, pid: int, stdout: IO[bytes], stderr: IO[bytes], status: int) -> None:
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        """The exit code (negative: the signal), None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; returns the exit code."""
        if self.returncode is None:
            readable, _, _ = select.select([self._status], [], [], timeout)
            if not readable:
                raise subprocess.TimeoutExpired("songflow", timeout or 0.0)
            (self.returncode,) = struct.unpack("!q", os.read(self._status, 8))
            os.close(self._status)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Read both pipes to their end; after `timeout` seconds the process is killed and TimeoutExpired raised."""
        with ThreadPoolExecutor(2) as threads:
            reading = [
                threads.submit(lambda pipe=pipe: b"" if pipe.closed else pipe.read())
                for pipe in (self.stdout, self.stderr)
            ]
            try:
                out, err = (one.result(timeout) for one in reading)
            except TimeoutError:
                self.kill()
                raise subprocess.TimeoutExpired("songflow", timeout or 0.0) from None
        self.stdout.close()
        self.stderr.close()
        self.wait(timeout)
        return out, err

    def send_signal(self, number: int) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """Starts commands from one process with all modules loaded."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        plain = {
            name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "SSL_CERT_FILE"}
        }
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, _SERVER],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                # A fork takes no threads with it.
                env={**plain, **_LOCALE, "OPENBLAS_NUM_THREADS": "1"},
                cwd=Path(__file__).parents[2],
            )
        assert self._socket.recv(1) == b"+", "the fork server did not start"

    def start(
        self,
        arguments: tuple[str, ...],
        folder: Path,
        environment: Mapping[str, str],
        *,
        closed: Sequence[int] = (),
        full: Sequence[int] = (),
    ) -> Forked:
        """Start `songflow` with these arguments, in a session of its own and with an empty stdin.

        Args:
            arguments, folder, environment: Of the process.
            closed: The standard descriptors that it does not have.
            full: Those that are /dev/full.
        """
        plan: dict[str, Any] = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": dict(environment),
            "closed": list(closed),
            "full": list(full),
        }
        text = json.dumps(plan).encode()
        out, their_out = os.pipe()
        err, their_err = os.pipe()
        status, their_status = os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY)
        theirs = [nothing, their_out, their_err, their_status]
        socket.send_fds(self._socket, [struct.pack("!q", len(text))], theirs)
        for file in theirs:
            os.close(file)
        self._socket.sendall(text)
        (pid,) = struct.unpack("!q", self._socket.recv(8))
        return Forked(pid, os.fdopen(out, "rb"), os.fdopen(err, "rb"), status)

    def close(self) -> None:
        """End the server; commands that still run go on."""
        self._socket.close()
        self._process.wait()


def reads_at_start(environment: Mapping[str, str]) -> bool:
    """Whether the interpreter itself reads something of this environment, so that a fork would differ."""
    return any(
        name.startswith(("PYTHON", "LC_")) or (name == "LANG" and value != _LOCALE["LANG"])
        for name, value in environment.items()
    )


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """The test process's fork server."""
    server = ForkServer()
    yield server
    server.close()
