"""Every row of the table of outcomes, over a real socket: the outcome, and that one POST was sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from songflow.gateways import (
    Accepted,
    Answer,
    Outcome,
    RefusalKind,
    Refused,
    Unknown,
    classify_submit,
    relay_udio,
)

K = RefusalKind
UDIO = relay_udio()["udio"]


def relay(code: Any, data: Any = None, message: str = "text") -> str:
    return json.dumps({"code": code, "message": message, "data": data})


def openai(code: str | None = None, message: str = "text (request id: 2024)", kind: str = "x_error") -> str:
    return json.dumps({"error": {"message": message, "type": kind, "param": "", "code": code}})


HTML = "<html><head><title>502</title></head></html>"
NO_CHANNEL = "No available channel for model udio32-v1.5 under group default"

ACCEPTED = [
    (200, relay("success", "id-1"), "id-1", ()),
    (201, relay("SUCCESS", "task_" + "a" * 32), "task_" + "a" * 32, ()),
    (200, relay(200, "id-1"), "id-1", ()),
    (200, relay("200", "../a?b"), "../a?b", ()),
    (200, "\ufeff " + relay("success", "id-1"), "id-1", ()),
    (200, '{"message":"Success","generation_id":"g","track_ids":["a","b"]}', "g", ("a", "b")),
    (200, '{"track_ids":["a", null, 3, " ", "b"]}', None, ("a", "b")),
    (200, '{"generation_id":"g","track_ids":[]}', "g", ()),
    (200, '{"code":"invalid_request","data":null,"track_ids":["a"]}', None, ("a",)),
    (200, relay("success", {"generation_id": "g", "track_ids": ["a"]}), "g", ("a",)),
    (200, '{"code":"success","data":"d","track_ids":["a"]}', "d", ("a",)),
]

REFUSED = [
    (200, relay("invalid_request"), K.INVALID_REQUEST, False),
    (200, '{"code":"quota_not_enough","message":"no money"}', K.NO_CREDIT, False),
    (301, HTML, K.CONFIGURATION, False),
    (307, relay("success", "id-1"), K.CONFIGURATION, False),
    (404, "", K.CONFIGURATION, False),
    (404, openai("not_found"), K.CONFIGURATION, False),
    (404, relay("success", "id-1"), K.CONFIGURATION, False),
    (405, HTML, K.CONFIGURATION, False),
    (400, relay("invalid_request"), K.INVALID_REQUEST, False),
    (400, openai("bad_field"), K.INVALID_REQUEST, False),
    (400, relay("some_new_code"), K.INVALID_REQUEST, False),
    (422, openai(None), K.INVALID_REQUEST, False),
    (409, relay("invalid_request"), K.INVALID_REQUEST, False),
    (409, relay("some_new_code"), K.OTHER, False),
    (451, openai("region"), K.OTHER, False),
    (401, openai("invalid_api_key"), K.CREDENTIALS, False),
    (401, openai("insufficient_user_quota"), K.CREDENTIALS, False),
    (401, relay("unauthorized"), K.CREDENTIALS, False),
    (403, openai("access_denied"), K.CREDENTIALS, False),
    (403, relay("group_not_allowed"), K.CREDENTIALS, False),
    (403, relay("quota_not_enough"), K.NO_CREDIT, False),
    (402, openai("payment"), K.NO_CREDIT, False),
    (429, "", K.RATE_LIMITED, True),
    (429, HTML, K.RATE_LIMITED, True),
    (429, relay("too_many"), K.RATE_LIMITED, True),
    (429, openai("rate_limit"), K.RATE_LIMITED, True),
    (200, relay("quota_not_enough", {}), K.NO_CREDIT, False),
    (200, relay("invalid_request", ""), K.INVALID_REQUEST, False),
    (429, relay("fail_to_fetch_task"), K.UPSTREAM, True),
    (400, relay("fail_to_fetch_task"), K.UPSTREAM, False),
    (401, relay("fail_to_fetch_task"), K.UPSTREAM, False),
    (403, relay("fail_to_fetch_task"), K.UPSTREAM, False),
    (404, relay("fail_to_fetch_task"), K.UPSTREAM, False),
    (500, openai("invalid_request"), K.INVALID_REQUEST, False),
    (503, openai(None, NO_CHANNEL), K.UNAVAILABLE, True),
    (503, openai("get_channel_failed", "sorry"), K.UNAVAILABLE, True),
    (503, openai(None, "sorry", "no_available_channel"), K.UNAVAILABLE, True),
]

UNKNOWN = [
    (200, ""),
    (204, ""),
    (200, HTML),
    (200, "null"),
    (200, "[]"),
    (200, "{}"),
    (200, '"id-1"'),
    (200, '{"data":"id-1"}'),
    (200, relay("success")),
    (200, relay("success", "  ")),
    (200, relay("success", 12345)),
    (200, relay("success", {"task_id": "t"})),
    (200, relay(1, "id-1")),
    (200, relay(True, "id-1")),
    (200, relay("some_new_code")),
    (200, relay("invalid_request", "id-1")),
    (200, relay("fail_to_fetch_task")),
    (200, relay("do_request_failed")),
    (200, openai("invalid_request")),
    (200, '{"track_ids":"a"}'),
    (200, '{"error":{}}'),
    (408, relay("fail_to_fetch_task")),
    (408, ""),
    (400, HTML),
    (400, ""),
    (401, HTML),
    (403, '{"detail":"no"}'),
    (403, '{"error":"a string is not an envelope"}'),
    (407, HTML),
    (400, relay("success", "id-1")),
    (429, relay("success", "id-1")),
    (400, relay("do_request_failed")),
    (401, relay("do_request_failed")),
    (404, relay("do_request_failed")),
    (429, relay("do_request_failed")),
    (500, ""),
    (500, HTML),
    (500, relay("invalid_request")),
    (500, relay("do_request_failed")),
    (500, relay("unmarshal_response_body_failed")),
    (500, relay("fail_to_fetch_task")),
    (500, openai("bad_response", kind="invalid_request")),
    (500, relay("success", "id-1")),
    (502, HTML),
    (502, openai("invalid_request")),
    (503, HTML),
    (503, relay("x", message=NO_CHANNEL)),
    (503, openai(None, "overloaded, try again")),
    (503, openai(None, "no response from channel 12: timeout")),
    (503, openai(None, "the channel answered something else")),
    (504, ""),
    (520, ""),
    (521, HTML),
    (522, ""),
    (523, ""),
    (524, HTML),
    (599, ""),
    (600, ""),
    (999, relay("success", "id-1")),
]


async def submitted(serve, tools, status: int, body: str, **headers: str) -> tuple[Outcome, Any]:
    server = await serve(tools.answers(tools.http(status, body, **headers)))
    async with tools.gateway(server.url) as gateway:
        outcome = await gateway.submit("udio", {"gen_params": {"prompt": "mother"}})
    (post,) = server.requests
    assert (post.method, post.target) == ("POST", "/udio/submit/music")
    assert post.headers["authorization"] == f"Bearer {tools.key}"
    assert post.headers["accept-encoding"] == "identity"
    assert json.loads(post.body) == {"gen_params": {"prompt": "mother"}}
    return outcome, post


@pytest.mark.parametrize(("status", "body", "generation_id", "track_ids"), ACCEPTED)
async def test_an_id_in_a_success_is_accepted(serve, tools, status, body, generation_id, track_ids):
    outcome, _ = await submitted(serve, tools, status, body)
    assert isinstance(outcome, Accepted)
    assert (outcome.generation_id, outcome.track_ids) == (generation_id, track_ids)
    assert outcome.answer.body == body
    assert outcome.answer.truncated is False


@pytest.mark.parametrize(("status", "body", "kind", "repeatable"), REFUSED)
async def test_a_clear_refusal_is_refused(serve, tools, status, body, kind, repeatable):
    outcome, _ = await submitted(serve, tools, status, body, Location="https://elsewhere.example/")
    assert isinstance(outcome, Refused)
    assert (outcome.kind, outcome.repeatable) == (kind, repeatable)
    assert outcome.message
    assert outcome.answer.status == status


@pytest.mark.parametrize(("status", "body"), UNKNOWN)
async def test_every_other_answer_is_unknown_and_stored(serve, tools, status, body):
    outcome, _ = await submitted(serve, tools, status, body)
    assert isinstance(outcome, Unknown)
    assert str(status) in outcome.reason
    assert outcome.answer is not None
    assert outcome.answer.body == body


@pytest.mark.parametrize(
    "message",
    [
        "No available channel for model udio",
        "All channels are disabled",
        "当前分组 default 下对于模型 udio 无可用渠道",
        "没有可用的通道",
        "當前沒有可用的頻道",
        "利用可能なチャネルがありません",
        "利用可能なチャンネルがない",
        "사용 가능한 채널이 없습니다",
        "Aucun canal disponible",
        "No hay canales disponibles",
        "Nenhum canal disponível",
        "Não há canais para este modelo",
        "Kein verfügbarer Kanal",
        "Нет доступных каналов",
        "Không có kênh khả dụng",
        "Nessun canale disponibile",
        "Brak dostępnych kanałów",
        "Kullanılabilir kanal yok",  # noqa: RUF001
    ],
)
def test_a_missing_channel_is_recognised_in_many_languages(message):
    outcome = classify_submit(Answer(503, {}, openai(None, message)), UDIO)
    assert isinstance(outcome, Refused)
    assert (outcome.kind, outcome.retry_after) == (K.UNAVAILABLE, 120.0)


@pytest.mark.parametrize("name", ["cometapi.submit.answer.json", "openai_hk.submit.answer.json"])
def test_the_documented_answers_are_accepted(tools, name):
    outcome = classify_submit(Answer(200, {}, tools.example(name)), UDIO)
    assert isinstance(outcome, Accepted)
    assert outcome.generation_id == json.loads(tools.example(name))["data"]


@pytest.mark.parametrize(
    ("dialect", "name", "path"),
    [
        ("cometapi", "cometapi.submit.regular.udio32.json", "/udio/generate-proxy"),
        ("openai-hk", "openai_hk.submit.precede.udio32.json", "/udio/submit/music"),
        ("openai-hk", "openai_hk.submit.regular.udio130.json", "/udio/submit/music"),
        ("simulator", "openai_hk.submit.regular.udio32.json", "/udio/submit/music"),
    ],
)
async def test_documented_bodies_are_sent_unchanged(serve, tools, dialect, name, path):
    body = json.loads(tools.example(name))
    server = await serve(tools.answers(tools.http(200, relay("success", "id-1"))))
    async with tools.gateway(server.url + "/", dialect) as gateway:
        assert isinstance(await gateway.submit("udio", body), Accepted)
    (post,) = server.requests
    assert (post.target, json.loads(post.body)) == (path, body)
    assert post.headers["content-type"] == "application/json"


NOW = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "86400"}, 3600.0),
        ({"retry-after": "9" * 5000}, 3600.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": NOW}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 -0000", "date": NOW}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:00:00 GMT", "date": NOW}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "yesterday"}, 0.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 3600.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2359"}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date_and_bounded(headers, seconds):
    outcome = classify_submit(Answer(429, headers, ""), UDIO)
    assert isinstance(outcome, Refused)
    assert outcome.retry_after == seconds


async def test_only_useful_headers_are_stored(serve, tools):
    outcome, _ = await submitted(
        serve, tools, 429, "", Retry_After="3", X_Oneapi_Request_Id="r-1", Set_Cookie="a=b", Date=NOW
    )
    assert isinstance(outcome, Refused)
    assert outcome.answer.headers == {"retry-after": "3", "x-oneapi-request-id": "r-1", "date": NOW}
    assert outcome.retry_after == 3.0


def test_a_long_message_is_shortened_to_one_line():
    outcome = classify_submit(Answer(400, {}, relay("invalid_request", message="a\n b " * 1000)), UDIO)
    assert isinstance(outcome, Refused)
    assert outcome.message.startswith("a b a b")
    assert len(outcome.message) <= 500
