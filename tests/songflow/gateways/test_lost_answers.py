"""Transport failures after the request: "unknown" unless an id has arrived. Also bounds, encodings and connections."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import zlib

import pytest
from support.canned_gateway import (
    BODY,
    TAKEN,
    close_after_request,
    hang,
    reset_after_request,
    reset_at_once,
    reset_inside_head,
    speak_nonsense,
)

from songflow.gateways import Accepted, FetchProblem, FetchProblemKind, RefusalKind, Refused, Unknown
from songflow.gateways.answer import RAW_BODY


@pytest.mark.parametrize(
    "play", [reset_at_once, reset_after_request, close_after_request, reset_inside_head, speak_nonsense]
)
async def test_a_connection_lost_without_an_answer_is_unknown(serve, tools, play):
    server = await serve(play)
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, Unknown)
    assert outcome.reason
    assert outcome.answer is None
    assert server.connections == 1
    assert len(server.posts) == (0 if play is reset_at_once else 1)


@pytest.mark.parametrize("limits", [{"read_timeout": 0.05}, {"total_timeout": 0.05}])
async def test_a_gateway_that_never_answers_is_unknown(serve, tools, limits):
    server = await serve(hang)
    async with tools.gateway(server.url, **limits) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, Unknown)
    assert outcome.answer is None
    assert len(server.posts) == 1


async def test_a_slow_drip_ends_at_the_total_timeout(serve, tools):
    async def drip(wire):
        await wire.request()
        await wire.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not wire.server.over.is_set():
            await wire.say(b" ")
            await asyncio.sleep(0.01)

    server = await serve(drip)
    async with tools.gateway(server.url, total_timeout=0.2) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, Unknown)
    assert outcome.reason == "no complete answer within 0.2 s"
    assert outcome.answer is not None
    assert (outcome.answer.status, outcome.answer.truncated) == (200, True)
    assert len(server.posts) == 1


@pytest.mark.parametrize("status", [200, 400, 401, 429, 503])
async def test_a_truncated_answer_is_unknown_whatever_its_status(serve, tools, status):
    async def cut(wire):
        await wire.request()
        await wire.say(tools.http(status, TAKEN)[:-9])

    server = await serve(cut)
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, Unknown)
    assert outcome.answer is not None
    assert outcome.answer.body == TAKEN[:-9]
    assert outcome.answer.truncated
    assert len(server.posts) == 1


async def test_an_answer_truncated_after_its_id_is_accepted(serve, tools):
    async def cut(wire):
        await wire.request()
        await wire.say(tools.http(200, TAKEN + "   ")[:-1])

    server = await serve(cut)
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, Accepted)
    assert outcome.generation_id == "id-1"
    assert outcome.answer.truncated


async def test_a_complete_answer_counts_even_if_closing_fails(serve, tools, monkeypatch):
    import httpx

    closing = httpx.Response.aclose

    async def broken(self):
        await closing(self)
        raise httpx.ReadError("closing failed")

    monkeypatch.setattr(httpx.Response, "aclose", broken)
    server = await serve(tools.answers(tools.http(200, TAKEN)))
    async with tools.gateway(server.url) as gateway:
        assert isinstance(await gateway.submit("udio", BODY), Accepted)


async def test_an_endless_answer_is_read_up_to_the_limit(serve, tools):
    async def flood(wire):
        await wire.request()
        await wire.say(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        for _ in range(50):
            await wire.say(b"x" * 1_000_000)

    server = await serve(flood)
    async with tools.gateway(server.url, max_answer_bytes=100_000) as gateway:
        outcome = await gateway.submit("udio", BODY)
        problem = await gateway.fetch("udio", "id-1")
    assert isinstance(outcome, Unknown)
    assert outcome.answer is not None
    assert (len(outcome.answer.body), outcome.answer.truncated) == (100_000, True)
    assert isinstance(problem, FetchProblem)
    assert problem.kind is FetchProblemKind.TRANSIENT
    assert len(server.posts) == 1


async def test_bytes_that_are_not_utf8_are_replaced(serve, tools):
    server = await serve(tools.answers(tools.http(200, b'{"oops": "\xff\x00\xfe"}')))
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, Unknown)
    assert outcome.answer is not None
    assert outcome.answer.body == '{"oops": "\ufffd\ufffd\ufffd"}'


async def test_a_redirect_is_not_followed(serve, tools):
    elsewhere = await serve(tools.answers(tools.http(200, TAKEN)))
    server = await serve(tools.answers(tools.http(308, "", Location=elsewhere.url + "/udio/submit/music")))
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
        problem = await gateway.fetch("udio", "id-1")
    assert isinstance(outcome, Refused)
    assert outcome.kind is RefusalKind.CONFIGURATION
    assert outcome.answer.headers["location"].startswith(elsewhere.url)
    assert isinstance(problem, FetchProblem)
    assert problem.kind is FetchProblemKind.CONFIGURATION
    assert elsewhere.connections == 0


async def test_each_post_has_a_fresh_connection(serve, tools):
    server = await serve(tools.answers(tools.http(200, TAKEN)))
    async with tools.gateway(server.url) as gateway:
        for _ in range(3):
            assert isinstance(await gateway.submit("udio", BODY), Accepted)
    assert server.connections == len(server.posts) == 3


async def test_a_stale_connection_of_a_fetch_is_not_used_for_a_post(serve, tools):
    async def once(wire):
        await wire.request()
        await wire.say(tools.http(200, TAKEN))
        # The server promised to keep the connection alive and drops it at the next request.
        await wire.request()
        wire.reset()

    server = await serve(once)
    async with tools.gateway(server.url) as gateway:
        await gateway.fetch("udio", "id-1")
        assert isinstance(await gateway.submit("udio", BODY), Accepted)
    assert len(server.posts) == 1


async def test_concurrent_posts_do_not_wait_for_each_other(serve, tools):
    together = asyncio.Barrier(5)

    async def meet(wire):
        await wire.request()
        await together.wait()
        await wire.say(tools.http(200, TAKEN))

    server = await serve(meet)
    async with tools.gateway(server.url) as gateway:
        outcomes = await asyncio.gather(*(gateway.submit("udio", BODY) for _ in range(5)))
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert len(server.posts) == 5


async def test_cancellation_propagates(serve, tools):
    arrived = asyncio.Event()

    async def signal(wire):
        await wire.request()
        arrived.set()
        await wire.server.over.wait()

    server = await serve(signal)
    async with tools.gateway(server.url) as gateway:
        for call in (gateway.submit("udio", BODY), gateway.fetch("udio", "id-1")):
            arrived.clear()
            task = asyncio.create_task(call)
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def two_members(data):
    return gzip.compress(data[:20]) + gzip.compress(data[20:])


CODINGS = [
    *(("gzip", one) for one in (gzip.compress, two_members, bytes, zlib.compress, raw_deflate)),
    *(("deflate", one) for one in (zlib.compress, raw_deflate, bytes, gzip.compress)),
    ("x-gzip", gzip.compress),
    ("br", bytes),
    ("zstd", bytes),
    ("GZIP , identity", gzip.compress),
    ("deflate, gzip", lambda data: gzip.compress(zlib.compress(data))),
    ("gzip", lambda data: gzip.compress(data) + b"behind it"),
    ("gzip", lambda data: gzip.compress(data)[:-4]),  # without the end of its checksum
    ("gzip", lambda data: b"\xef\xbb\xbf" + data),
    ("aws-chunked", bytes),
]


@pytest.mark.parametrize(("encoding", "squeeze"), CODINGS, ids=lambda one: getattr(one, "__name__", str(one)))
async def test_an_id_is_found_whatever_the_answers_encoding_says(serve, tools, encoding, squeeze):
    """Compressed or not, in one stream or two: of a submit, and of a poll."""
    server = await serve(tools.answers(tools.http(200, squeeze(TAKEN.encode()), Content_Encoding=encoding)))
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
        report = await gateway.fetch("udio", "id-1")
    assert isinstance(outcome, Accepted)
    assert (outcome.generation_id, outcome.answer.body.strip("\ufeff")) == ("id-1", TAKEN)
    assert (RAW_BODY in outcome.answer.headers) is outcome.answer.truncated
    assert report.raw.strip("\ufeff") == TAKEN


def raw_of(answer):
    return base64.b64decode(answer.headers[RAW_BODY])


UNREADABLE = {
    "brotli": (b"\x1b\x35\x00\x00\x8f\xd4", {"Content_Encoding": "br"}),
    "no gzip": (b"\x1f\x8b\x08\x00nonsense\xff", {"Content_Encoding": "gzip"}),
    "latin": (b'{"code":"success","data":"\xe9\x80"}', {}),
    "nul": (b'{"code":"success","data":"a\x00b"}', {}),
}


@pytest.mark.parametrize(("body", "headers"), UNREADABLE.values(), ids=UNREADABLE)
async def test_bytes_that_are_no_text_are_kept_as_they_came(serve, tools, body, headers):
    """A person may still find an id in them."""
    server = await serve(tools.answers(tools.http(200, body, **headers)))
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, Unknown)
    assert raw_of(outcome.answer) == body


async def test_what_can_be_decoded_of_a_broken_body_is_read(serve, tools):
    """The id comes first; the rest is kept as it came."""
    padding = "".join(chr(97 + number * 7 % 26) for number in range(6000))
    whole = json.dumps({"generation_id": "id-1", "padding": padding}) + str(os.urandom(3000))
    body = gzip.compress(whole.encode())
    broken = body[:2000] + b"\xff" * 600
    server = await serve(tools.answers(tools.http(200, broken, Content_Encoding="gzip")))
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert outcome.answer.body.startswith('{"generation_id": "id-1"')
    assert raw_of(outcome.answer) == broken
    assert outcome.answer.truncated


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
async def test_an_id_is_found_in_utf_16(serve, tools, encoding):
    """Which a few old stacks send."""
    server = await serve(tools.answers(tools.http(200, TAKEN.encode(encoding))))
    async with tools.gateway(server.url) as gateway:
        assert (await gateway.submit("udio", BODY)).generation_id == "id-1"


@pytest.mark.parametrize("squeeze", [bytes, gzip.compress])
async def test_raw_bytes_never_hold_the_key(serve, tools, squeeze):
    """Masked where they are plain, and left out where they are compressed, or spell it with zeros between."""
    for said in (f"\xff {tools.key}".encode("latin-1"), tools.key.encode("utf-16-le") + b"\xff"):
        body = squeeze(said) + b"\x1f\x8b\x08\x00\xff\xff"
        server = await serve(tools.answers(tools.http(200, body, Content_Encoding="gzip")))
        async with tools.gateway(server.url) as gateway:
            outcome = await gateway.submit("udio", BODY)
        kept = base64.b64decode(outcome.answer.headers.get(RAW_BODY, ""))
        assert tools.key.encode() not in kept.replace(b"\0", b"") + outcome.answer.body.encode()
        if kept.startswith(b"\x1f\x8b"):
            assert tools.key.encode() not in zlib.decompressobj(31).decompress(kept)


async def test_a_decompression_bomb_is_bounded(serve, tools):
    bomb = gzip.compress(b" " * 50_000_000)
    server = await serve(tools.answers(tools.http(200, bomb, Content_Encoding="gzip")))
    async with tools.gateway(server.url, max_answer_bytes=1000) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, Unknown)
    assert outcome.answer is not None
    assert (len(outcome.answer.body), outcome.answer.truncated) == (1000, True)


async def test_an_answer_with_broken_compression_is_unknown(serve, tools):
    server = await serve(tools.answers(tools.http(200, b"not gzip", Content_Encoding="gzip")))
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, Unknown)
    assert outcome.answer.body == "not gzip"
