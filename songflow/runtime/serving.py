"""Serve an ASGI application on a socket of this machine until Ctrl-C."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["serve_app"]


class _Server(uvicorn.Server):
    """A uvicorn server that calls `ready` once it accepts requests.

    It enters the application's lifespan itself: uvicorn would print the traceback of an error there, and exit.
    """

    def __init__(self, config: uvicorn.Config, app: Starlette, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._ready = ready
        self._entered = AsyncExitStack()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        async with self._entered:
            await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await self._entered.enter_async_context(self._app.router.lifespan_context(self._app))
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        await self._entered.aclose()  # before `serve` raises the signal that ended it once more


def serve_app(
    app: Starlette,
    host: str,
    port: int,
    ready: Callable[[str], None],
    *,
    tls: tuple[Path, Path] | None = None,
) -> None:
    """Serve an application; `ready` is called with its address once it accepts requests.

    Args:
        host: An IPv4 address of this machine, or a name of one.
        port: 0 takes a free one.
        ready: Called with the address.
        tls: The files of the certificate and its key, for https.

    Raises:
        OSError: the host, the port or the certificate cannot be used.
        Exception: whatever the application's lifespan raises.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(64)
        certificate, key = tls or (None, None)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="off",
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        config.load()  # with the certificate
        scheme = "http" if tls is None else "https"
        server = _Server(config, app, lambda: ready(f"{scheme}://{host}:{listener.getsockname()[1]}"))
        try:
            asyncio.run(server.serve([listener]))
        except KeyboardInterrupt:
            return
