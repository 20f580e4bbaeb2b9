"""The connections of a client: which ones are used again, and which are closed when."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import httpx
import pytest
from support.canned_gateway import Wire, http

from songflow.gateways import routed
from songflow.gateways.direct import DirectConnection
from songflow.gateways.routed import RoutedTransport

KEPT_SECONDS = 30.0


@pytest.fixture
def transport() -> RoutedTransport:
    """A transport without proxies that keeps two idle connections for each host."""
    return RoutedTransport(
        lambda _: None, verify=ssl.create_default_context(), kept=2, keepalive_expiry=KEPT_SECONDS
    )


@pytest.fixture
async def host(serve: Any) -> Any:
    """Starts a host that answers each request, with an event for the end of its first connection."""

    async def start() -> tuple[Any, asyncio.Event]:
        hung_up = asyncio.Event()

        async def play(wire: Wire) -> None:
            try:
                while True:
                    await wire.request()
                    await wire.say(http(200, "here"))
            finally:
                hung_up.set()

        return await serve(play), hung_up

    return start


async def test_a_connection_that_is_idle_for_too_long_is_closed_by_any_request(
    transport: RoutedTransport, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one to a host that is never asked again; newer connections are used again."""
    now = 1000.0
    monkeypatch.setattr(routed, "monotonic", lambda: now)
    (first, first_ended), (second, second_ended) = await host(), await host()
    async with httpx.AsyncClient(transport=transport) as client:
        await client.get(first.url)
        now += KEPT_SECONDS - 1
        await client.get(second.url)
        assert not first_ended.is_set()
        now += 2
        await client.get(second.url)
        await asyncio.wait_for(first_ended.wait(), 10)
        assert (second.connections, second_ended.is_set()) == (1, False)
        await client.get(first.url)
    assert first.connections == 2
    await asyncio.wait_for(second_ended.wait(), 10)


async def test_a_connection_that_cannot_be_closed_leaves_no_other_one_open(
    transport: RoutedTransport, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are closed, and the failure is raised."""
    (first, first_ended), (second, second_ended) = await host(), await host()
    client = httpx.AsyncClient(transport=transport)
    for one in (first, second):
        await client.get(one.url)
    close = DirectConnection.aclose

    async def failing(connection: DirectConnection) -> None:
        await close(connection)
        raise OSError("the connection was reset")

    monkeypatch.setattr(DirectConnection, "aclose", failing)
    with pytest.raises(OSError, match="was reset"):
        await client.aclose()
    await asyncio.wait_for(asyncio.gather(first_ended.wait(), second_ended.wait()), 10)
