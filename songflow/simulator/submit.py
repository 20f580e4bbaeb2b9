"""POST: refuse, or bill and answer, with the fault script's changes to the answer."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from songflow.simulator import answers, odd_files, wire
from songflow.simulator.answers import Answer, Speak, as_the_relay
from songflow.simulator.callbacks import call_back
from songflow.simulator.dialects import DIALECTS
from songflow.simulator.faults import FaultRule
from songflow.simulator.gateway import Gateway
from songflow.simulator.requests import InvalidBodyError, Order, bearer, read_submission

# Faults after which nothing is billed, whatever the rule says.
_NEVER_BILLED = frozenset(
    {"lost_answer_before", "quota_not_enough", "no_channel", "redirect", "refusal_in_2xx", "concat_refused"}
)
# Faults after which the request is billed only if the rule says so.
_BILLED_ON_DEMAND = frozenset(
    {"status", "do_request_failed", "unmarshal_response_body_failed", "fail_to_fetch_task", "html"}
)
MODERATED = "The prompt or lyrics were rejected by moderation (simulated)."


async def submit(
    gateway: Gateway,
    dialect: str,
    request: Request,
    read: Callable[[Any], Order] = read_submission,
) -> Response:
    """Answer one POST. Rules of the script apply only to POSTs that would have been accepted."""
    traffic = gateway.traffic
    speak = DIALECTS[dialect].speak if dialect in DIALECTS else as_the_relay
    traffic.posts += 1
    authorization = authorization_of(request, dialect)
    try:
        sent = await request.body()
    except (
        ClientDisconnect
    ):  # the client died between its headers and its body: nothing to bill, nobody to answer
        traffic.post_answers["cut_off"] += 1
        return wire.drop()
    refusal, order, body = _read(gateway, sent, authorization, read)
    if refusal is not None or order is None:
        assert refusal is not None
        traffic.post_answers[str(refusal.status)] += 1
        return wire.respond(speak(refusal))
    rule = gateway.faults.for_request("submit", f"{order.prompt}\n{order.source_song_id or ''}")
    gateway.arriving += 1
    try:
        response = await _answer(gateway, dialect, order, body, authorization, rule, speak)
    finally:
        gateway.arriving -= 1
    broken = isinstance(response, wire.WireResponse)
    traffic.post_answers[rule.fault if rule and broken else str(response.status_code)] += 1
    return response


def _read(
    gateway: Gateway, sent: bytes, authorization: str | None, read: Callable[[Any], Order]
) -> tuple[Answer | None, Order | None, dict[str, Any]]:
    refusal = refused_key(gateway, authorization) or spent_key(gateway, authorization)
    if refusal is not None:
        return refusal, None, {}
    try:
        body = json.loads(sent)
    except ValueError as error:
        return (
            answers.openai_error(500, f"invalid character in request body: {error}", "invalid_request"),
            None,
            {},
        )
    try:
        order = read(body)
    except InvalidBodyError as error:
        return answers.relay_error(400, "invalid_request", str(error)), None, {}
    if order.source_job_id is not None and gateway.store.job(order.source_job_id) is None:
        return answers.task_not_exist(), None, {}
    if order.source_song_id is not None and not gateway.finished_song(order):
        message = f"config.source.song_id: no finished song {order.source_song_id!r}"
        return answers.relay_error(400, "invalid_request", message), None, {}
    if gateway.crowded():
        return answers.usual(429), None, {}
    return None, order, body


def authorization_of(request: Request, dialect: str) -> str | None:
    """A request's Authorization header, or the key from the dialect's own header in its place."""
    header = DIALECTS[dialect].key_header if dialect in DIALECTS else None
    if header is None:
        return request.headers.get("authorization")
    key = request.headers.get(header)
    return None if key is None else f"Bearer {key}"


def refused_key(gateway: Gateway, authorization: str | None) -> Answer | None:
    """401 for a key that is not accepted, for submits and fetches alike."""
    keys = gateway.settings.accept_keys
    key = bearer(authorization)
    if keys is None or key in keys or key in gateway.settings.spent_keys:
        return None
    return answers.bad_key()


def spent_key(gateway: Gateway, authorization: str | None) -> Answer | None:
    """The refusal of a key without credit, for submits only: fetches are free."""
    if bearer(authorization) not in gateway.settings.spent_keys:
        return None
    return answers.quota_not_enough() if gateway.settings.spent_status == 403 else answers.bad_key()


async def _answer(
    gateway: Gateway,
    dialect: str,
    order: Order,
    body: dict[str, Any],
    authorization: str | None,
    rule: FaultRule | None,
    speak: Speak,
) -> Response:
    if rule is not None:
        unbilled = rule.fault in _NEVER_BILLED or (rule.fault in _BILLED_ON_DEMAND and not rule.billed)
        if unbilled:
            return _refuse(rule, order, speak)
    extra: dict[str, Any] = {}
    if rule is not None and rule.fault == "moderated":
        extra["fail_reason"] = rule.fail_reason or MODERATED
    if rule is not None and rule.fault == "task_id":
        extra["generation_id"] = f"task_{uuid.uuid4().hex}"
    if rule is not None and rule.fault == "odd_id" and rule.form == "number":
        extra["generation_id"] = str(uuid.uuid4().int % 10**9)
    job = await gateway.accept(order, body, dialect, authorization, **extra)
    reporting = asyncio.create_task(
        call_back(gateway, job, gateway.faults.for_request("callback", order.prompt))
    )
    gateway.reporting.add(reporting)
    reporting.add_done_callback(gateway.reporting.discard)
    answer = speak(answers.accepted(job.generation_id))
    if rule is not None and rule.fault == "odd_id":
        return wire.respond(answers.odd_id(job.generation_id, rule.form))
    if rule is None or extra:
        return wire.respond(answer)
    if rule.fault == "raw_generation_id":
        return wire.respond(answers.raw_accepted(job.generation_id, job.song_ids))
    if rule.fault in _BILLED_ON_DEMAND:
        return _refuse(rule, order, speak)
    return await _spoil(rule, answer)


def _refuse(rule: FaultRule, order: Order, speak: Speak) -> Response:
    """An answer without an id; whether to bill was decided before."""
    match rule.fault:
        case "lost_answer_before":
            return wire.drop()
        case "quota_not_enough":
            answer = answers.quota_not_enough()
        case "concat_refused":  # by the open relay, which makes music and lyrics only
            answer = answers.relay_error(400, "invalid_request", "invalid_action")
        case "no_channel":
            answer = answers.no_channel(order.model_type, rule.language)
        case "redirect":
            location = rule.location or "https://gateway.invalid/login"
            answer = answers.html_page(301, "Moved Permanently").with_headers({"Location": location})
        case "refusal_in_2xx":
            answer = answers.relay_error(
                200, rule.code or "quota_not_enough", rule.message or "quota is not enough"
            )
        case "do_request_failed":
            answer = answers.relay_error(
                500, "do_request_failed", "do request failed: read: connection reset by peer"
            )
        case "unmarshal_response_body_failed":
            answer = answers.relay_error(500, "unmarshal_response_body_failed", "invalid character '<'")
        case "fail_to_fetch_task":
            answer = answers.relay_error(
                rule.status or 500, "fail_to_fetch_task", "upstream refused the task"
            )
        case "html":
            answer = answers.html_page(rule.status or 502)
        case _:
            answer = scripted(rule)
    return wire.respond(speak(answer))


async def _spoil(rule: FaultRule, answer: Answer) -> Response:
    """Bill a generation and break its answer."""
    half = len(answer.body) // 2
    match rule.fault:
        case "lost_answer":
            return wire.drop()
        case "reset_during_body":
            return wire.WireResponse(answer, wire.Plan(send=half, end="reset"))
        case "answer_cut":
            return wire.WireResponse(answer, wire.Plan(send=half))
        case "slow_drip":
            return wire.drip(answer, 5.0 if rule.seconds is None else rule.seconds, rule.size)
        case "non_utf8":
            return wire.respond(Answer(200, b'{"code":"success","message":"\xff\xfe","data":"\xe9\x80"}'))
        case "huge":
            size = 50_000_000 if rule.size is None else rule.size
            return wire.respond(Answer(200, b'{"code":"success","data":"' + b"x" * size + b'"}'))
        case "encoded":
            return wire.respond(odd_files.encoded(answer, rule.encoding, rule.coding))
        case "no_id":
            return wire.respond(answers.accepted(""))
        case "non_json_2xx":
            body = rule.body if isinstance(rule.body, str) else "OK, your request was received"
            return wire.respond(Answer(200, body.encode(), answers.TEXT_TYPE))
    # slow_answer: the only fault that leaves the answer intact.
    await asyncio.sleep(5.0 if rule.seconds is None else rule.seconds)
    return wire.respond(answer)


def scripted(rule: FaultRule) -> Answer:
    """The answer of a `status` rule: its own body, else an envelope, else the usual answer with that status."""
    status = rule.status or 500
    message = rule.message or f"refused with {status} (simulated)"
    if isinstance(rule.body, str):
        answer = Answer(status, rule.body.encode("utf-8", "surrogatepass"), answers.TEXT_TYPE)
    elif rule.body is not None:
        answer = answers.as_json(rule.body, status)
    elif rule.envelope == "relay":
        answer = answers.relay_error(status, rule.code or "invalid_request", message)
    elif rule.envelope == "openai":
        answer = answers.openai_error(status, message, rule.code)
    elif rule.envelope == "empty":
        answer = answers.empty(status)
    elif rule.envelope == "html":
        answer = answers.html_page(status)
    elif rule.code is not None:
        answer = answers.relay_error(status, rule.code, message)
    else:
        answer = answers.usual(status)
    headers = dict(rule.headers or {})
    if rule.retry_after is not None:
        headers["Retry-After"] = (
            f"{rule.retry_after:g}" if isinstance(rule.retry_after, float) else rule.retry_after
        )
    return answer.with_headers(headers)
