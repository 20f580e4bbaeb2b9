"""Suno as Ace Data Cloud sells it: the documented bodies, validated strictly, and tasks with times.

While a song is being made, its address leads to a part of it. In its other form, that of earlier documents, a task has
no times but `created_at`, and its songs have no state.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from songflow.simulator import suno
from songflow.simulator.answers import Answer, Report, as_json, message_of, parsed, task_not_exist
from songflow.simulator.faults import CONCAT
from songflow.simulator.requests import InvalidBodyError, Order, Strict, problems_of
from songflow.simulator.settings import JOIN

MODELS: Mapping[str, str] = {
    "chirp-v3-5": "chirp-v3-5",
    "chirp-v4": "chirp-v4",
    "chirp-v4-5": "chirp-auk",
    "chirp-v4-5-plus": "chirp-bluejay",
    "chirp-v5": "chirp-crow",
}
_TITLES = {"chirp-v3-5": 80, "chirp-v4": 80}
_ERRORS: Mapping[str, tuple[int, str]] = {
    "quota_not_enough": (403, "used_up"),
    "invalid_request": (400, "bad_request"),
    "task_not_exist": (400, "bad_request"),
}
_STATUSES = ("NOT_START", "SUBMITTED", "QUEUED", "IN_PROGRESS", "SUCCESS", "FAILURE")
_BY_STATUS = {401: "invalid_token", 403: "disabled", 429: "too_many_requests", 504: "timeout"}


class AudiosBody(Strict):
    """The body of a submit. Without `async` the gateway would answer only when the songs are ready."""

    action: Literal["generate", "extend"]
    model: str
    asynchronous: Literal[True] = Field(alias="async")
    prompt: str | None = Field(default=None, min_length=1)
    custom: bool = False
    instrumental: bool = False
    lyric: str | None = Field(default=None, min_length=1)
    lyric_prompt: str | None = Field(default=None, min_length=1)
    style: str | None = None
    title: str | None = None
    negative_tags: str | None = None
    audio_id: str | None = Field(default=None, min_length=1)
    continue_at: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.model not in MODELS:
            raise ValueError(f"model {self.model!r} is not known")
        self._check_lengths()
        if self.action == "extend":
            self._check_extension()
        elif not self.custom and self.prompt is None:
            raise ValueError("prompt is required when generate audio")
        elif self.custom and self.lyric is None:
            raise ValueError("lyric is required when generate custom audio")
        own = (self.lyric, self.lyric_prompt, self.style, self.title, self.negative_tags)
        if not self.custom and any(own):
            raise ValueError("lyric, lyric_prompt, style, title and negative_tags are for custom mode")
        return self

    def _check_lengths(self) -> None:
        words, style = suno.MODEL_LIMITS[MODELS[self.model]]
        limits = {"prompt": 500, "lyric": words, "style": style, "title": _TITLES.get(self.model, 100)}
        for name, most in limits.items():
            if len(getattr(self, name) or "") > most:
                raise ValueError(f"{name} must be less than or equal {most}")

    def _check_extension(self) -> None:
        for name in ("audio_id", "continue_at"):
            if getattr(self, name) is None:
                raise ValueError(f"{name} is required when extend audio")
        if not self.custom or not (self.lyric or self.lyric_prompt or self.instrumental):
            raise ValueError("lyric is required when extend audio and instrumental is false")


class ConcatBody(Strict):
    """The body of a concatenation, which names the last part of a song."""

    action: Literal["concat"]
    audio_id: str = Field(min_length=1)
    asynchronous: Literal[True] = Field(alias="async")


class TasksBody(Strict):
    """The body of a fetch, for one task or for several."""

    action: Literal["retrieve", "retrieve_batch"]
    id: str | None = None
    ids: list[str] | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if (self.ids is not None) != (self.action == "retrieve_batch") or (self.id is None) == (
            self.ids is None
        ):
            raise ValueError("id belongs to retrieve, and ids to retrieve_batch")
        return self


def read_audios(body: Any) -> Order:
    """Validate the decoded body of a submit.

    Raises:
        InvalidBodyError: names the first few wrong fields.
    """
    try:
        if isinstance(body, dict) and body.get("action") == "concat":
            part = ConcatBody.model_validate(body).audio_id
            return Order(CONCAT, JOIN, part, joins=True)
        asked = AudiosBody.model_validate(body)
    except ValidationError as error:
        raise InvalidBodyError(problems_of(error)) from error
    return Order(asked.style or asked.prompt or "", MODELS[asked.model], asked.audio_id)


def read_tasks(sent: bytes) -> tuple[list[str], bool]:
    """The ids that a fetch asks for (none if its body is not valid), and whether it is one for several."""
    try:
        body = TasksBody.model_validate_json(sent)
    except ValidationError:
        return [""], False
    return (body.ids, True) if body.ids is not None else ([body.id or ""], False)


def plain_params(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body as the parameters that songs are synthesised from."""
    if body["action"] == "concat":  # its music is there already
        return {"prompt": CONCAT, "lyrics": "", "lyrics_type": "generate", "seed": -1}
    words = body.get("lyric", "")
    kind = "instrumental" if body.get("instrumental") else "user" if words else "generate"
    params: dict[str, Any] = {
        "prompt": body.get("style") or body.get("prompt") or "",
        "lyrics": words,
        "lyrics_type": kind,
        "negative_prompt": body.get("negative_tags", ""),
        "model_type": MODELS[body["model"]],
        "seed": -1,
    }
    if "audio_id" in body:
        params |= {"config": {"mode": "continuation"}, "continue_at": body["continue_at"]}
    return params


def spoken(answer: Answer) -> Answer:
    """A relay's answer to a submit, or its error, as this API says it; what is not JSON stays as it is."""
    value = parsed(answer)
    if value is None or "trace_id" in value:
        return answer
    trace = str(uuid.uuid4())
    if value.get("code") == "success":
        return as_json({"success": True, "task_id": value.get("data"), "trace_id": trace})
    usual = (answer.status, _BY_STATUS.get(answer.status, "api_error"))
    status, code = _ERRORS.get(str(value.get("code")), usual)
    text = "The task does not exist." if value == _NO_TASK else message_of(value)
    refusal = {"error": {"code": code, "message": text}, "trace_id": trace}
    return as_json(refusal, status).with_headers(answer.headers)


_NO_TASK = json.loads(task_not_exist().body)


def task(told: Report, body: Mapping[str, Any], base_url: str) -> Answer:
    """A generation's task, with its songs as soon as they are being made.

    Args:
        told: The generation with its songs.
        body: The body of its submit.
        base_url: The simulator's own.
    """
    return as_json(_task(told, body, base_url))


def _task(told: Report, body: Mapping[str, Any], base_url: str) -> dict[str, Any]:
    ended, trace = told.status in ("SUCCESS", "FAILURE"), str(uuid.uuid4())
    answer: dict[str, Any] = {
        "id": told.task_id,
        "created_at": float(told.submit_time),
        "request": dict(body),
        "trace_id": trace,
    }
    if told.start_time and not told.other_form:
        answer["started_at"] = float(told.start_time)
    if ended and not told.other_form:
        answer |= {"finished_at": float(told.finish_time), "elapsed": told.finish_time - told.start_time}
    if told.status not in _STATUSES:
        answer["state"] = told.status
    if ended:
        answer["response"] = _response(told, body, base_url, trace)
    elif told.songs and not told.other_form:
        answer["response"] = {"task_id": told.task_id, "data": _songs(told, body, base_url)}
    return answer


def tasks(
    ids: Sequence[str],
    reports: Mapping[str, Report | None],
    bodies: Mapping[str, Mapping[str, Any]],
    base_url: str,
) -> Answer:
    """Several generations' tasks, without those that are not known."""
    known = ((report, bodies[one]) for one in ids if (report := reports.get(one)) is not None)
    items = [_task(report, body, base_url) for report, body in known]
    return as_json({"items": items, "count": len(items)})


def _response(told: Report, body: Mapping[str, Any], base_url: str, trace: str) -> dict[str, Any]:
    response = {"success": told.status == "SUCCESS", "task_id": told.task_id, "trace_id": trace}
    if told.status == "FAILURE":
        message = told.fail_reason or "job failed with unknown error"
        response["error"] = {"code": "api_error", "message": message}
    finished = [song for song in told.songs or [] if told.status == "SUCCESS" or song["finished"]]
    if finished:
        response["data"] = [_song(song, told, body, base_url) for song in finished]
    return response


def _songs(told: Report, body: Mapping[str, Any], base_url: str) -> list[dict[str, Any]]:
    return [_song(song, told, body, base_url) for song in told.songs or []]


def _song(song: Mapping[str, Any], told: Report, body: Mapping[str, Any], base_url: str) -> dict[str, Any]:
    failed, finished = bool(song["error_id"]), song["finished"]
    state = "error" if failed else "succeeded" if finished else "running"
    stream = "" if failed else f"{base_url}/streams/{song['id']}.mp3"
    described = {
        "id": song["id"],
        "title": body.get("title") or song["title"],
        "image_url": song["image_path"],
        "lyric": song["lyrics"],
        "audio_url": song["song_path"] or stream,
        "video_url": "",
        "created_at": song["created_at"],
        "model": MODELS.get(body.get("model", ""), ""),
        "state": state,
        "prompt": body.get("prompt", ""),
        "style": body.get("style") or ", ".join(song["tags"]),
        "duration": song["duration"] if finished else None,
    }
    if told.other_form:
        del described["state"]
    return described
