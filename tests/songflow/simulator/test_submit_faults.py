"""Every submit fault behaves on the wire and on the bill as documented."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

LOST = ["lost_answer", "lost_answer_before", "reset_during_body", "answer_cut"]


@pytest.mark.parametrize("fault", LOST)
def test_an_answer_can_be_lost(sim: Any, fault: str) -> None:
    sim.play({"fault": fault})
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        sim.post()
    assert sim.posts() == (0 if fault == "lost_answer_before" else 1)
    assert sim.http.get("/_simulator/requests").json()["posts"]["answered"] == {fault: 1}
    assert sim.post().status_code == 200


def test_a_truncated_answer_ends_with_fin_and_a_reset_one_with_rst(sim: Any) -> None:
    for fault, error in (("answer_cut", httpx.RemoteProtocolError), ("reset_during_body", httpx.ReadError)):
        sim.play({"fault": fault})
        got = bytearray()
        with pytest.raises(error):
            sim.receive(got, "POST", "/udio/submit/music", json=sim.body())
        assert got.startswith(b'{"code":"success"')
        assert not got.endswith(b"}")


def test_an_answer_can_be_slow(sim: Any) -> None:
    sim.play({"fault": "slow_answer", "seconds": 0.3}, {"fault": "slow_drip", "on": "submit", "seconds": 0.3})
    for _ in range(2):
        began = time.monotonic()
        assert sim.post().json()["code"] == "success"
        assert 0.2 < time.monotonic() - began < 3
    assert sim.posts() == 2


def test_the_server_survives_a_client_that_gives_up_on_a_slow_answer(sim: Any) -> None:
    sim.play({"fault": "slow_drip", "on": "submit", "seconds": 2, "bytes": 1})
    with pytest.raises(httpx.ReadTimeout):
        sim.http.post("/udio/submit/music", json=sim.body(), timeout=0.02)
    assert sim.post().status_code == 200
    assert sim.posts() == 2


# Rule, status, text that the body must contain, number billed.
ANSWERS: dict[str, tuple[dict[str, Any], int, str, int]] = {
    "400": ({"fault": "status", "status": 400}, 400, "invalid_request", 0),
    "401": ({"fault": "status", "status": 401}, 401, "request id", 0),
    "403": ({"fault": "status", "status": 403}, 403, "request id", 0),
    "404": ({"fault": "status", "status": 404}, 404, "request id", 0),
    "429": ({"fault": "status", "status": 429}, 429, "", 0),
    "429 relay": ({"fault": "status", "status": 429, "envelope": "relay", "code": "busy"}, 429, '"busy"', 0),
    "429 openai": (
        {"fault": "status", "status": 429, "envelope": "openai", "message": "wait"},
        429,
        "wait",
        0,
    ),
    "500": ({"fault": "status"}, 500, "do_request_failed", 0),
    "500 coded": ({"fault": "status", "status": 500, "code": "odd"}, 500, '"odd"', 0),
    "500 billed": ({"fault": "status", "status": 500, "billed": True}, 500, "do_request_failed", 1),
    "502": ({"fault": "status", "status": 502}, 502, "Bad gateway", 0),
    "503": ({"fault": "status", "status": 503}, 503, "no available channel", 0),
    "504": ({"fault": "status", "status": 504, "billed": True}, 504, "Gateway time-out", 1),
    **{
        str(status): ({"fault": "status", "status": status}, status, "<html>", 0)
        for status in range(520, 525)
    },
    "empty": ({"fault": "status", "status": 408, "envelope": "empty"}, 408, "", 0),
    "html envelope": ({"fault": "status", "status": 500, "envelope": "html"}, 500, "<html>", 0),
    "text": ({"fault": "status", "status": 418, "body": "teapot"}, 418, "teapot", 0),
    "json": ({"fault": "status", "status": 200, "body": {"odd": [1]}}, 200, '{"odd":[1]}', 0),
    "do_request_failed": ({"fault": "do_request_failed", "billed": True}, 500, "do_request_failed", 1),
    "unmarshal": ({"fault": "unmarshal_response_body_failed"}, 500, "unmarshal_response_body_failed", 0),
    "fail_to_fetch": (
        {"fault": "fail_to_fetch_task", "on": "submit", "status": 401},
        401,
        "fail_to_fetch_task",
        0,
    ),
    "quota": ({"fault": "quota_not_enough"}, 403, "quota_not_enough", 0),
    "channel en": ({"fault": "no_channel"}, 503, "no available channel", 0),
    "channel zh": ({"fault": "no_channel", "language": "zh"}, 503, "无可用渠道", 0),
    "html": ({"fault": "html", "on": "submit"}, 502, "<html>", 0),
    "html 200 billed": ({"fault": "html", "on": "submit", "status": 200, "billed": True}, 200, "<html>", 1),
    "redirect": ({"fault": "redirect", "on": "submit", "location": "http://x.invalid/"}, 301, "", 0),
    "refusal": ({"fault": "refusal_in_2xx"}, 200, '"quota_not_enough"', 0),
    "no id": ({"fault": "no_id"}, 200, '"data":""', 1),
    "not json": ({"fault": "non_json_2xx"}, 200, "OK, your request", 1),
    "not json either": ({"fault": "non_json_2xx", "body": "fine"}, 200, "fine", 1),
}


@pytest.mark.parametrize(("rule", "status", "text", "billed"), ANSWERS.values(), ids=ANSWERS.keys())
def test_submit_faults_answer_and_bill_as_specified(
    sim: Any, rule: dict[str, Any], status: int, text: str, billed: int
) -> None:
    sim.play({"on": "submit", **rule})
    answer = sim.post()
    assert answer.status_code == status
    assert text in answer.text
    assert bool(text) == bool(answer.content) or status == 301
    assert sim.posts() == billed
    assert sim.post().json()["code"] == "success"


def test_a_status_rule_sets_headers_and_retry_after(sim: Any) -> None:
    sim.play(
        {"fault": "status", "on": "submit", "status": 429, "retry_after": 2, "headers": {"X-Odd": "1"}},
        {"fault": "status", "on": "submit", "status": 429, "retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"},
        {"fault": "redirect", "on": "submit"},
    )
    first, second, third = sim.post(), sim.post(), sim.post()
    assert (first.headers["retry-after"], first.headers["x-odd"]) == ("2", "1")
    assert second.headers["retry-after"].startswith("Wed")
    assert third.headers["location"].startswith("https://")


def test_answers_can_be_hard_to_parse(sim: Any) -> None:
    sim.play({"fault": "non_utf8"}, {"fault": "huge"}, {"fault": "huge", "bytes": 1000})
    with pytest.raises(UnicodeDecodeError):
        sim.post().content.decode()
    assert len(sim.post().content) > 50_000_000
    assert 1000 < len(sim.post().content) < 1100
    assert sim.posts() == 3


def test_ids_can_have_other_forms(sim: Any) -> None:
    sim.play({"fault": "raw_generation_id"}, {"fault": "task_id"})
    raw = sim.post().json()
    assert raw["message"] == "Success"
    sim.rendered(raw["generation_id"])
    assert [song["id"] for song in sim.query(*raw["track_ids"])] == raw["track_ids"]
    task = sim.post().json()["data"]
    assert len(task) == len("task_") + 32
    assert sim.until(task, "SUCCESS")["task_id"] == task


def test_a_moderated_prompt_is_billed_and_fails(sim: Any) -> None:
    sim.play({"fault": "moderated", "match": "rude"}, {"fault": "moderated", "fail_reason": "no"})
    job_id = sim.submit(prompt="a rude song")
    data = sim.data(job_id)
    assert (data["status"], data["data"], data["progress"]) == ("FAILURE", None, "100%")
    assert "moderation" in data["fail_reason"]
    assert all(song["error_id"] and not song["finished"] for song in sim.query(job_id))
    assert sim.data(sim.submit())["fail_reason"] == "no"
    job = sim.server.gateway.store.job(job_id)
    from songflow.simulator.songs import file_path, title_of

    assert sim.http.get(file_path(job, 1, title_of(job, 1))).status_code == 404
    config = {"mode": "precede", "source": {"source_type": "song", "song_id": job.song_ids[0]}}
    assert sim.post(config=config).status_code == 400


def test_a_fault_applies_only_to_requests_that_would_be_accepted(sim: Any) -> None:
    sim.play({"fault": "no_id"})
    assert sim.post(prompt=None).status_code == 400
    assert sim.post().json()["data"] == ""


def test_wire_faults_need_a_socket() -> None:
    import asyncio

    from songflow.simulator import FaultScript, SimulatorSettings, create_app

    async def post() -> None:
        app = create_app(SimulatorSettings(faults=FaultScript.of({"fault": "lost_answer"})))
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://simulator") as client:
                body = {"gen_params": {"prompt": "x", "model_type": "udio32-v1.5"}}
                await client.post("/udio/submit/music", json=body)

    with pytest.raises(RuntimeError, match="SimulatorServer"):
        asyncio.run(post())
