"""The gateways' answers: four shapes of success, two error envelopes, and HTML pages of proxies."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

JSON_TYPE = "application/json; charset=utf-8"
HTML_TYPE = "text/html; charset=utf-8"
# Both gateways' documents show the bare songs answer with this content type.
TEXT_TYPE = "text/plain; charset=utf-8"

_PROXY_PAGES = {
    502: "Bad gateway",
    504: "Gateway time-out",
    520: "Web server is returning an unknown error",
    521: "Web server is down",
    522: "Connection timed out",
    523: "Origin is unreachable",
    524: "A timeout occurred",
}
_NO_CHANNEL = {
    "en": "There is no available channel for model {model} under the current group default",
    "zh": "当前分组 default 下对于模型 {model} 无可用渠道",
}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, before the fault script changes it."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)

    def with_headers(self, headers: Mapping[str, str]) -> Answer:
        return Answer(self.status, self.body, self.content_type, {**self.headers, **headers})


Speak = Callable[[Answer], Answer]
"""How a dialect says an answer of the relay's."""


def as_the_relay(answer: Answer) -> Answer:
    """The answer itself."""
    return answer


def parsed(answer: Answer) -> dict[str, Any] | None:
    """The JSON object in a relay's answer; None if there is none, as in a proxy's page."""
    try:
        value = json.loads(answer.body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def message_of(value: Mapping[str, Any]) -> Any:
    """The message of a relay's error, in either of its two envelopes."""
    error = value.get("error")
    return error.get("message") if isinstance(error, dict) else value.get("message")


def as_json(value: Any, status: int = 200, content_type: str = JSON_TYPE) -> Answer:
    """Encode a value as JSON: non-ASCII text stays readable, lone surrogates of a hostile request become escapes."""
    try:
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        body = json.dumps(value, separators=(",", ":")).encode()
    return Answer(status, body, content_type)


def accepted(generation_id: str) -> Answer:
    """The answer to a POST, the same in every dialect."""
    return as_json({"code": "success", "message": "", "data": generation_id})


def raw_accepted(generation_id: str, track_ids: tuple[str, ...]) -> Answer:
    """The upstream's own answer to a POST, which CometAPI's path has been seen to pass through."""
    return as_json({"message": "Success", "generation_id": generation_id, "track_ids": list(track_ids)})


def odd_id(generation_id: str, form: str | None) -> Answer:
    """An accepted POST whose answer names the id in a way of its own."""
    match form:
        case "number":
            return as_json({"code": "success", "message": "", "data": int(generation_id)})
        case "code_0":
            return as_json({"code": 0, "message": "ok", "data": generation_id})
    return as_json({"code": 0, "message": "ok", "data": {form or "task_id": generation_id}})


def relay_error(status: int, code: str, message: str) -> Answer:
    return as_json({"code": code, "message": message, "data": None}, status)


def openai_error(status: int, message: str, code: str | None = None, kind: str = "new_api_error") -> Answer:
    """An OpenAI-style error; the request id is in the message and in a header, as the open relay does it."""
    request_id = uuid.uuid4().hex
    error = {"message": f"{message} (request id: {request_id})", "type": kind, "param": "", "code": code}
    return as_json({"error": error}, status).with_headers({"X-Oneapi-Request-Id": request_id})


def html_page(status: int, title: str | None = None) -> Answer:
    words = title or _PROXY_PAGES.get(status, "Error")
    head = f"<head><title>{status}: {words}</title></head>"
    page = f"<!DOCTYPE html><html>{head}<body><h1>{words}</h1></body></html>"
    return Answer(status, page.encode(), HTML_TYPE)


def empty(status: int) -> Answer:
    return Answer(status, b"", TEXT_TYPE)


def no_channel(model: str, language: str) -> Answer:
    return openai_error(503, _NO_CHANNEL[language].format(model=model))


def bad_key() -> Answer:
    return openai_error(401, "Invalid token", kind="new_api_error")


def quota_not_enough() -> Answer:
    return relay_error(403, "quota_not_enough", "user quota is not enough")


def usual(status: int) -> Answer:
    """The usual answer of a gateway with this status, for fault rules without a body."""
    match status:
        case 400:
            return relay_error(400, "invalid_request", "invalid request")
        case 401:
            return bad_key()
        case 403:
            return openai_error(403, "Your IP is not in the list of allowed addresses")
        case 429:
            return empty(429)
        case 500:
            return relay_error(500, "do_request_failed", "do request failed: EOF")
        case 503:
            return no_channel("udio32-v1.5", "en")
        case _ if status >= 501:
            return html_page(status)
    return openai_error(status, f"upstream error with status {status}")


@dataclass(frozen=True)
class Report:
    """A generation as a fetch reports it, before a shape wraps it. Times are unix seconds, 0 if unset."""

    task_id: str
    status: str
    progress: str
    submit_time: int
    start_time: int
    finish_time: int
    fail_reason: str = ""
    # None: no songs to report yet (`data: null` in envelope B).
    songs: list[dict[str, Any]] | None = None
    other_form: bool = False

    def head(self) -> dict[str, Any]:
        """The fields that envelopes B, C and D share."""
        return {
            "task_id": self.task_id,
            "notify_hook": "",
            "action": "udio-generate",
            "status": self.status,
            "fail_reason": self.fail_reason,
            "submit_time": self.submit_time,
            "start_time": self.start_time,
            "finish_time": self.finish_time,
            "progress": self.progress,
        }


def bare_songs(songs: list[dict[str, Any]]) -> Answer:
    """Shape A: no status, no envelope, and no JSON content type."""
    return as_json({"songs": songs}, content_type=TEXT_TYPE)


def envelope(shape: str, report: Report) -> Answer:
    """Wrap a report in shape B, C or D."""
    wrapped = None if report.songs is None else {"songs": report.songs}
    code: str | int = "success"
    data = report.head()
    if shape == "b":
        data["data"] = wrapped
    elif shape == "c":
        data |= wrapped or {"songs": []}
    else:
        code = 200
        data["data"] = [wrapped] if wrapped else []
        if report.status == "IN_PROGRESS":
            data["status"] = "PROCESSING"
    return as_json({"code": code, "message": "", "data": data})


def task_not_exist() -> Answer:
    return relay_error(400, "task_not_exist", "task_not_exist")
