"""A transport of httpx that asks for the proxy of each request and reuses the connection that was used last."""

from __future__ import annotations

import ssl
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from time import monotonic

import httpx

from songflow.gateways.direct import DirectConnection

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
        self._idle: defaultdict[_Route, deque[_Idle]] = defaultdict(deque)
        self._busy: set[_Connection] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request by its route."""
        url = request.url
        route = (url.raw_scheme, url.raw_host, url.port, self._proxy_for(str(url)))
        idle = self._idle.get(route)
        connection = idle.pop().connection if idle else self._connect(route[-1])
        self._busy.add(connection)
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await self._drop(connection)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Body(
            response.stream, partial(self._release, connection, route), partial(self._drop, connection)
        )
        return response

    def _connect(self, proxy: str | None) -> _Connection:
        if proxy is None:
            return DirectConnection(verify=self._verify, keepalive_expiry=self._keepalive_expiry)
        limits = httpx.Limits(
            max_connections=1,
            max_keepalive_connections=min(self._kept, 1),
            keepalive_expiry=self._keepalive_expiry,
        )
        return httpx.AsyncHTTPTransport(verify=self._verify, trust_env=False, limits=limits, proxy=proxy)

    async def _release(self, connection: _Connection, route: _Route) -> None:
        if connection in self._busy and len(self._idle.get(route, ())) < self._kept:
            self._busy.discard(connection)
            self._idle[route].append(_Idle(connection, monotonic()))
        else:
            await self._drop(connection)
        if expired := self._expired():
            with suppress(Exception):  # they have nothing to do with the answer that was received
                await _close_all(expired)

    def _expired(self) -> list[_Connection]:
        """Take out the connections of every route that were idle for too long, and the routes that have no more."""
        expired, oldest = [], monotonic() - self._keepalive_expiry
        for route, idle in list(self._idle.items()):
            while idle and idle[0].since < oldest:
                expired.append(idle.popleft().connection)
            if not idle:
                del self._idle[route]
        return expired

    async def _drop(self, connection: _Connection) -> None:
        self._busy.discard(connection)
        await connection.aclose()

    async def aclose(self) -> None:
        """Close all connections, those in use as well."""
        idle = (one.connection for one in chain.from_iterable(self._idle.values()))
        connections = [*self._busy, *idle]
        self._busy.clear()
        self._idle.clear()
        await _close_all(connections)


async def _close_all(connections: Iterable[_Connection]) -> None:
    """Close each connection, even if another cannot be closed; then the last exception is raised."""
    async with AsyncExitStack() as closing:
        for connection in connections:
            closing.push_async_callback(connection.aclose)


_Connection = httpx.AsyncBaseTransport  # with room for one
_Route = tuple[bytes, bytes, int | None, str | None]


@dataclass(frozen=True, slots=True)
class _Idle:
    """An idle connection, and since when (by the monotonic clock, in seconds)."""

    connection: _Connection
    since: float


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
