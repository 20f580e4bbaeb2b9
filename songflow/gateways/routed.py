"""A transport of httpx that asks for the proxy of each request."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import httpx

__all__ = ["RoutedTransport"]


class RoutedTransport(httpx.AsyncBaseTransport):
    """Sends each request directly or through a proxy; connections are kept for each of them.

    Args:
        proxy_for: The proxy of a URL; None if there is none.
        verify: The TLS context.
        limits: Of the connections, for each proxy.
    """

    def __init__(
        self, proxy_for: Callable[[str], str | None], *, verify: ssl.SSLContext, limits: httpx.Limits
    ) -> None:
        self._proxy_for = proxy_for
        self._verify = verify
        self._limits = limits
        self._transports: dict[str | None, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request by its route."""
        proxy = self._proxy_for(str(request.url))
        transport = self._transports.get(proxy)
        if transport is None:
            transport = self._transports[proxy] = httpx.AsyncHTTPTransport(
                verify=self._verify, trust_env=False, limits=self._limits, proxy=proxy
            )
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close all connections."""
        while self._transports:
            await self._transports.popitem()[1].aclose()
