"""Fork `songflow` commands and other programs from one process that has their modules loaded.

Loading the modules takes more CPU than most commands under test. A fork is a process of its own, with its own
folder, environment, pipes, session and signals. A command starts where the installed script starts: `cli.main.main`.
Another program is given as to `python`: a script, `-c CODE` or `-m MODULE`. With the argument `prefect` the server has
loaded Prefect and the flows, too, and Prefect reads its settings in each fork again.

Each request comes over the socket on stdin, with four file descriptors: stdin, stdout and stderr of the command, and a
pipe that gets its exit status. The answer is the process id.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
import threading
import time
from typing import Any

from senders import fork_sender  # beside this script
from warmth import make_a_song

from cli.app import _COMMANDS
from songflow.gateways.tls import tls_context

# What commands load only when they need it. Prefect is not among it: it reads the environment when it is loaded.
LOADED_LATE = (
    "alembic.command",
    "anyio._backends._asyncio",
    "asyncpg",
    "deployments.doctor",
    "encodings.idna",
    "fsspec.implementations.local",
    "h2.connection",
    "httpcore",
    "httpx",
    "packaging.requirements",
    "pandas",
    "pandas.core.methods.to_dict",
    "pandas.io.formats.csvs",
    "pyarrow.pandas_compat",
    "pyarrow.parquet",
    "rich._emoji_codes",
    "rich.progress",
    "songflow.catalog.batches",
    "songflow.catalog.manifest",
    "songflow.gateways.direct",
    "songflow.gateways.routed",
    "songflow.ledger.migrate",
    "songflow.recipes.making",
    "songflow.simulator.server",
    "songflow.simulator.synth.codec",
    "songflow.simulator.synth.render",
    "songflow.sweeps.run",
    "soundfile",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "uvicorn",
    "uvicorn.lifespan.on",
)
WITH_PREFECT = (
    "deployments.definitions",
    "deployments.doctor_server",
    "deployments.setup",
    "flows.attention",
    "flows.extend",
    "flows.lyrics",
    "flows.rescue",
    "flows.song",
    "flows.sweep",
    "prefect.cli.worker",
    "prefect.runner.runner",
    "prefect.workers.process",
)


def load(*, with_prefect: bool) -> None:
    """Load what commands use."""
    for where, _ in _COMMANDS.values():
        importlib.import_module(where.partition(":")[0])
    for name in LOADED_LATE:
        importlib.import_module(name)
    if with_prefect:
        for name in WITH_PREFECT:
            importlib.import_module(name)
    assert ("prefect" in sys.modules) == with_prefect
    tls_context()
    make_a_song()
    # Collecting what all forks share would copy it in each of them, at its end above all.
    gc.collect()
    gc.freeze()


class Server:
    """Forks commands and reports how they end."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._statuses: dict[int, int] = {}
        self._woken, self._wake = os.pipe()
        for end in (self._woken, self._wake):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> dict[str, Any] | None:
        """None when the socket is closed; in a fork, the plan of its program."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._requests, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is not self._requests:
                        os.read(self._woken, 4096)
                        self._reap()
                        continue
                    received = self._receive()
                    if received is None:
                        return None
                    plan, files = received
                    pid = os.fork()
                    if pid == 0:
                        self._leave()
                        become(plan, files)
                        return plan
                    self._statuses[pid] = files.pop()
                    for file in files:
                        os.close(file)
                    self._requests.sendall(struct.pack("!q", pid))

    def _receive(self) -> tuple[dict[str, Any], list[int]] | None:
        head, files, _, _ = socket.recv_fds(self._requests, 8, 4)
        if not head:
            return None
        (left,) = struct.unpack("!q", head)
        parts = []
        while left:
            parts.append(self._requests.recv(left))
            left -= len(parts[-1])
        return json.loads(b"".join(parts)), list(files)

    def _leave(self) -> None:
        """In a fork: give up what belongs to the server."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._requests.close()
        for file in (self._woken, self._wake, *self._statuses.values()):
            os.close(file)

    def _reap(self) -> None:
        while self._statuses:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            report = self._statuses.pop(pid)
            os.write(report, struct.pack("!q", os.waitstatus_to_exitcode(status)))
            os.close(report)


def become(plan: dict[str, Any], files: list[int]) -> None:
    """Turn this fork into the process that was asked for."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    for number in plan["full"]:
        os.dup2(os.open("/dev/full", os.O_WRONLY), number)
    # The streams of the server know what it had there: files, which can seek.
    sys.stdin = sys.__stdin__ = open(0, encoding=sys.stdin.encoding, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", encoding=sys.stdout.encoding, closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(  # noqa: SIM115
        2, "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace", closefd=False
    )
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if number in plan["closed"]:  # as Python itself has it
            os.close(number)
            setattr(sys, name, None)
            setattr(sys, f"__{name}__", None)
    os.chdir(plan["folder"])
    os.environ.clear()
    os.environ.update(plan["environment"])
    time.tzset()
    if "prefect" in sys.modules:
        set_up_prefect()
    if plan["forks_sender"]:
        fork_sender()


def set_up_prefect() -> None:
    """Have Prefect read this environment and write to these streams, as when it is imported."""
    from prefect.context import refresh_global_settings_context
    from prefect.logging.configuration import setup_logging

    refresh_global_settings_context()
    setup_logging(incremental=False)


def run_python(arguments: list[str]) -> None:
    """Run what `python` runs with these arguments."""
    match arguments:
        case ["-c", code, *rest]:
            sys.argv = ["-c", *rest]
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        case ["-m", module, *rest]:
            sys.argv = [module, *rest]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case [script, *rest]:
            sys.argv = [script, *rest]
            runpy.run_path(script, run_name="__main__")


def main() -> None:
    """Serve until the test process closes the socket."""
    load(with_prefect=sys.argv[1:] == ["prefect"])
    requests = socket.socket(fileno=os.dup(0))
    os.set_inheritable(requests.fileno(), False)
    requests.sendall(b"+")
    plan = Server(requests).serve()
    if plan is None:
        os._exit(0)
    try:
        if plan["python"]:
            run_python(plan["arguments"])
            return
        sys.argv = ["songflow", *plan["arguments"]]
        importlib.import_module("cli.main").main()
    except SystemExit as ended:
        if isinstance(ended.code, int):
            leave(ended.code)
        raise


def leave(code: int) -> None:
    """End as the interpreter does, but without taking its modules apart: a fork would copy them all for that.

    Returns if that is left to the interpreter, which reports what cannot be written.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except (OSError, ValueError):
        return
    os._exit(code)


if __name__ == "__main__":
    main()
