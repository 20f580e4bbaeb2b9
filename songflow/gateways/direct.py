"""A transport of httpx over one connection of httpcore, for requests that go to their host directly.

httpx's own transport puts a pool in front of each connection, which looks through its requests and connections at both
ends of every request.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpcore
import httpx

from songflow.gateways.streams import AsyncioBackend

__all__ = ["DirectConnection"]

_BACKEND = AsyncioBackend()


class DirectConnection(httpx.AsyncBaseTransport):
    """One connection to one host: opened by the first request, and again by the next one after it was closed.

    Only one request at a time may use it.

    Args:
        verify: The TLS context.
        keepalive_expiry: Seconds after which the idle connection is not used again.
    """

    def __init__(self, *, verify: ssl.SSLContext, keepalive_expiry: float) -> None:
        self._verify = verify
        self._keepalive_expiry = keepalive_expiry
        self._connection: httpcore.AsyncHTTPConnection | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; `aclose` of the answer's stream makes the connection ready for the next one."""
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        order = httpcore.Request(
            request.method,
            url,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _errors_of_httpx():
            connection = await self._usable(url.origin)
            answer = await connection.handle_async_request(order)
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Stream(answer), extensions=answer.extensions
        )

    async def _usable(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        """The open connection, or a new one if the host or its keep-alive time has closed it."""
        found = self._connection
        if found is not None and (found.is_closed() or found.has_expired()):
            await found.aclose()
            found = None
        if found is None:
            found = self._connection = httpcore.AsyncHTTPConnection(
                origin,
                ssl_context=self._verify,
                keepalive_expiry=self._keepalive_expiry,
                network_backend=_BACKEND,
            )
        return found

    async def aclose(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.aclose()


class _Stream(httpx.AsyncByteStream):
    """The body of an answer."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for chunk in self._answer.aiter_stream():
                yield chunk

    async def aclose(self) -> None:
        with _errors_of_httpx():
            await self._answer.aclose()


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    """Raise httpcore's errors as those of httpx, which have the same names."""
    try:
        yield
    except Exception as error:
        kind = getattr(httpx, type(error).__name__, None)
        if kind is None or type(error).__module__.partition(".")[0] != "httpcore":
            raise
        raise kind(str(error)) from error
