"""Udio as PiAPI sells it: the documented bodies, validated strictly, and tasks in `{"code", "message", "data"}`.

In its other form a report is `{"timestamp", "data"}`, with the capital letters of the documented list of statuses and
one address in place of the songs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from songflow.simulator import lyrics
from songflow.simulator.answers import Answer, Report, as_json, message_of, parsed
from songflow.simulator.requests import InvalidBodyError, Order, Strict, problems_of
from songflow.simulator.settings import WRITERS

_STATUSES = {
    "NOT_START": "staged",
    "SUBMITTED": "pending",
    "QUEUED": "pending",
    "IN_PROGRESS": "processing",
    "SUCCESS": "completed",
    "FAILURE": "failed",
}
_RELAY_CODES = {"task_not_exist": 404, "quota_not_enough": 402, "invalid_request": 400}
_POINTS = 500_000  # of a generation, in the example of a finished task
_NEVER = "0001-01-01T00:00:00Z"
# There is one price. New songs are as long as those of the example, and "you can only extend 32 seconds on every extend
# call".
_NEW, _EXTENDED = "udio130-v1.5", "udio32-v1.5"
_SONG_FIELDS = (
    "id", "title", "image_path", "lyrics", "prompt", "song_path", "duration", "finished", "tags", "error_type",
    "error_code", "error_detail",
)  # fmt: skip


class Input(Strict):
    """What the song is like. Only continuations at the end of a song are simulated, with the example's second 0."""

    gpt_description_prompt: str = Field(min_length=1)
    lyrics: str = ""
    negative_tags: str = ""
    lyrics_type: Literal["generate", "user", "instrumental"]
    seed: int = Field(default=-1, ge=-1)
    continue_song_id: str | None = Field(default=None, min_length=1)
    continue_at: Literal[0] | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if (self.lyrics_type == "user") != bool(self.lyrics.strip()):
            raise ValueError("lyrics are required with lyrics_type user, and with no other")
        if (self.continue_song_id is None) != (self.continue_at is None):
            raise ValueError("continue_song_id and continue_at are required together")
        return self


class Webhook(Strict):
    """Where the finished task is reported; empty for nowhere."""

    endpoint: str = ""
    secret: str = ""


class Config(Strict):
    """Whose accounts make the song: "public" are the gateway's."""

    service_mode: Literal["", "public", "private"] = ""
    webhook_config: Webhook = Webhook()


class TaskBody(Strict):
    """The body of a submit."""

    model: Literal["music-u"]
    task_type: Literal["generate_music"]
    input: Input
    config: Config = Config()


class LyricsBody(Strict):
    """The body of a submit of lyrics."""

    model: Literal["music-u"]
    task_type: Literal["generate_lyrics"]
    input: lyrics.PromptBody


def read_task(body: Any) -> Order:
    """Validate a decoded JSON body.

    Raises:
        InvalidBodyError: names the first few wrong fields.
    """
    try:
        if _is_lyrics(body):
            return lyrics.ordered(LyricsBody.model_validate(body).input.prompt, WRITERS[1])
        asked = TaskBody.model_validate(body).input
    except ValidationError as error:
        raise InvalidBodyError(problems_of(error)) from error
    model = _NEW if asked.continue_song_id is None else _EXTENDED
    return Order(asked.gpt_description_prompt, model, asked.continue_song_id, price=1)


def plain_params(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body as the parameters that songs are synthesised from."""
    asked = body["input"]
    if _is_lyrics(body):
        return lyrics.plain_params(asked["prompt"])
    extends = "continue_song_id" in asked
    return {
        "prompt": asked["gpt_description_prompt"],
        "lyrics": asked.get("lyrics", ""),
        "lyrics_type": asked["lyrics_type"],
        "negative_prompt": asked.get("negative_tags", ""),
        "model_type": _EXTENDED if extends else _NEW,
        "seed": asked.get("seed", -1),
        "config": {"mode": "continuation" if extends else "regular"},
    }


def _is_lyrics(body: Any) -> bool:
    return isinstance(body, dict) and body.get("task_type") == "generate_lyrics"


def spoken(answer: Answer) -> Answer:
    """A relay's answer to a submit, or its error, as this API says it; what is not JSON stays as it is."""
    value = parsed(answer)
    if value is None or isinstance(value.get("code"), int):
        return answer
    if value.get("code") == "success":
        task = _task(str(value.get("data")), {}, "pending")
        return as_json({"code": 200, "data": task, "message": "success"})
    code = _RELAY_CODES.get(str(value.get("code")), answer.status)
    text = "task not found" if value.get("code") == "task_not_exist" else message_of(value)
    return as_json({"code": code, "data": None, "message": text}, code).with_headers(answer.headers)


def report(told: Report, body: Mapping[str, Any], base_url: str) -> Answer:
    """A generation's task, with its songs once they are ready.

    Args:
        told: The generation with its songs.
        body: The body of its submit.
        base_url: The simulator's own.
    """
    task = _task(told.task_id, body, _STATUSES.get(told.status, told.status))
    failed, ended = told.status == "FAILURE", bool(told.finish_time)
    usage = {"type": "point", "frozen": _POINTS, "consume": _POINTS if ended and not failed else 0}
    task["meta"] = {
        "created_at": _time(told.submit_time),
        "started_at": _time(told.start_time),
        "ended_at": _time(told.finish_time),
        "usage": usage,
        "is_using_private_pool": False,
    }
    if failed:
        reason = told.fail_reason or "the song could not be generated"
        task["error"] |= {"code": 10_000, "raw_message": reason, "message": "task failed"}
    if _is_lyrics(body):  # no result is published
        texts = lyrics.texts(told, body["input"]["prompt"])
        task["output"] = {"lyrics": [{name: one[name] for name in ("id", "title", "text")} for one in texts]}
    elif told.songs is not None:
        songs = [{name: song[name] for name in _SONG_FIELDS} for song in told.songs]
        task["output"] = {"generation_id": told.task_id, "songs": songs}
    return _in_other_form(task, told) if told.other_form else _answer(task)


def _answer(task: Mapping[str, Any]) -> Answer:
    return as_json({"code": 200, "data": task, "message": "success"})


def _in_other_form(task: Mapping[str, Any], told: Report) -> Answer:
    first = next(iter(told.songs or ()), None)
    output = None if first is None else {"audio_url": first["song_path"], "id": first["id"]}
    other = {**task, "status": str(task["status"]).capitalize(), "output": output}
    return as_json({"timestamp": int(datetime.now(UTC).timestamp()), "data": other})


def _task(task_id: str, body: Mapping[str, Any], status: str) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "model": "music-u",
        "task_type": body.get("task_type", "generate_music"),
        "status": status,
        "config": body.get("config", {}),
        "input": body.get("input", {}),
        "output": None,
        "meta": {},
        "detail": None,
        "logs": [],
        "error": {"code": 0, "raw_message": "", "message": "", "detail": None},
    }


def _time(seconds: int) -> str:
    """A time as the gateway writes it, with nanoseconds."""
    if not seconds:
        return _NEVER
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
