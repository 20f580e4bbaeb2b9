"""ACE-Step 1.5's own server: the documented bodies, validated strictly, and results as JSON inside a string.

An extension (`repaint` beyond the end of a file of this server) returns the whole song. Errors are `{"detail"}`; a task
that the server does not know has an empty result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self
from urllib.parse import quote

from pydantic import Field, ValidationError, model_validator

from songflow.simulator.answers import Answer, Report, as_json, message_of, parsed
from songflow.simulator.requests import InvalidBodyError, Order, Strict, problems_of

_TURBO, _BASE = 20, 200
MODELS: Mapping[str, int] = {
    "acestep-v15-turbo": _TURBO,
    "acestep-v15-turbo-shift1": _TURBO,
    "acestep-v15-turbo-shift3": _TURBO,
    "acestep-v15-turbo-continuous": _TURBO,
    "acestep-v15-sft": _BASE,
    "acestep-v15-base": _BASE,
    "acestep-v15-xl-turbo": _TURBO,
    "acestep-v15-xl-sft": _BASE,
    "acestep-v15-xl-base": _BASE,
}
"""The most inference steps of each model."""

DEFAULT_MODEL = "acestep-v15-turbo"
FILE_PATH = "/v1/audio"
_FOLDER = "/tmp/acestep/api_audio/"
_RUNNING, _SUCCEEDED, _FAILED = 0, 1, 2
_STATUSES = {"SUCCESS": _SUCCEEDED, "FAILURE": _FAILED}


class ReleaseBody(Strict):
    """The body of a submit: the documented fields that clients of this server send."""

    prompt: str = Field(default="", max_length=5000)
    lyrics: str = Field(default="", max_length=4096)
    thinking: bool = False
    vocal_language: str = "en"
    audio_format: Literal["mp3", "wav", "flac"] = "mp3"
    sample_query: str = ""
    use_format: bool = False
    model: str = DEFAULT_MODEL
    bpm: int | None = Field(default=None, ge=30, le=300)
    key_scale: str = ""
    time_signature: Literal["", "2", "3", "4", "6"] = ""
    audio_duration: float | None = Field(default=None, ge=10, le=600)
    inference_steps: int = Field(default=8, ge=1, le=200)
    guidance_scale: float = 7.0
    use_random_seed: bool = True
    seed: int = -1
    batch_size: int = Field(default=2, ge=1, le=8)
    lm_negative_prompt: str = "NO USER INPUT"
    lm_temperature: float = 0.85
    lm_cfg_scale: float = 2.5
    timesteps: str | None = None
    task_type: Literal["text2music", "repaint"] = "text2music"
    src_audio_path: str | None = None
    repainting_start: float = 0.0
    repainting_end: float | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.model not in MODELS:
            raise ValueError(f"model {self.model!r} is not known")
        if self.inference_steps > MODELS[self.model]:
            raise ValueError(f"inference_steps is over {MODELS[self.model]} of {self.model}")
        if not (self.prompt or self.lyrics or self.sample_query):
            raise ValueError("prompt, lyrics or sample_query is required")
        if len(self.prompt) > 512 and not self.sample_query:
            raise ValueError("prompt has more than 512 characters")
        if (self.task_type == "repaint") != (self.src_audio_path is not None):
            raise ValueError("src_audio_path belongs to task_type repaint")
        if self.task_type == "repaint" and (self.repainting_end or 0) <= self.repainting_start:
            raise ValueError("repainting_end is not behind repainting_start")
        return self


def read_release(body: Any) -> Order:
    """Validate a decoded JSON body.

    Raises:
        InvalidBodyError: names the first few wrong fields.
    """
    try:
        read = ReleaseBody.model_validate(body)
    except ValidationError as error:
        raise InvalidBodyError(problems_of(error)) from error
    part = None if read.repainting_end is None else read.repainting_end - read.repainting_start
    return Order(
        prompt=read.prompt or read.sample_query or read.lyrics,
        model_type=read.model,
        source_song_id=None if read.src_audio_path is None else song_of(read.src_audio_path),
        seconds=part if read.src_audio_path is not None else read.audio_duration,
        takes=read.batch_size,
    )


def plain_params(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body as the parameters that songs are synthesised from."""
    words = body.get("lyrics") or ""
    silent = not words.strip() or words.strip().lower() in ("[inst]", "[instrumental]")
    kind = "generate" if body.get("sample_query") else "instrumental" if silent else "user"
    params: dict[str, Any] = {
        "prompt": body.get("prompt") or body.get("sample_query") or words,
        "lyrics": words if kind == "user" else "",
        "lyrics_type": kind,
        "negative_prompt": "",
        "model_type": body.get("model", DEFAULT_MODEL),
        "seed": -1 if body.get("use_random_seed", True) else body.get("seed", -1),
    }
    if body.get("src_audio_path"):
        params |= {"config": {"mode": "continuation"}, "continue_at": body["repainting_start"], "whole": True}
    return params


def spoken(answer: Answer) -> Answer:
    """A relay's answer to a submit, or its error, as this server says it; what is not JSON stays as it is."""
    if answer.status == 429 and not answer.body:
        return _detail(429, "Server busy: queue is full", answer.headers)
    value = parsed(answer)
    if value is None or "detail" in value:
        return answer
    if value.get("code") == "success":
        task = {"task_id": value.get("data"), "status": "queued", "queue_position": 1}
        return _wrapped(task)
    return _detail(answer.status, message_of(value), answer.headers)


def _detail(status: int, message: Any, headers: Mapping[str, str]) -> Answer:
    return as_json({"detail": message}, status).with_headers(headers)


def _wrapped(data: Any) -> Answer:
    return as_json({"data": data, "code": 200, "error": None, "timestamp": 1700000000000, "extra": None})


def ids_of(body: Any) -> list[str]:
    """The tasks that a query asks for: a list, or JSON of one in a string."""
    given = body.get("task_id_list") if isinstance(body, dict) else None
    try:
        listed = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        listed = []
    return [one for one in listed if isinstance(one, str)] if isinstance(listed, list) else []


def report(one: Report, body: Mapping[str, Any], _: str) -> Answer:
    """The report on one task."""
    return query_result([one.task_id], {one.task_id: one}, {one.task_id: body})


def query_result(
    ids: Sequence[str],
    reports: Mapping[str, Report | None],
    bodies: Mapping[str, Mapping[str, Any]],
    _: str = "",
) -> Answer:
    """The reports on all tasks that were asked for, in order.

    Args:
        ids: The tasks.
        reports: Their generations; None, or no entry, for one that the server does not know.
        bodies: The bodies of their submits.
    """
    return _wrapped([_task(one, reports.get(one), bodies.get(one, {})) for one in ids])


def _task(task_id: str, report: Report | None, body: Mapping[str, Any]) -> dict[str, Any]:
    if report is None:
        return {"task_id": task_id, "result": "[]", "status": _RUNNING}
    status = _STATUSES.get(report.status, _RUNNING)
    common = {"wave": "", "status": status, "create_time": report.submit_time, "env": "development"}
    if status == _SUCCEEDED:
        items = [_song(song, report, body, common) for song in report.songs or []]
    else:
        items = [{"file": "", **common, "progress": _share(report.progress), "stage": _stage(report, status)}]
        items += [_song(song, report, body, common) for song in report.songs or [] if song["song_path"]]
    if status == _FAILED:
        items[0]["error"] = (
            f"Traceback (most recent call last):\nRuntimeError: {report.fail_reason or 'failed'}\n"
        )
    return {"task_id": task_id, "status": status, "result": json.dumps(items, ensure_ascii=False)}


def _stage(report: Report, status: int) -> str:
    if status == _FAILED:
        return "failed"
    return "running" if report.status == "IN_PROGRESS" else "queued"


def _share(progress: str) -> float:
    return float(progress.removesuffix("%") or 0) / 100


def _song(
    song: Mapping[str, Any], report: Report, body: Mapping[str, Any], common: Mapping[str, Any]
) -> dict[str, Any]:
    sent, made = body.get("prompt", ""), body.get("sample_query")
    metas = {
        "bpm": body.get("bpm"),
        "duration": song["duration"],
        "genres": "",
        "keyscale": body.get("key_scale", ""),
        "timesignature": body.get("time_signature", ""),
        "prompt": sent,
        "lyrics": body.get("lyrics", ""),
    }
    item = {
        "file": _address(song),
        **common,
        "status": _FAILED if song["error_id"] else _SUCCEEDED,
        "prompt": f"{made} (as the language model would write it)" if made else sent,
        "lyrics": song["lyrics"],
        "metas": metas,
        "generation_info": "simulated",
        "seed_value": str(body.get("seed", "")),
        "lm_model": "acestep-5Hz-lm-0.6B",
        "dit_model": body.get("model", DEFAULT_MODEL),
        "progress": 1.0,
        "stage": "succeeded",
    }
    return item | ({"error": song["error_detail"]} if song["error_id"] else {})


def _address(song: Mapping[str, Any]) -> str:
    """Where a song is downloaded, relative to the server; empty while it is not there."""
    path = song["song_path"]
    if not path:
        return ""
    _, mark, query = str(path).partition("?")
    more = f"&{query}" if mark else ""
    file = quote(f"{_FOLDER}{song['id']}.mp3", safe="")
    return f"{FILE_PATH}?path={file}{more}"


def song_of(path: str) -> str:
    """The id of the song in a file of this server; for any other path, one that nothing has."""
    return path.removeprefix(_FOLDER).removesuffix(".mp3")
