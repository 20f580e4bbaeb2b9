"""Connections without a proxy: used again while their host keeps quiet, over TLS as well."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from support.canned_gateway import Wire, http

from songflow.gateways.direct import DirectConnection

LARGE = b"la" * 200_000


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., httpx.AsyncClient]]:
    """Opens clients of one connection each."""
    clients: list[httpx.AsyncClient] = []

    def open_one(verify: ssl.SSLContext | None = None) -> httpx.AsyncClient:
        connection = DirectConnection(verify=verify or ssl.create_default_context(), keepalive_expiry=30.0)
        clients.append(httpx.AsyncClient(transport=connection))
        return clients[-1]

    yield open_one
    for client in clients:
        await client.aclose()


async def _until_readable(answer: httpx.Response) -> None:
    """Wait until the host's next word, or its end, has arrived on an idle connection."""
    stream = answer.extensions["network_stream"]
    async with asyncio.timeout(10):
        while not stream.get_extra_info("is_readable"):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("out_of_turn", [http(408, "too slow"), b""], ids=["speaks", "closes"])
async def test_a_connection_whose_host_speaks_out_of_turn_or_closes_is_not_used_again(
    serve: Any, connect: Any, out_of_turn: bytes
) -> None:
    """What it said is never read as the answer to the next request."""

    received = asyncio.Event()

    async def play(wire: Wire) -> None:
        await wire.request()
        await wire.say(http(200, "here"))
        await received.wait()
        if out_of_turn:
            await wire.say(out_of_turn)
            await wire.server.over.wait()

    server, client = await serve(play), connect()
    for _ in range(2):
        received.clear()
        answer = await client.get(server.url)
        received.set()
        assert (answer.status_code, answer.text) == (200, "here")
        await _until_readable(answer)
    assert server.connections == 2


async def test_an_answer_with_more_behind_it_ends_its_connection(serve: Any, connect: Any) -> None:
    """In one packet, what nobody asked for looks like a part of the answer."""

    async def play(wire: Wire) -> None:
        await wire.request()
        await wire.say(http(200, "here") + http(200, "not asked for"))
        await wire.server.over.wait()

    server, client = await serve(play), connect()
    assert [(await client.get(server.url)).text for _ in range(2)] == ["here", "here"]
    assert server.connections == 2


async def test_an_idle_connection_that_its_host_has_reset_is_not_used_again(serve: Any, connect: Any) -> None:
    """As balancers do after a minute."""

    async def play(wire: Wire) -> None:
        await wire.request()
        await wire.say(http(200, "here"))
        at_once = struct.pack("ii", 1, 0)  # RST in place of FIN
        wire.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        wire.reset()

    server, client = await serve(play), connect()
    for _ in range(2):
        answer = await client.get(server.url)
        assert answer.text == "here"
        await _until_readable(answer)
    assert server.connections == 2


async def test_requests_over_tls_share_a_connection(
    serve: Any, connect: Any, tls_pair: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """With bodies that are larger than any buffer, both ways."""
    bodies: list[bytes] = []

    async def play(wire: Wire) -> None:
        while True:
            bodies.append((await wire.request()).body)
            await wire.say(http(200, LARGE))

    server = await serve(play, tls=tls_pair[0])
    client, named = connect(tls_pair[1]), {"sni_hostname": "gateway.test"}
    for _ in range(2):
        answer = await client.post(server.url, content=LARGE, extensions=named)
        assert answer.content == LARGE
        stream = answer.extensions["network_stream"]
        assert stream.get_extra_info("server_addr")[0] == "127.0.0.1"
        assert stream.get_extra_info("ssl_object").version().startswith("TLS")
    assert (server.connections, bodies) == (1, [LARGE, LARGE])
