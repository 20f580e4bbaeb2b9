"""The simulator on a socket: in a thread for tests and the embedded default, or in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Generator
from types import FrameType, TracebackType
from typing import Self

import uvicorn

from songflow.simulator.app import create_app
from songflow.simulator.gateway import Gateway
from songflow.simulator.jobs import BillEntry
from songflow.simulator.settings import SimulatorSettings
from songflow.simulator.wire import TransportProtocol

_DATE_REFRESH = 1.0
_START_TIMEOUT = 30.0


class _Server(uvicorn.Server):
    """uvicorn that stops at once: its clients are disconnected as by a gateway that was killed."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._wake: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._on_ready()
        counter = 0
        while not await self.on_tick(counter):
            counter += 10  # uvicorn refreshes its Date header if this is a multiple of ten
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _DATE_REFRESH)

    def request_stop(self) -> None:
        """Stop; may be called from any thread and from a signal handler."""
        self.should_exit = True
        if self._loop is not None and self._wake is not None:
            with contextlib.suppress(RuntimeError):  # the loop may have closed in the meantime
                self._loop.call_soon_threadsafe(self._wake.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.lifespan.shutdown()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.request_stop()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # uvicorn raises the signal again after a clean stop; here a requested stop is a success.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # IPPROTO_TCP: asyncio disables Nagle's delay only on such sockets, and it costs 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def _url(host: str, listener: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


def _build(settings: SimulatorSettings, on_ready: Callable[[], None]) -> tuple[_Server, Gateway]:
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        http=TransportProtocol,
        loop="asyncio",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        timeout_keep_alive=30,
        server_header=False,
    )
    return _Server(config, on_ready), app.state.gateway


class SimulatorServer:
    """A simulator in a daemon thread. Port 0 picks a free one. It can be restarted after a stop.

    Restarted on the same `state_dir` (any port, any speed), it knows everything accepted before.
    """

    def __init__(
        self, settings: SimulatorSettings | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.settings = settings or SimulatorSettings()
        self._host = host
        self._port = port
        self._url = ""
        self._server: _Server | None = None
        self._gateway: Gateway | None = None
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def url(self) -> str:
        """Base URL without a trailing slash; empty before the first start."""
        return self._url

    @property
    def gateway(self) -> Gateway:
        """The gateway's state; its clock can be set. Raises RuntimeError before the first start."""
        if self._gateway is None:
            raise RuntimeError("the simulator was not started")
        return self._gateway

    def start(self) -> str:
        """Start, and return the base URL once requests are accepted. Raises OSError if port or state are unusable."""
        if self._thread is not None:
            return self._url
        ready = threading.Event()
        listener = _listen(self._host, self._port)
        server, self._gateway = _build(self.settings, ready.set)
        self._server, self._error = server, None

        def run() -> None:
            try:
                asyncio.run(server.serve(sockets=[listener]))
            except BaseException as error:
                self._error = error
            finally:
                listener.close()
                ready.set()

        self._url = _url(self._host, listener)
        self._thread = threading.Thread(target=run, name="songflow-simulator", daemon=True)
        self._thread.start()
        if not ready.wait(_START_TIMEOUT) or not server.started:
            self._thread.join(_START_TIMEOUT)
            self._thread = None
            raise OSError(f"the simulator could not start with {self.settings!r}") from self._error
        return self._url

    def stop(self) -> None:
        """Close all connections and stop; the bill stays readable. No effect if it is not running."""
        if self._thread is None or self._server is None:
            return
        self._server.request_stop()
        self._thread.join()
        self._thread = None

    def bill(self) -> list[BillEntry]:
        """Every accepted POST, oldest first, including those from before a restart on the same state directory."""
        return self._gateway.bill() if self._gateway is not None else []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def serve(
    settings: SimulatorSettings,
    host: str = "127.0.0.1",
    port: int = 0,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Run in the foreground until SIGINT or SIGTERM, then return. `on_ready` receives the base URL.

    Raises OSError if the port is taken.
    """
    listener = _listen(host, port)
    url = _url(host, listener)
    server, _ = _build(settings, lambda: on_ready(url) if on_ready else None)
    try:
        asyncio.run(server.serve(sockets=[listener]))
    finally:
        listener.close()
