"""Senders in tests: stopped at a fail point, in a thread of the test's own process, or forked instead of started."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from songflow.runtime import failpoints
from songflow.runtime.failpoints import FAIL_POINT_VARIABLE
from songflow.sender import client, process
from songflow.settings import sender_environment


def stop_sender(point: str) -> dict[str, str]:
    """The environment in which a sender stops at a fail point until somebody continues it."""
    return {FAIL_POINT_VARIABLE: f"{point}=SIGSTOP"}


def fill(folder: Path) -> None:
    """Fill a folder's file system to the last byte."""
    # Whole pages first, then what is left of them.
    for size in (65536, 1):
        with suppress(OSError), (folder / "filler").open("ab", buffering=0) as file:
            while file.write(bytes(size)) == size:
                pass


def fork_sender() -> None:
    """Fork this process's sender now; it waits until it is started.

    A new interpreter takes 0.2 s of CPU. A process that was just forked has nothing to hand on but loaded modules: it
    must have opened, patched and begun nothing yet. If its sender dies, the next one is a new interpreter.
    """
    bell, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    asker, pid = os.getpid(), os.fork()
    if pid == 0:
        _wait_to_send(theirs)
    theirs.close()
    start_interpreter = client._start_process

    def start() -> client.Sender:
        client._start_process = start_interpreter
        if os.getpid() != asker:  # a fork of this process: the sender is not its child
            return start_interpreter()
        ours, connection = socket.socketpair()
        told = json.dumps({"environment": sender_environment(), "path": sys.path}).encode()
        with bell, connection:
            socket.send_fds(bell, [told], [connection.fileno()])
        return client.Sender(ours, _Child(pid))  # type: ignore[arg-type]

    client._start_process = start


class _Child:
    """A forked sender; the part of `subprocess.Popen` that `Sender` uses."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.returncode: int | None = None

    def wait(self) -> None:
        """Wait for its end."""
        _, status = os.waitpid(self._pid, 0)
        self.returncode = os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        """Send SIGKILL unless it has ended."""
        if self.returncode is None:
            os.kill(self._pid, signal.SIGKILL)


def _wait_to_send(bell: socket.socket) -> NoReturn:
    """Be a sender as `client` starts it: in a session of its own, with no open file of the asker's."""
    code = 1
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        opened = {0, 1, 2, *(int(one.name) for one in Path("/proc/self/fd").iterdir())}
        # Replaced and not closed: an object of the asker's that closes its file later would close one of ours.
        for number in opened - {null, bell.fileno()}:
            os.dup2(null, number)
        for number in (signal.SIGINT, signal.SIGCHLD, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        text, files, _, _ = socket.recv_fds(bell, 1 << 18, 1)
        if files:
            told: dict[str, Any] = json.loads(text)
            os.environ.clear()
            os.environ.update(told["environment"])
            sys.path[:] = told["path"]
            importlib.reload(failpoints)  # it reads the environment
            process.main(files[0])
        code = 0
    finally:
        os._exit(code)
