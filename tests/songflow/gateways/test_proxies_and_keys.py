"""Proxies, and the key in everything that is stored or logged."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl

import pytest
from support.canned_gateway import BODY, TAKEN, closed_port, hang

from songflow.gateways import Accepted, FetchProblem, FetchProblemKind, NotSent, Unknown, client, network
from songflow.gateways.tls import tls_context

# Proxies.


async def test_a_post_through_a_plain_proxy_is_classified_like_any_other(serve, tools, monkeypatch):
    proxy = await serve(tools.answers(tools.http(200, TAKEN)))
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    async with tools.gateway("http://gateway.test") as gateway:
        assert isinstance(await gateway.submit("udio", BODY), Accepted)
    (post,) = proxy.requests
    assert post.target == "http://gateway.test/udio/submit/music"


async def test_a_loopback_gateway_is_reached_without_the_proxy(serve, tools, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{closed_port()}")
    server = await serve(tools.answers(tools.http(200, TAKEN)))
    async with tools.gateway(server.url) as gateway:
        assert isinstance(await gateway.submit("udio", BODY), Accepted)


async def reset(wire):
    await wire.request()
    wire.reset()


@pytest.mark.parametrize("refusal", ["refused", "hangs", "reset"])
async def test_a_proxy_that_refuses_the_tunnel_means_not_sent(serve, tools, monkeypatch, refusal):
    plays = {"refused": tools.answers(tools.http(407)), "hangs": hang, "reset": reset}
    proxy = await serve(plays[refusal])
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    asked = []
    async with tools.gateway("https://gateway.test", read_timeout=0.05) as gateway:
        outcome = await gateway.submit("udio", BODY, why_not=lambda: asked.append(1))
    assert isinstance(outcome, NotSent)
    (connect,) = proxy.requests
    assert connect.method == "CONNECT"
    assert "authorization" not in connect.headers
    assert asked == []


async def test_a_post_through_a_tunnel_is_accepted_over_tls(serve, tools, monkeypatch, tls_pair):
    origin = await serve(tools.answers(tools.http(200, TAKEN)), tls=tls_pair[0])

    async def tunnel(wire):
        await wire.request()
        host, port = origin.url.removeprefix("https://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await wire.say(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(pump(wire.reader, writer), pump(reader, wire.writer))

    proxy = await serve(tunnel)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setattr(network, "tls_context", lambda: tls_pair[1])
    async with tools.gateway("https://gateway.test") as gateway:
        assert isinstance(await gateway.submit("udio", BODY), Accepted)
    assert len(origin.posts) == 1
    assert [request.method for request in proxy.requests] == ["CONNECT"]


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def test_an_invalid_proxy_setting_means_not_sent(tools, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "gopher://proxy.test")
    async with tools.gateway("http://gateway.test") as gateway:
        assert isinstance(await gateway.submit("udio", BODY), NotSent)
        problem = await gateway.fetch("udio", "id-1")
    assert isinstance(problem, FetchProblem)
    assert problem.kind is FetchProblemKind.TRANSIENT


def test_the_tls_context_is_created_once_per_process():
    assert tls_context() is tls_context()
    assert tls_context().verify_mode is ssl.CERT_REQUIRED
    assert client._no_tls_context().get_ca_certs() == []


# The key.


async def test_the_key_is_masked_in_everything_that_is_stored(serve, tools):
    key = tools.key
    escaped = json.dumps(key)[1:-1].replace("/", "\\/")
    go = json.dumps(key)[1:-1].replace("<", "\\u003c").replace(">", "\\u003E").replace("&", "\\u0026")
    percent = "".join(f"%{ord(character):02X}" for character in key)
    forms = [key, escaped, go, percent, percent.replace("%", "%25")]
    body = "[" + ",".join(f'"{form}"' for form in forms) + "]"
    server = await serve(tools.answers(tools.http(401, body, Location=f"/login?key={key}")))
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
        problem = await gateway.fetch("udio", "id-1")
    assert isinstance(outcome, Unknown)
    assert outcome.answer is not None
    assert json.loads(outcome.answer.body) == ["***"] * 5
    assert outcome.answer.headers["location"] == "/login?key=***"
    assert key not in repr((outcome, problem, gateway.account))


@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "through a proxy"])
async def test_the_key_is_masked_in_reasons_and_logs(serve, tools, caplog, monkeypatch, proxied):
    """httpcore, which requests through a proxy go by, logs headers."""
    caplog.set_level(logging.DEBUG)
    answer = f"HTTP/1.1 200 {tools.key}\r\nX-Echo: Bearer {tools.key}\r\nContent-Length: 0\r\n\r\n".encode()
    server = await serve(tools.answers(answer))
    if proxied:
        monkeypatch.setenv("http_proxy", server.url)
    async with tools.gateway("http://gateway.test" if proxied else server.url) as gateway:
        await gateway.submit("udio", BODY)
        await gateway.fetch("udio", "id-1")
        outcome = await gateway.submit("udio", {"oops": SecretEcho(tools.key)})
    assert isinstance(outcome, NotSent)
    assert ("***" in caplog.text) == proxied
    assert tools.key not in caplog.text + repr(outcome)


class SecretEcho(dict):
    """A body whose encoding fails with the key in the error's text."""

    def __init__(self, key):
        super().__init__(a=1)
        self.key = key

    def items(self):
        raise ValueError(f"bad key {self.key}")


async def test_without_a_key_no_authorization_header_is_sent(serve, tools):
    server = await serve(tools.answers(tools.http(200, TAKEN)))
    async with client.Gateway(tools.account(server.url, key=None)) as gateway:
        assert isinstance(await gateway.submit("udio", BODY), Accepted)
    assert "authorization" not in server.posts[0].headers
