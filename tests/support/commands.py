"""Processes of the `songflow` command and of Prefect, forked from one with their modules loaded (`fork_server.py`)."""

from __future__ import annotations

import asyncio
import json
import os
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import pytest

COMMAND = [str(Path(sys.executable).parent / "songflow")]
ROOT = Path(__file__).parents[2]
_SERVER = Path(__file__).with_name("fork_server.py")
_LOCALE = {"LANG": "C.UTF-8"}
_SENDING = {(name,) for name in ("generate", "extend", "song", "sweep", "lyrics", "rescue", "demo", "listen")}
"""The commands that may send a request, and need a sender then."""
PATIENCE = 280.0
"""How long (s) a process may take: less than a test may, so that a test that fails says what was printed."""


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

    def communicate(self, timeout: float = PATIENCE) -> tuple[bytes, bytes]:
        """Read both pipes to their end; after `timeout` seconds the process is killed and TimeoutExpired raised."""
        end = time.monotonic() + timeout
        texts = {pipe: bytearray() for pipe in (self.stdout, self.stderr)}
        with selectors.DefaultSelector() as selector:
            for pipe in texts:
                if not pipe.closed:
                    selector.register(pipe, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select(max(0.0, end - time.monotonic())):
                    pipe = key.fileobj
                    read = pipe.read1(1 << 16)
                    texts[pipe] += read
                    if not read:
                        selector.unregister(pipe)
                if time.monotonic() > end:
                    self.kill()
                    raise subprocess.TimeoutExpired("songflow", timeout, *map(bytes, texts.values()))
        self.stdout.close()
        self.stderr.close()
        self.wait(timeout)
        return bytes(texts[self.stdout]), bytes(texts[self.stderr])

    def send_signal(self, number: int) -> None:
        """Send a signal unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def wait_or_kill(process: subprocess.Popen[Any], seconds: float = 20.0) -> None:
    """Wait for a process that was told to end. What a failed test left may keep it: then it is killed."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class ForkServer:
    """Starts commands from one process with all modules loaded.

    Args:
        interpreter: What the interpreter itself reads of their environment.
        prefect_home: Where Prefect, which is loaded as well then, keeps its own files (None: it is not).
    """

    def __init__(self, interpreter: Mapping[str, str] = _LOCALE, *, prefect_home: Path | None = None) -> None:
        self._interpreter = dict(interpreter)
        self._socket, theirs = socket.socketpair()
        plain = {
            name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "SSL_CERT_FILE"}
        }
        with_prefect = []
        if prefect_home is not None:
            with_prefect = ["prefect"]
            plain |= {"PREFECT_HOME": str(prefect_home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, _SERVER, *with_prefect],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                # A fork takes no threads with it.
                env={**plain, **_LOCALE, **interpreter, "OPENBLAS_NUM_THREADS": "1"},
                cwd=ROOT,
            )
        assert self._socket.recv(1) == b"+", "the fork server did not start"

    def start(
        self,
        arguments: tuple[str, ...],
        folder: Path,
        environment: Mapping[str, str],
        *,
        python: bool = False,
        quiet: bool = False,
        closed: Sequence[int] = (),
        full: Sequence[int] = (),
        given: Mapping[int, int] = MappingProxyType({}),
    ) -> Forked:
        """Start `songflow` with these arguments, in a session of its own and with an empty stdin.

        Args:
            arguments, folder, environment: Of the process.
            python: It is not `songflow`, but what `python` runs with these arguments.
            quiet: Its output goes nowhere, and what is read of it is empty.
            closed: The standard descriptors that it does not have.
            full: Those that are /dev/full.
            given: Those that are files of the caller's, a terminal perhaps.
        """
        plan: dict[str, Any] = {
            "arguments": arguments,
            "python": python,
            "folder": str(folder),
            "environment": dict(environment),
            "closed": list(closed),
            "full": list(full),
            "forks_sender": python or arguments[:1] in _SENDING,
        }
        text = json.dumps(plan).encode()
        out, their_out = os.pipe()
        err, their_err = os.pipe()
        status, their_status = os.pipe()
        nothing = os.open(os.devnull, os.O_RDWR if quiet else os.O_RDONLY)
        if quiet:
            for end in (their_out, their_err):
                os.dup2(nothing, end)
        theirs = [nothing, their_out, their_err, their_status]
        files = [given.get(number, file) for number, file in enumerate(theirs)]
        socket.send_fds(self._socket, [struct.pack("!q", len(text))], files)
        for file in theirs:
            os.close(file)
        self._socket.sendall(text)
        (pid,) = struct.unpack("!q", self._socket.recv(8))
        return Forked(pid, os.fdopen(out, "rb"), os.fdopen(err, "rb"), status)

    def can_start(self, environment: Mapping[str, str]) -> bool:
        """Whether a command in this environment is a fork; else its interpreter would read something different."""
        read = {
            name: value
            for name, value in environment.items()
            if name == "LANG" or name.startswith(("PYTHON", "LC_"))
        }
        return {**_LOCALE, **read} == {**_LOCALE, **self._interpreter}

    def close(self) -> None:
        """End the server; commands that still run go on."""
        self._socket.close()
        wait_or_kill(self._process)


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """The test process's fork server."""
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def prefect_fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """The test process's fork server that has loaded Prefect and the flows, too."""
    server = ForkServer(prefect_home=tmp_path_factory.mktemp("fork-server"))
    yield server
    server.close()


class Program:
    """A forked program; the part of `asyncio.subprocess.Process` that tests use."""

    def __init__(self, forked: Forked) -> None:
        self._forked = forked
        self.pid = forked.pid
        self.send_signal = forked.send_signal

    @property
    def returncode(self) -> int | None:
        """The exit code (negative: the signal), None while it runs."""
        return self._forked.poll()

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    async def wait(self) -> int:
        """Wait for the end; returns the exit code."""
        while (code := self._forked.poll()) is None:  # noqa: ASYNC110 - another process gives no event
            await asyncio.sleep(0.02)
        return code

    def stop_reading(self) -> None:
        """Close our end of its output."""
        self._forked.stdout.close()
        self._forked.stderr.close()

    async def communicate(self) -> tuple[bytes, bytes]:
        """All of its output."""
        return await asyncio.to_thread(self._forked.communicate)


@pytest.fixture
def program(
    prefect_fork_server: ForkServer,
) -> Callable[..., Awaitable[Program | asyncio.subprocess.Process]]:
    """`await program(*arguments, env=...)` starts what `python` runs with these arguments, in a session of its own.

    Its folder is that of the project by default. `quiet`: nobody reads its output. `fresh`: it is no fork, so that it
    loads its modules itself.
    """

    async def start(
        *arguments: object,
        env: Mapping[str, str],
        cwd: Path = ROOT,
        quiet: bool = False,
        fresh: bool = False,
    ) -> Program | asyncio.subprocess.Process:
        texts = tuple(map(str, arguments))
        if not fresh:
            return Program(prefect_fork_server.start(texts, cwd, env, python=True, quiet=quiet))
        output = asyncio.subprocess.DEVNULL if quiet else asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *(sys.executable, *texts),
            cwd=cwd,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    return start
