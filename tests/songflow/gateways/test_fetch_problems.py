"""Untrusted JSON, and answers to a fetch that are no report."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.udio_answers import classified, read, shape_a, song

from songflow.gateways import Answer, FetchProblem, FetchProblemKind, Report

# Untrusted JSON.


def test_values_that_no_database_accepts_are_replaced():
    text = (
        '{"songs":[{"id":"a","finished":true,"song_path":"p","title":"x\\ud800y\\u0000z","duration":1e999,'
        '"plays":NaN,"likes":' + "9" * 100_000 + ',"n\\ud83d\\ude00":["\\udfff"],"id":"b"}]}'
    )
    (take,) = read(text, "A").takes
    assert (take.song_id, take.title, take.duration) == ("b", "x\ufffdy\ufffdz", None)
    assert (take.payload["plays"], take.payload["likes"]) == (None, None)
    assert take.payload["n😀"] == ["\ufffd"]
    json.dumps(take.payload, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        "[" * 300 + "]" * 300,
        '{"a":' * 300 + "1" + "}" * 300,
        "",
        "<html>",
        "{'songs': []}",
        '{"songs": [',
    ],
)
def test_an_answer_without_json_is_a_transient_problem(text):
    problem = classified(Answer(200, {"retry-after": "4"}, text))
    assert isinstance(problem, FetchProblem)
    assert (problem.kind, problem.retry_after) == (FetchProblemKind.TRANSIENT, 4.0)


def test_many_songs_are_not_deep_nesting():
    assert len(read(shape_a(*(song(str(n), tags=[]) for n in range(200)))).takes) == 200


# Problems.


def relay(code: Any, message: str = "text") -> str:
    return json.dumps({"code": code, "message": message, "data": None})


OPENAI = '{"error":{"message":"text","type":"t","code":"c"}}'
P = FetchProblemKind


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, relay("task_not_exist"), P.NOT_FOUND),
        (404, relay("task_not_exist"), P.NOT_FOUND),
        (200, relay("task_not_exist"), P.NOT_FOUND),
        (500, relay("task_not_exist"), P.TRANSIENT),
        (401, OPENAI, P.CREDENTIALS),
        (401, "", P.TRANSIENT),
        (401, "<html>", P.TRANSIENT),
        (403, "<html>Just a moment...", P.TRANSIENT),
        (403, '{"detail": "Please verify that you are human"}', P.TRANSIENT),
        (401, relay("unauthorized", "invalid token"), P.CREDENTIALS),
        (401, '{"error":{"message":"Database error: too many connections","type":"t"}}', P.TRANSIENT),
        (401, relay("get_token_failed", "查询令牌失败: 数据库错误"), P.TRANSIENT),
        (403, relay("upstream_timeout"), P.TRANSIENT),
        (403, OPENAI, P.CREDENTIALS),
        (403, relay("quota_not_enough"), P.CREDENTIALS),
        (401, relay("fail_to_fetch_task"), P.TRANSIENT),
        (403, relay("fail_to_fetch_task"), P.TRANSIENT),
        (404, relay("fail_to_fetch_task"), P.TRANSIENT),
        (200, relay("fail_to_fetch_task"), P.TRANSIENT),
        (200, OPENAI, P.TRANSIENT),
        (200, "<html>", P.TRANSIENT),
        (301, "<html>", P.CONFIGURATION),
        (302, OPENAI, P.CONFIGURATION),
        (404, "<html>", P.CONFIGURATION),
        (404, OPENAI, P.CONFIGURATION),
        (404, relay("some_new_code"), P.TRANSIENT),
        (405, "", P.CONFIGURATION),
        (400, relay("invalid_request"), P.TRANSIENT),
        (408, "", P.TRANSIENT),
        (429, "", P.TRANSIENT),
        (429, OPENAI, P.TRANSIENT),
        (500, relay("do_request_failed"), P.TRANSIENT),
        (502, "<html>", P.TRANSIENT),
        (503, OPENAI, P.TRANSIENT),
        (524, "", P.TRANSIENT),
        (999, "", P.TRANSIENT),
        (500, json.dumps(shape_a(song())), P.TRANSIENT),
    ],
)
async def test_every_fetch_problem_has_a_kind_and_a_message(serve, tools, status, body, kind):
    server = await serve(tools.answers(tools.http(status, body, Retry_After="2")))
    async with tools.gateway(server.url) as gateway:
        problem = await gateway.fetch("udio", "id-1")
    assert isinstance(problem, FetchProblem)
    assert (problem.kind, problem.retry_after) == (kind, 2.0)
    assert str(status) in problem.message
    assert problem.answer is not None
    assert problem.answer.body == body
    assert [request.method for request in server.requests] == ["GET"]


async def test_json_sent_as_text_plain_is_read(serve, tools):
    body = json.dumps(shape_a(song("a")))
    server = await serve(tools.answers(tools.http(200, body, Content_Type="text/plain; charset=utf-8")))
    async with tools.gateway(server.url, "cometapi") as gateway:
        report = await gateway.fetch("udio", None, ["a"])
    assert isinstance(report, Report)
    assert report.settled(["a"])
