"""Fetches: which ids are asked for in which order, and failures on the way."""

from __future__ import annotations

import asyncio
import json

import pytest
from support.canned_gateway import hang, reset_after_request, reset_at_once, reset_inside_head, speak_nonsense

from songflow.gateways import FetchProblem, FetchProblemKind, Report


async def test_an_id_is_sent_as_one_path_segment(serve, tools):
    server = await serve(tools.answers(tools.http(200, tools.example("openai_hk.fetch.success.json"))))
    async with tools.gateway(server.url) as gateway:
        for one in ("task_1", "a/b?c#d", "..", "%2F", "ü"):
            assert isinstance(await gateway.fetch("udio", one, ["ignored"]), Report)
    assert [request.target for request in server.requests] == [
        "/udio/fetch/task_1",
        "/udio/fetch/a%2Fb%3Fc%23d",
        "/udio/fetch/%2E%2E",
        "/udio/fetch/%252F",
        "/udio/fetch/%C3%BC",
    ]
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {tools.key}"}


def listing(*ids):
    songs = [{"id": one, "finished": True, "song_path": "https://h/s.mp3"} for one in ids]
    return json.dumps({"songs": songs})


NOT_THERE = '{"code":"task_not_exist","message":"gone","data":null}'


REFUSED = '{"error":{"message":"Invalid token","type":"new_api_error"}}'


@pytest.mark.parametrize(
    ("canned", "listed", "targets"),
    [
        ([(200, listing("a,1", "b"))], {"a,1", "b"}, ["a%2C1,b"]),
        ([(200, listing()), (200, listing("x"))], {"x"}, ["a%2C1,b", "g"]),
        ([(200, listing("x")), (200, listing())], {"x"}, ["a%2C1,b", "g"]),
        ([(200, listing()), (400, NOT_THERE)], set(), ["a%2C1,b", "g"]),
        ([(400, NOT_THERE), (200, listing("b"))], {"b"}, ["a%2C1,b", "g"]),
        ([(400, NOT_THERE), (200, listing())], set(), ["a%2C1,b", "g"]),
        ([(400, NOT_THERE)], FetchProblemKind.NOT_FOUND, ["a%2C1,b", "g"]),
        ([(401, REFUSED)], FetchProblemKind.CREDENTIALS, ["a%2C1,b"]),
        ([(400, NOT_THERE), (500, "")], FetchProblemKind.TRANSIENT, ["a%2C1,b", "g"]),
    ],
)
async def test_track_ids_are_fetched_before_the_generation_id(serve, tools, canned, listed, targets):
    server = await serve(tools.answers(*(tools.http(status, body) for status, body in canned)))
    async with tools.gateway(server.url, "cometapi") as gateway:
        result = await gateway.fetch("udio", "g", ["a,1", "b"])
    if isinstance(result, Report):
        assert {take.song_id for take in result.takes} == listed
    else:
        assert result.kind is listed
    assert [request.target for request in server.requests] == [f"/udio/query?ids={ids}" for ids in targets]


@pytest.mark.parametrize(
    ("dialect", "generation_id", "track_ids", "targets"),
    [
        ("cometapi", "g", [], ["/udio/query?ids=g"]),
        ("cometapi", None, ["a"], ["/udio/query?ids=a"]),
        ("openai-hk", None, ["a", "b"], ["/udio/fetch/a", "/udio/fetch/b"]),
        ("openai-hk", None, [], []),
        ("cometapi", "", [], []),
    ],
)
async def test_a_fetch_uses_the_known_ids(serve, tools, dialect, generation_id, track_ids, targets):
    server = await serve(tools.answers(tools.http(200, listing())))
    async with tools.gateway(server.url, dialect) as gateway:
        result = await gateway.fetch("udio", generation_id, track_ids)
    assert [request.target for request in server.requests] == targets
    assert isinstance(result, Report if targets else FetchProblem)


FAULTS = [reset_at_once, reset_after_request, reset_inside_head, speak_nonsense, hang]


@pytest.mark.parametrize("play", FAULTS)
async def test_a_fetch_without_a_complete_answer_is_transient(serve, tools, play):
    server = await serve(play)
    async with tools.gateway(server.url, read_timeout=0.1) as gateway:
        problem = await gateway.fetch("udio", "id-1")
    assert isinstance(problem, FetchProblem)
    assert (problem.kind, problem.answer) == (FetchProblemKind.TRANSIENT, None)
    assert problem.message


async def test_a_truncated_fetch_answer_is_transient(serve, tools):
    async def cut(wire):
        await wire.request()
        await wire.say(tools.http(200, listing("a") + " ")[:-1])

    server = await serve(cut)
    async with tools.gateway(server.url) as gateway:
        problem = await gateway.fetch("udio", "id-1")
    assert isinstance(problem, FetchProblem)
    assert problem.answer is not None
    assert problem.answer.truncated


async def test_polls_reuse_their_connections_however_many_were_busy_at_once(serve, tools):
    """Eight polls at once need eight connections, which serve all later polls; a closed gateway leaves none open."""
    eight = asyncio.Barrier(8)
    left = []

    async def together_then_alone(wire):
        await wire.request()
        await eight.wait()
        try:
            while True:
                await wire.say(tools.http(200, "{}"))
                await wire.request()
        finally:
            left.append(wire)

    raw = await serve(together_then_alone)
    async with tools.gateway(raw.url) as gateway:
        await asyncio.gather(*(gateway.fetch("udio", f"id-{number}") for number in range(8)))
        for number in range(20):
            await gateway.fetch("udio", f"id-{number}")
        await asyncio.gather(*(gateway.fetch("udio", f"id-{number}") for number in range(8)))
        assert (raw.connections, len(raw.requests)) == (8, 36)
    async with asyncio.timeout(10):
        while len(left) < 8:  # noqa: ASYNC110 - sockets give no events here
            await asyncio.sleep(0.01)
