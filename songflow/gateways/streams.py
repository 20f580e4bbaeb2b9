"""A network backend for httpcore on asyncio's streams.

httpcore's own goes through anyio, which also serves Trio, and takes 6 % of the CPU of a sweep.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Iterable, Mapping
from typing import Any, TypeVar

import httpcore

__all__ = ["AsyncioBackend"]

# Between attempts at the addresses of a host, as RFC 8305 recommends.
_HAPPY_EYEBALLS_SECONDS = 0.25
_BUFFER_BYTES = 64 * 1024
_NAMES = {"client_addr": "sockname", "server_addr": "peername"}

_T = TypeVar("_T")
_Errors = Mapping[type[Exception], type[Exception]]

# TimeoutError is an OSError, so it comes first.
_CONNECTING: _Errors = {TimeoutError: httpcore.ConnectTimeout, OSError: httpcore.ConnectError}
_READING: _Errors = {TimeoutError: httpcore.ReadTimeout, OSError: httpcore.ReadError}
_WRITING: _Errors = {TimeoutError: httpcore.WriteTimeout, OSError: httpcore.WriteError}


class AsyncioBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections in the running event loop."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to a host.

        Args:
            timeout: Seconds.

        Raises:
            httpcore.ConnectError, httpcore.ConnectTimeout: no address of the host can be reached.
        """
        loop = asyncio.get_running_loop()
        protocol = _Protocol(asyncio.StreamReader(_BUFFER_BYTES, loop))
        opening = loop.create_connection(
            lambda: protocol,
            host,
            port,
            local_addr=None if local_address is None else (local_address, 0),
            happy_eyeballs_delay=_HAPPY_EYEBALLS_SECONDS,
        )
        transport, _ = await _within(timeout, opening, _CONNECTING)
        for option in socket_options or ():
            transport.get_extra_info("socket").setsockopt(*option)
        return _Stream(protocol, asyncio.StreamWriter(transport, protocol, protocol.reader, loop))

    async def sleep(self, seconds: float) -> None:
        """Wait seconds."""
        await asyncio.sleep(seconds)


class _Protocol(asyncio.StreamReaderProtocol):
    """Feeds a reader, and counts the bytes that arrive."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self.reader = reader
        self.arrived = 0

    def data_received(self, data: bytes) -> None:
        self.arrived += len(data)
        super().data_received(data)


class _Stream(httpcore.AsyncNetworkStream):
    """A connection, with TLS after `start_tls`."""

    def __init__(self, protocol: _Protocol, writer: asyncio.StreamWriter) -> None:
        self._protocol = protocol
        self._writer = writer
        self._read = 0  # bytes

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next bytes; none at the end of the stream."""
        data = await _within(timeout, self._protocol.reader.read(max_bytes), _READING)
        self._read += len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of the bytes."""
        if buffer:
            self._writer.write(buffer)
            await _within(timeout, self._writer.drain(), _WRITING)

    async def aclose(self) -> None:
        """Close the connection at once, without TLS's own good-bye."""
        self._writer.transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Continue with TLS.

        Raises:
            httpcore.ConnectError, httpcore.ConnectTimeout: the handshake failed, and the connection is closed.
        """
        shaking_hands = self._writer.start_tls(ssl_context, server_hostname=server_hostname)
        try:
            await _within(timeout, shaking_hands, _CONNECTING)
        except BaseException:
            await self.aclose()
            raise
        return self

    def get_extra_info(self, info: str) -> Any:
        """A fact of the connection, by httpcore's name.

        An idle connection that "is_readable" cannot be used again: its host has closed it, or speaks out of turn.
        """
        if info == "is_readable":
            return self._protocol.reader.at_eof() or self._protocol.arrived > self._read
        return self._writer.get_extra_info(_NAMES.get(info, info))


async def _within(seconds: float | None, action: Awaitable[_T], errors: _Errors) -> _T:
    """Await an action for at most some seconds, and raise its errors as those of httpcore."""
    try:
        async with asyncio.timeout(seconds):
            return await action
    except Exception as error:
        for kind, ours in errors.items():
            if isinstance(error, kind):
                raise ours(_text(error)) from error
        raise


def _text(error: Exception) -> str:
    """The system's words for an error ("Connection refused"); asyncio puts its own in their place."""
    # TLS and the resolver have numbers of their own: those of the resolver are negative.
    number = 0 if isinstance(error, ssl.SSLError) else getattr(error, "errno", None) or 0
    return os.strerror(number) if number > 0 else str(error)
