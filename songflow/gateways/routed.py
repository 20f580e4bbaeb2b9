"""A transport of httpx that asks for the proxy of each request and reuses the connection that was used last."""

from __future__ import annotations

import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from itertools import chain

import httpx

__all__ = ["RoutedTransport"]


class RoutedTransport(httpx.AsyncBaseTransport):
    """Sends each request directly or through a proxy.

    Each connection has a pool of its own: httpcore checks all connections of a pool at both ends of each request, and
    closes idle ones as soon as many are busy.

    Args:
        proxy_for: The proxy of a URL; None if there is none.
        verify: The TLS context.
        kept: Idle connections that are kept, for each host and proxy.
        keepalive_expiry: Seconds that an idle connection is kept.
    """

    def __init__(
        self,
        proxy_for: Callable[[str], str | None],
        *,
        verify: ssl.SSLContext,
        kept: int,
        keepalive_expiry: float,
    ) -> None:
        self._proxy_for = proxy_for
        self._verify = verify
        self._kept = kept
        self._keepalive_expiry = keepalive_expiry
        self._idle: defaultdict[_Route, list[_Connection]] = defaultdict(list)
        self._busy: set[_Connection] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request by its route."""
        url = request.url
        route = (url.raw_scheme, url.raw_host, url.port, self._proxy_for(str(url)))
        idle = self._idle[route]
        connection = idle.pop() if idle else self._connect(route[-1])
        self._busy.add(connection)
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await self._drop(connection)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Body(
            response.stream, partial(self._release, connection, idle), partial(self._drop, connection)
        )
        return response

    def _connect(self, proxy: str | None) -> _Connection:
        limits = httpx.Limits(
            max_connections=1,
            max_keepalive_connections=min(self._kept, 1),
            keepalive_expiry=self._keepalive_expiry,
        )
        return httpx.AsyncHTTPTransport(verify=self._verify, trust_env=False, limits=limits, proxy=proxy)

    async def _release(self, connection: _Connection, idle: list[_Connection]) -> None:
        if connection in self._busy and len(idle) < self._kept:
            self._busy.discard(connection)
            idle.append(connection)
        else:
            await self._drop(connection)

    async def _drop(self, connection: _Connection) -> None:
        self._busy.discard(connection)
        await connection.aclose()

    async def aclose(self) -> None:
        """Close all connections, those in use as well."""
        connections = [*self._busy, *chain.from_iterable(self._idle.values())]
        self._busy.clear()
        self._idle.clear()
        for connection in connections:
            await connection.aclose()


_Connection = httpx.AsyncHTTPTransport  # with room for one
_Route = tuple[bytes, bytes, int | None, str | None]


class _Body(httpx.AsyncByteStream):
    """An answer's body that releases its connection when it is closed, or drops it if that fails."""

    def __init__(
        self,
        stream: httpx.AsyncByteStream,
        release: Callable[[], Awaitable[None]],
        drop: Callable[[], Awaitable[None]],
    ) -> None:
        self._stream = stream
        self._release = release
        self._drop = drop
        self._closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        """Release the connection, once."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._stream.aclose()
        except BaseException:
            await self._drop()
            raise
        await self._release()
