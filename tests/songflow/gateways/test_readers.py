"""A gateway's own readers: they find facts, and the common tables decide; a reader that fails costs nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from support.canned_gateway import BODY

from songflow.gateways import (
    DIALECTS,
    Accepted,
    Account,
    Answer,
    FetchProblem,
    FetchProblemKind,
    Gateway,
    Ids,
    NotSent,
    Question,
    RefusalKind,
    Refused,
    Report,
    Service,
    Unknown,
    classify_fetch,
    classify_submit,
    relay_udio,
)
from songflow.gateways.envelope import Envelope

UDIO = relay_udio()["udio"]
QUESTION = Question("/udio/fetch/g", ("g",))


def stated(status: int | None) -> Service:
    """A service whose answers state a status in the body."""
    return replace(UDIO, read_envelope=lambda value: Envelope("relay", "own", "words", status=status))


def fails(*_: object) -> Any:
    raise KeyError("data")


@pytest.mark.parametrize(
    ("status", "kind", "repeatable"),
    [
        (400, RefusalKind.INVALID_REQUEST, False),
        (401, RefusalKind.CREDENTIALS, False),
        (402, RefusalKind.NO_CREDIT, False),
        (429, RefusalKind.RATE_LIMITED, True),
    ],
)
def test_a_refusal_stated_in_the_body_of_a_success_is_a_refusal(
    status: int, kind: RefusalKind, repeatable: bool
) -> None:
    """By the rows of that status."""
    outcome = classify_submit(Answer(200, {}, '{"data":null}'), stated(status))
    assert isinstance(outcome, Refused)
    assert (outcome.kind, outcome.repeatable, outcome.message) == (kind, repeatable, "words")


@pytest.mark.parametrize("status", [200, 408, 500, 503, 600, None])
def test_a_success_without_an_id_that_states_no_refusal_is_unknown(status: int | None) -> None:
    """A failure behind the gateway may come after it has sent the request on."""
    assert isinstance(classify_submit(Answer(200, {}, '{"data":null}'), stated(status)), Unknown)


@pytest.mark.parametrize("data", ['"something"', '{"job":1}', "[0]"])
def test_a_stated_status_does_not_count_where_the_answer_has_data(data: str) -> None:
    """The data may be a job."""
    assert isinstance(classify_submit(Answer(200, {}, f'{{"data":{data}}}'), stated(402)), Unknown)


@pytest.mark.parametrize("data", ["null", '""', "{}", "[]", '{"taskId":null}', '{"taskId":"","more":{}}'])
def test_a_stated_status_counts_where_the_answer_has_no_data(data: str) -> None:
    """Else each cell of a sweep would be unknown, and the sweep would not stop."""
    outcome = classify_submit(Answer(200, {}, f'{{"data":{data}}}'), stated(402))
    assert isinstance(outcome, Refused)
    assert outcome.kind is RefusalKind.NO_CREDIT


def test_a_stated_status_neither_hides_an_id_nor_turns_a_failure_into_a_success() -> None:
    """An id in a success is accepted; a failing HTTP status is judged as it is."""
    assert isinstance(classify_submit(Answer(200, {}, '{"generation_id":"g"}'), stated(402)), Accepted)
    outcome = classify_submit(Answer(500, {}, '{"generation_id":"g"}'), stated(200))
    assert isinstance(outcome, Unknown)


@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("reader", ["read_ids", "read_envelope"])
def test_an_answer_that_a_reader_fails_on_is_unknown(status: int, reader: str) -> None:
    """It may have an id, so it is neither a refusal nor lost; the answer itself is stored."""
    answer = Answer(status, {}, '{"data":{"job":"g"}}')
    outcome = classify_submit(answer, replace(UDIO, **{reader: fails}))
    assert isinstance(outcome, Unknown)
    assert (outcome.answer, "KeyError" in outcome.reason) == (answer, True)


@pytest.mark.parametrize("reader", ["read_report", "read_envelope"])
def test_a_report_that_a_reader_fails_on_does_not_end_the_wait(reader: str) -> None:
    """It is a passing problem: the next poll may be readable."""
    problem = classify_fetch(Answer(200, {}, "{}"), replace(UDIO, **{reader: fails}), QUESTION)
    assert isinstance(problem, FetchProblem)
    assert problem.kind is FetchProblemKind.TRANSIENT


def test_an_answer_without_a_report_is_a_problem_by_its_stated_status() -> None:
    """The HTTP status counts if it is no success."""
    service = replace(stated(403), read_report=lambda value, question: None)
    kinds = []
    for status in (200, 500):
        problem = classify_fetch(Answer(status, {}, "{}"), service, QUESTION)
        assert isinstance(problem, FetchProblem)
        kinds.append(problem.kind)
    assert kinds == [FetchProblemKind.CREDENTIALS, FetchProblemKind.TRANSIENT]


def at(url: str, **changes: Any) -> Account:
    """An account at a gateway whose Udio service differs in some respects."""
    dialect = replace(DIALECTS["simulator"], services={"udio": replace(UDIO, **changes)})
    return Account(dialect, url, "test")


async def test_the_gateway_sends_its_own_body_to_the_path_of_the_order(serve: Any, tools: Any) -> None:
    """Orders of different kinds have different paths and headers."""

    def route(body: Mapping[str, Any]) -> str:
        return f"/orders/{body['gen_params']['prompt']}"

    server = await serve(tools.answers(tools.http(200, {"job": 7})))
    account = at(
        server.url,
        route=route,
        wire_body=lambda body: {"text": body["gen_params"]["prompt"]},
        read_ids=lambda value: Ids(f"job {value['job']}"),
        headers={"X-Version": "2"},
    )
    async with Gateway(account) as gateway:
        outcome = await gateway.submit("udio", BODY)
    assert isinstance(outcome, Accepted)
    assert outcome.generation_id == "job 7"
    (post,) = server.posts
    assert (post.target, json.loads(post.body)) == ("/orders/mother", {"text": "mother"})
    assert post.headers["x-version"] == "2"


async def test_a_gateway_is_polled_by_post(serve: Any, tools: Any) -> None:
    """The same connection serves all polls, and the ids are in the body."""
    server = await serve(tools.answers(tools.http(200, {"songs": [{"id": "a"}]})))
    account = at(server.url, fetch_path="/query", fetch_body=lambda ids: {"list": list(ids)})
    async with Gateway(account) as gateway:
        for _ in range(3):
            assert isinstance(await gateway.fetch("udio", "g"), Report)
    assert [(one.target, json.loads(one.body)) for one in server.posts] == [("/query", {"list": ["g"]})] * 3
    assert server.connections == 1


async def test_a_body_that_cannot_be_translated_is_not_sent(serve: Any, tools: Any) -> None:
    """A last guard: such requests are refused before an intent is committed."""
    server = await serve(tools.answers(tools.http(200, {"job": 7})))
    async with Gateway(at(server.url, wire_body=fails)) as gateway:
        assert isinstance(await gateway.submit("udio", BODY), NotSent)
    assert server.requests == []


async def test_a_family_that_is_not_sold_is_neither_submitted_nor_fetched(serve: Any, tools: Any) -> None:
    """A last guard, like the one above."""
    server = await serve(tools.answers(tools.http(200, {"job": 7})))
    async with tools.gateway(server.url) as gateway:
        assert await gateway.submit("hum", BODY) == NotSent("openai-hk does not sell hum")
        problem = await gateway.fetch("hum", "g")
    assert isinstance(problem, FetchProblem)
    assert problem.kind is FetchProblemKind.CONFIGURATION
    assert server.connections == 0
