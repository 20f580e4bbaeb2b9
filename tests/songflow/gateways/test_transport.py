"""Transport failures before the request: "not sent" if no byte of the POST can have left."""

from __future__ import annotations

import asyncio

import pytest
from support.canned_gateway import BODY, TAKEN, closed_port

from songflow.gateways import Accepted, FetchProblem, NotSent


async def test_a_closed_port_means_not_sent(tools):
    async with tools.gateway(f"http://127.0.0.1:{closed_port()}") as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, NotSent)
    assert "ConnectError" in outcome.reason


async def test_an_unknown_host_means_not_sent(tools):
    async with tools.gateway("http://nowhere.invalid") as gateway:
        assert isinstance(await gateway.submit("udio", BODY), NotSent)


async def test_tls_against_a_plain_port_means_not_sent(serve, tools):
    async def plain(wire):
        await wire.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    server = await serve(plain)
    async with tools.gateway(server.url.replace("http:", "https:")) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, NotSent)
    assert server.requests == []


async def test_an_untrusted_certificate_means_not_sent(serve, tools, tls_pair):
    server = await serve(tools.answers(tools.http(200, TAKEN)), tls=tls_pair[0])
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, NotSent)
    assert "CERTIFICATE_VERIFY_FAILED" in outcome.reason
    assert server.requests == []


@pytest.mark.parametrize("limits", [{"connect_timeout": 0.05}, {"total_timeout": 0.05}])
async def test_an_unanswered_tls_handshake_means_not_sent(serve, tools, limits):
    async def mute(wire):
        await wire.server.over.wait()

    server = await serve(mute)
    async with tools.gateway(server.url.replace("http:", "https:"), **limits) as gateway:
        assert isinstance(await gateway.submit("udio", BODY), NotSent)


async def test_a_cancelled_handshake_leaves_no_connection_open(serve, tools):
    begun, hung_up = asyncio.Event(), asyncio.Event()

    async def mute(wire):
        await wire.reader.read(1)
        begun.set()
        while await wire.reader.read(65536):
            pass
        hung_up.set()

    server = await serve(mute)
    async with tools.gateway(server.url.replace("http:", "https:")) as gateway:
        task = asyncio.create_task(gateway.submit("udio", BODY))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(hung_up.wait(), 10)


async def test_an_expired_lease_sends_nothing_on_an_open_connection(serve, tools):
    asked = []

    def why_not():
        asked.append(server.connections)
        return "the lease ran out"

    async def listen(wire):
        await wire.request()

    server = await serve(listen)
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY, why_not=why_not)
    assert isinstance(outcome, NotSent)
    assert outcome.reason == "the lease ran out"
    assert len(asked) == 1
    assert server.requests == []


async def test_the_last_check_runs_once(serve, tools):
    asked = []
    server = await serve(tools.answers(tools.http(200, TAKEN)))
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY, why_not=lambda: asked.append(1))
    assert isinstance(outcome, Accepted)
    assert asked == [1]


async def test_a_failing_last_check_sends_nothing(serve, tools):
    def broken():
        raise OSError("ledger gone")

    server = await serve(tools.answers(tools.http(200, TAKEN)))
    async with tools.gateway(server.url) as gateway:
        assert await gateway.submit("udio", BODY, why_not=broken) == NotSent("OSError: ledger gone")
    assert server.requests == []


@pytest.mark.parametrize("body", [{"a": float("nan")}, {"a": object()}])
async def test_a_body_that_json_cannot_express_is_not_sent(serve, tools, body):
    server = await serve(tools.answers(tools.http(200, TAKEN)))
    async with tools.gateway(server.url) as gateway:
        assert isinstance(await gateway.submit("udio", body), NotSent)
    assert server.connections == 0


async def test_a_closed_gateway_sends_nothing(serve, tools):
    server = await serve(tools.answers(tools.http(200, TAKEN)))
    gateway = tools.gateway(server.url)
    await gateway.aclose()
    assert isinstance(await gateway.submit("udio", BODY), NotSent)
    assert isinstance(await gateway.fetch("udio", "id-1"), FetchProblem)
    assert server.connections == 0
