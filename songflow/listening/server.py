"""Serve the listening room on a local socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import uvicorn

from songflow.listening.app import listening_app
from songflow.settings import LibrarySettings

__all__ = ["serve_room"]

_HOST = "127.0.0.1"


class _Server(uvicorn.Server):
    """A uvicorn server that calls `ready` once it accepts requests."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def serve_room(settings: LibrarySettings, port: int, ready: Callable[[str], None]) -> None:
    """Serve a library until Ctrl-C; `ready` is called with the address. Port 0 selects a free port.

    Raises:
        OSError: the port is taken.
        LibraryError: the library cannot be opened.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen(64)
        app = listening_app(settings)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, ws="none", lifespan="on"
        )
        server = _Server(config, lambda: ready(f"http://{_HOST}:{listener.getsockname()[1]}"))
        try:
            asyncio.run(server.serve([listener]))
        except KeyboardInterrupt:
            return
