"""Suno as Kie.ai and sunoapi.org sell it: the documented bodies, validated strictly, and `{"code", "msg", "data"}`.

Every answer comes with the HTTP status 200, and its `code` is the status that counts. An extension returns only its new
part.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from songflow.simulator import lyrics, suno
from songflow.simulator.answers import Answer, Report, as_json, message_of, parsed
from songflow.simulator.requests import InvalidBodyError, Order, Strict, problems_of
from songflow.simulator.settings import WRITERS

MODELS: Mapping[str, str] = {
    "V3_5": "chirp-v3-5",
    "V4": "chirp-v4",
    "V4_5": "chirp-auk",
    "V4_5PLUS": "chirp-bluejay",
    "V5": "chirp-crow",
}
_STATUSES = {
    "NOT_START": "PENDING",
    "SUBMITTED": "PENDING",
    "QUEUED": "PENDING",
    "IN_PROGRESS": "TEXT_SUCCESS",
    "SUCCESS": "SUCCESS",
    "FAILURE": "GENERATE_AUDIO_FAILED",
}
_RELAY_CODES = {"task_not_exist": 422, "quota_not_enough": 402, "invalid_request": 422}
_NO_TASK = "recordInfo is null"


class _Body(Strict):
    model_config = ConfigDict(alias_generator=to_camel)

    model: str
    call_back_url: str = Field(min_length=1)
    prompt: str | None = None
    style: str | None = None
    title: str | None = Field(default=None, max_length=80)
    negative_tags: str | None = None

    def _check_length(self, what: str, value: str | None, most: int) -> None:
        if len(value or "") > most:
            raise ValueError(f"{what} has more than {most} characters")

    def _check_limits(self) -> None:
        if self.model not in MODELS:
            raise ValueError(f"model {self.model!r} is not known")
        words, style = suno.MODEL_LIMITS[MODELS[self.model]]
        self._check_length("prompt", self.prompt, words)
        self._check_length("style", self.style, style)


class GenerateBody(_Body):
    """The body of a new song."""

    custom_mode: bool
    instrumental: bool

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        self._check_limits()
        if not self.custom_mode:
            self._check_length("prompt", self.prompt, 500)
            if self.style or self.title:
                raise ValueError("style and title are for customMode")
        elif not (self.style and self.title):
            raise ValueError("style and title are required in customMode")
        if not self.prompt and not (self.custom_mode and self.instrumental):
            raise ValueError("prompt is required")
        return self


class ExtendBody(_Body):
    """The body of an extension."""

    default_param_flag: bool
    audio_id: str = Field(min_length=1)
    continue_at: float = Field(gt=0)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        self._check_limits()
        if self.default_param_flag and not (self.prompt and self.style and self.title):
            raise ValueError("prompt, style and title are required with defaultParamFlag")
        return self


class LyricsBody(Strict):
    """The body of a submit of lyrics."""

    model_config = ConfigDict(alias_generator=to_camel)

    prompt: str = Field(min_length=1)
    call_back_url: str = Field(min_length=1)


def read_lyrics(body: Any) -> Order:
    """Validate the decoded body of lyrics.

    Raises:
        InvalidBodyError: names the first few wrong fields.
    """
    try:
        return lyrics.ordered(LyricsBody.model_validate(body).prompt, WRITERS[0])
    except ValidationError as error:
        raise InvalidBodyError(problems_of(error)) from error


def read_generate(body: Any) -> Order:
    """Validate the decoded body of a new song.

    Raises:
        InvalidBodyError: names the first few wrong fields.
    """
    return _read(GenerateBody, body)


def read_extend(body: Any) -> Order:
    """Validate the decoded body of an extension.

    Raises:
        InvalidBodyError: names the first few wrong fields.
    """
    return _read(ExtendBody, body)


def _read(kind: type[GenerateBody] | type[ExtendBody], body: Any) -> Order:
    try:
        read = kind.model_validate(body)
    except ValidationError as error:
        raise InvalidBodyError(problems_of(error)) from error
    source = read.audio_id if isinstance(read, ExtendBody) else None
    return Order(read.style or read.prompt or "", MODELS[read.model], source)


def plain_params(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body as the parameters that songs are synthesised from."""
    if "model" not in body:
        return lyrics.plain_params(body["prompt"])
    extends = "audioId" in body
    words = (body.get("prompt") or "") if body.get("customMode") or extends else ""
    if extends and words == body.get("style"):
        words = ""
    kind = "instrumental" if body.get("instrumental") else "user" if words else "generate"
    params: dict[str, Any] = {
        "prompt": body.get("style") or body.get("prompt") or "",
        "lyrics": words,
        "lyrics_type": kind,
        "negative_prompt": body.get("negativeTags") or "",
        "model_type": MODELS[body["model"]],
        "seed": -1,
    }
    if extends:
        params |= {"config": {"mode": "continuation"}, "continue_at": body["continueAt"]}
    return params


def spoken(answer: Answer) -> Answer:
    """A relay's answer to a submit, or its error, as this API says it; what is not JSON stays as it is."""
    value = parsed(answer)
    if value is None or "msg" in value:
        return answer
    if value.get("code") == "success":
        return as_json({"code": 200, "msg": "success", "data": {"taskId": value.get("data")}})
    code = _RELAY_CODES.get(str(value.get("code")), answer.status)
    text = _NO_TASK if value.get("code") == "task_not_exist" else message_of(value)
    return as_json({"code": code, "msg": text, "data": None})


def record_info(report: Report, body: Mapping[str, Any], base_url: str) -> Answer:
    """A generation's report, with its songs once they are ready.

    Args:
        report: The generation with its songs.
        body: The body of its submit.
        base_url: The simulator's own.
    """
    if "model" not in body:
        return _lyrics_info(report, body)
    songs = [_song(song, body, base_url) for song in report.songs or [] if not song["error_id"]]
    failed = report.status == "FAILURE"
    data = {
        "taskId": report.task_id,
        "parentMusicId": "",
        "param": json.dumps(body, ensure_ascii=False),
        "response": {"taskId": report.task_id, "sunoData": songs} if songs else None,
        "status": _STATUSES.get(report.status, report.status),
        "type": "EXTEND" if "audioId" in body else "GENERATE",
        "errorCode": 501 if failed else None,
        "errorMessage": (report.fail_reason or "the audio could not be generated") if failed else None,
    }
    return as_json({"code": 200, "msg": "success", "data": data})


def _lyrics_info(report: Report, body: Mapping[str, Any]) -> Answer:
    """A report on lyrics: two texts."""
    failed, listed = report.status == "FAILURE", lyrics.texts(report, body["prompt"], 2)
    texts = [
        {name: one[name] for name in ("text", "title", "status")} | {"errorMessage": ""} for one in listed
    ]
    waiting = _STATUSES.get(report.status, report.status) if listed else "PENDING"
    data = {
        "taskId": report.task_id,
        "param": json.dumps(body, ensure_ascii=False),
        "response": {"taskId": report.task_id, "data": texts} if texts else None,
        "status": "GENERATE_LYRICS_FAILED" if failed else waiting,
        "type": "LYRICS",
        "errorCode": 501 if failed else None,
        "errorMessage": report.fail_reason or None,
    }
    return as_json({"code": 200, "msg": "success", "data": data})


def _song(song: Mapping[str, Any], body: Mapping[str, Any], base_url: str) -> dict[str, Any]:
    return {
        "id": song["id"],
        "audioUrl": song["song_path"] or "",
        "streamAudioUrl": f"{base_url}/streams/{song['id']}.mp3",
        "imageUrl": song["image_path"],
        "prompt": song["lyrics"],
        "modelName": MODELS[body["model"]],
        "title": body.get("title") or song["title"],
        "tags": body.get("style") or ", ".join(song["tags"]),
        "createTime": song["created_at"],
        "duration": song["duration"],
    }
