"""A transport of httpx for one connection without a proxy: asyncio's streams, with h11 for the protocol.

httpx's client and its own transport put a pool, a connection of httpcore and anyio, which also serves Trio, in front of
each connection: a request takes a third of the CPU without them.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any, TypeVar

import h11
import httpx

__all__ = ["DirectConnection"]

# Between attempts at the addresses of a host, as RFC 8305 recommends.
_HAPPY_EYEBALLS_SECONDS = 0.25
_BUFFER_BYTES = 64 * 1024
_MAX_HEAD_BYTES = 100 * 1024
_PORTS = {"http": 80, "https": 443}
_NAMES = {"client_addr": "sockname", "server_addr": "peername"}

_T = TypeVar("_T")
_Errors = Mapping[type[Exception], type[httpx.TransportError]]

# TimeoutError is an OSError, so it comes first.
_CONNECTING: _Errors = {TimeoutError: httpx.ConnectTimeout, OSError: httpx.ConnectError}
_READING: _Errors = {TimeoutError: httpx.ReadTimeout, OSError: httpx.ReadError}
_WRITING: _Errors = {TimeoutError: httpx.WriteTimeout, OSError: httpx.WriteError}


class DirectConnection(httpx.AsyncBaseTransport):
    """One connection to one host: opened by the first request, and again by the next one after it was closed.

    Only one request at a time may use it. Of the extensions of a request it knows `timeout`, `sni_hostname` and, of
    httpcore's events for `trace`, the one before the first byte.

    Args:
        verify: The TLS context.
        keepalive_expiry: Seconds after which the idle connection is not used again.
    """

    def __init__(self, *, verify: ssl.SSLContext, keepalive_expiry: float) -> None:
        self._verify = verify
        self._keepalive_expiry = keepalive_expiry
        self._stream: _NetworkStream | None = None
        self._expires_at = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; `aclose` of the answer's stream makes the connection ready for the next one.

        Raises:
            httpx.TransportError: no answer has come; the connection is closed.
        """
        limits, trace = request.extensions.get("timeout", {}), request.extensions.get("trace")
        stream = await self._usable(request, limits.get("connect"))
        try:
            content = stream.encoded(request, await request.aread())
            if trace is not None:
                await trace("http11.send_request_headers.started", {"request": request})
            await stream.write(content, limits.get("write"))
            head = await stream.head(limits.get("read"))
        except BaseException:
            await self.aclose()
            raise
        return httpx.Response(
            head.status_code,
            headers=head.headers.raw_items(),
            stream=_Body(self, stream, limits.get("read")),
            extensions={
                "http_version": b"HTTP/" + head.http_version,
                "reason_phrase": head.reason,
                "network_stream": stream,
            },
        )

    async def _usable(self, request: httpx.Request, seconds: float | None) -> _NetworkStream:
        """The open connection; a new one if the host has closed it or sent something unasked, or if it has expired."""
        if self._stream is not None and (monotonic() > self._expires_at or self._stream.is_readable):
            await self.aclose()
        if self._stream is None:
            name = request.extensions.get("sni_hostname")
            self._stream = await _connect(request.url, self._verify, name, seconds)
        return self._stream

    async def answered(self, stream: _NetworkStream) -> None:
        """Keep the connection for the next request if the answer was read to its end, and close it otherwise."""
        if stream is self._stream and stream.start_next_cycle():
            self._expires_at = monotonic() + self._keepalive_expiry
        else:
            await self.aclose()

    async def aclose(self) -> None:
        """Close the connection."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


class _Body(httpx.AsyncByteStream):
    """The body of an answer."""

    def __init__(self, connection: DirectConnection, stream: _NetworkStream, seconds: float | None) -> None:
        self._connection = connection
        self._stream = stream
        self._seconds = seconds
        self._closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            event = await self._stream.event(self._seconds)
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            else:
                return

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            await self._connection.answered(self._stream)


class _Protocol(asyncio.StreamReaderProtocol):
    """Feeds a reader, and counts the bytes that arrive."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self.reader = reader
        self.arrived = 0

    def data_received(self, data: bytes) -> None:
        self.arrived += len(data)
        super().data_received(data)


class _NetworkStream:
    """An open connection, and its state in HTTP/1.1."""

    def __init__(self, protocol: _Protocol, writer: asyncio.StreamWriter) -> None:
        self._protocol = protocol
        self._writer = writer
        self._read = 0  # bytes
        self._is_broken = False
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)

    def encoded(self, request: httpx.Request, body: bytes) -> bytes:
        """A whole request as bytes.

        Raises:
            httpx.LocalProtocolError: it has a header that HTTP does not allow.
        """
        with _protocol_errors():
            head = h11.Request(
                method=request.method, target=request.url.raw_path, headers=request.headers.raw
            )
            parts = [
                self._h11.send(head),
                self._h11.send(h11.Data(body)),
                self._h11.send(h11.EndOfMessage()),
            ]
        return b"".join(part for part in parts if part)

    async def write(self, content: bytes, seconds: float | None) -> None:
        """Write bytes, and wait until most of them have left.

        A host may answer and close before it has read everything: its answer is read, and nothing is sent after it.
        """
        self._writer.write(content)
        if self._writer.transport.get_write_buffer_size():
            try:
                await _within(seconds, self._writer.drain(), _WRITING)
            except httpx.WriteError:
                self._is_broken = True

    async def head(self, seconds: float | None) -> h11.Response | h11.InformationalResponse:
        """The status and headers of the answer; interim answers before it are skipped, except a change of protocol."""
        while True:
            event = await self.event(seconds)
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                return event

    async def event(self, seconds: float | None) -> h11.Event | None:
        """The next event of the answer; None after a change of protocol.

        Raises:
            httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError: the answer is cut off, late or no HTTP.
        """
        while True:
            with _protocol_errors():
                event = self._h11.next_event()
            if not isinstance(event, type):
                return event
            if event is h11.PAUSED:
                return None
            data = await _within(seconds, self._protocol.reader.read(_BUFFER_BYTES), _READING)
            if not data and self._h11.their_state is h11.SEND_RESPONSE:
                raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
            self._read += len(data)
            self._h11.receive_data(data)

    def start_next_cycle(self) -> bool:
        """Be ready for the next request; False unless request and answer are complete and nothing follows them."""
        state = self._h11
        is_over = state.our_state is h11.DONE and state.their_state is h11.DONE
        if self._is_broken or not is_over or state.trailing_data[0]:
            return False
        state.start_next_cycle()
        return True

    @property
    def is_readable(self) -> bool:
        """True of an idle connection that cannot be used again: the host has closed it, or sent something unasked."""
        is_closed = self._protocol.reader.at_eof() or self._writer.transport.is_closing()
        return is_closed or self._protocol.arrived > self._read

    def get_extra_info(self, info: str) -> Any:
        """A fact of the connection, by httpcore's name: `server_addr`, `ssl_object`, `is_readable`."""
        return (
            self.is_readable if info == "is_readable" else self._writer.get_extra_info(_NAMES.get(info, info))
        )

    def close(self) -> None:
        """Close the connection at once, without TLS's close_notify."""
        self._writer.transport.abort()

    async def start_tls(self, verify: ssl.SSLContext, name: str, seconds: float | None) -> None:
        """Continue with TLS; after an error, the connection is closed."""
        verify.set_alpn_protocols(["http/1.1"])
        try:
            await _within(seconds, self._writer.start_tls(verify, server_hostname=name), _CONNECTING)
        except BaseException:
            self.close()
            raise


async def _connect(
    url: httpx.URL, verify: ssl.SSLContext, name: str | None, seconds: float | None
) -> _NetworkStream:
    """Connect to the host of a URL.

    Args:
        name: The name that the host's certificate has, if it is not that of the URL.
        seconds: How long each of TCP and TLS may take.

    Raises:
        httpx.ConnectError, httpx.ConnectTimeout: no address of the host can be reached.
    """
    loop = asyncio.get_running_loop()
    protocol = _Protocol(asyncio.StreamReader(_BUFFER_BYTES, loop))
    host, port = url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme]
    opening = loop.create_connection(
        lambda: protocol, host, port, happy_eyeballs_delay=_HAPPY_EYEBALLS_SECONDS
    )
    transport, _ = await _within(seconds, opening, _CONNECTING)
    stream = _NetworkStream(protocol, asyncio.StreamWriter(transport, protocol, protocol.reader, loop))
    if url.scheme == "https":
        await stream.start_tls(verify, name or host, seconds)
    return stream


@contextmanager
def _protocol_errors() -> Iterator[None]:
    """Raise h11's errors as those of httpx, which have the same names."""
    try:
        yield
    except h11.LocalProtocolError as error:
        raise httpx.LocalProtocolError(str(error)) from error
    except h11.RemoteProtocolError as error:
        raise httpx.RemoteProtocolError(str(error)) from error


async def _within(seconds: float | None, action: Awaitable[_T], errors: _Errors) -> _T:
    """Await an action for at most some seconds, and raise its errors as those of httpx."""
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
