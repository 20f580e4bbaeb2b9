"""Suno as the relay sells it: the documented bodies, validated strictly, and songs as clips.

A continuation returns only its new part, which begins at `continue_at` in its source. A clip that is still being made
is `streaming` and has the address of a part of its audio.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from songflow.simulator import lyrics
from songflow.simulator.answers import TEXT_TYPE, Answer, Report, as_json
from songflow.simulator.faults import CONCAT
from songflow.simulator.requests import InvalidBodyError, Order, Strict, problems_of
from songflow.simulator.settings import JOIN, WRITERS

MODEL_LIMITS: Mapping[str, tuple[int, int]] = {
    "chirp-v3-5": (3000, 200),
    "chirp-v4": (3000, 200),
    "chirp-auk": (5000, 1000),
    "chirp-auk-turbo": (5000, 1000),
    "chirp-bluejay": (5000, 1000),
    "chirp-crow": (5000, 1000),
}
"""The most characters of a prompt, and of tags."""


class MusicBody(Strict):
    """The body of a submit. An empty `mv` would become an old model, so it is required here."""

    mv: str
    gpt_description_prompt: str | None = Field(default=None, min_length=1)
    prompt: str | None = None
    make_instrumental: bool = False
    tags: str | None = None
    title: str | None = None
    negative_tags: str | None = None
    task_id: str | None = None
    continue_clip_id: str | None = None
    continue_at: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.mv not in MODEL_LIMITS:
            raise ValueError(f"mv {self.mv!r} is not known")
        words, style = MODEL_LIMITS[self.mv]
        if max(len(self.prompt or ""), len(self.gpt_description_prompt or "")) > words:
            raise ValueError(f"prompt has more than {words} characters")
        if len(self.tags or "") > style:
            raise ValueError(f"tags has more than {style} characters")
        idea, own = self.gpt_description_prompt is not None, self.tags is not None
        if idea == own:
            raise ValueError("an idea (gpt_description_prompt) or a style (tags) is required, and not both")
        if own and (self.prompt is None or self.title is None):
            raise ValueError("prompt and title are required with tags")
        continued = (self.task_id, self.continue_clip_id, self.continue_at)
        if any(one is not None for one in continued) and None in continued:
            raise ValueError("task_id, continue_clip_id and continue_at are required together")
        if self.continue_clip_id is not None and not own:
            raise ValueError("tags are required to continue a clip")
        return self


class ConcatBody(Strict):
    """The body of a concatenation."""

    clip_id: str = Field(min_length=1)
    is_infill: bool


def read_concat(body: Any) -> Order:
    """Validate a decoded JSON body.

    Raises:
        InvalidBodyError: names the first few wrong fields, or asks for what is not simulated.
    """
    try:
        concat = ConcatBody.model_validate(body)
    except ValidationError as error:
        raise InvalidBodyError(problems_of(error)) from error
    if concat.is_infill:
        raise InvalidBodyError("is_infill: sections are not replaced here")
    return Order(prompt=CONCAT, model_type=JOIN, source_song_id=concat.clip_id, joins=True)


def read_lyrics(body: Any) -> Order:
    """Validate a decoded JSON body.

    Raises:
        InvalidBodyError: names the first few wrong fields.
    """
    try:
        return lyrics.ordered(lyrics.PromptBody.model_validate(body).prompt, WRITERS[0])
    except ValidationError as error:
        raise InvalidBodyError(problems_of(error)) from error


def read_music(body: Any) -> Order:
    """Validate a decoded JSON body.

    Raises:
        InvalidBodyError: names the first few wrong fields.
    """
    try:
        music = MusicBody.model_validate(body)
    except ValidationError as error:
        raise InvalidBodyError(problems_of(error)) from error
    return Order(
        prompt=music.gpt_description_prompt or music.tags or music.prompt or "",
        model_type=music.mv,
        source_song_id=music.continue_clip_id,
        source_job_id=music.task_id,
    )


def plain_params(body: Mapping[str, Any]) -> dict[str, Any]:
    """A body as the parameters that songs are synthesised from."""
    if _is_lyrics(body):
        return lyrics.plain_params(body["prompt"])
    if "clip_id" in body:  # its music is there already
        return {"prompt": CONCAT, "lyrics": "", "lyrics_type": "generate", "seed": -1}
    words = body.get("prompt") or ""
    kind = "instrumental" if body.get("make_instrumental") else "user" if words else "generate"
    params: dict[str, Any] = {
        "prompt": body.get("gpt_description_prompt") or body.get("tags") or words,
        "lyrics": words,
        "lyrics_type": kind,
        "negative_prompt": body.get("negative_tags") or "",
        "model_type": body["mv"],
        "seed": -1,
    }
    if body.get("continue_clip_id"):
        params["config"] = {"mode": "continuation"}
        params["continue_at"] = body["continue_at"]
    return params


def envelope(report: Report, bodies: Mapping[str, Any], base_url: str) -> Answer:
    """A report in the relay's envelope, with clips.

    Args:
        report: The generation with its songs.
        bodies: The body of the generation's submit.
        base_url: The simulator's own.
    """
    return as_json({"code": "success", "message": "", "data": _task(report, bodies, base_url)})


def _task(report: Report, body: Mapping[str, Any], base_url: str) -> dict[str, Any]:
    if _is_lyrics(body):
        text = next(iter(lyrics.texts(report, body["prompt"])), None)
        return report.head() | {"action": "LYRICS", "data": text}
    clips = None if report.songs is None else [_clip(song, report, body, base_url) for song in report.songs]
    return report.head() | {"action": "MUSIC", "data": clips}


def batch_ids(sent: bytes) -> list[str]:
    """The ids of a batch query, `{"ids": [..], "action": "MUSIC"}`; none of a body that is another one."""
    try:
        body = json.loads(sent)
    except ValueError:
        return []
    ids = body.get("ids") if isinstance(body, dict) and body.get("action") == "MUSIC" else None
    return [one for one in ids if isinstance(one, str)] if isinstance(ids, list) else []


def batch(
    ids: Sequence[str],
    reports: Mapping[str, Report | None],
    bodies: Mapping[str, Mapping[str, Any]],
    base_url: str,
) -> Answer:
    """The reports on several generations, without those that are not known; as text, like CometAPI."""
    known = ((report, bodies[one]) for one in ids if (report := reports.get(one)) is not None)
    tasks = [_task(report, body, base_url) for report, body in known]
    return as_json({"code": "success", "message": "", "data": tasks or None}, content_type=TEXT_TYPE)


def _is_lyrics(body: Mapping[str, Any]) -> bool:
    return "mv" not in body and "clip_id" not in body


def _clip(song: Mapping[str, Any], report: Report, body: Mapping[str, Any], base_url: str) -> dict[str, Any]:
    status, address = _state(song, report, base_url)
    return {
        "id": song["id"],
        "title": body.get("title") or song["title"],
        "status": status,
        "audio_url": address,
        "image_url": song["image_path"],
        "image_large_url": song["image_path"],
        "video_url": "",
        "created_at": song["created_at"],
        "model_name": body.get("mv", ""),
        "display_name": song["artist"],
        "metadata": {
            "tags": body.get("tags") or ", ".join(song["tags"]),
            "prompt": song["lyrics"],
            "gpt_description_prompt": body.get("gpt_description_prompt"),
            "type": "gen",
            "duration": song["duration"] if status == "complete" else None,
            "error_type": song["error_type"],
            "error_message": song["error_detail"],
            "refund_credits": False,
        },
    }


def _state(song: Mapping[str, Any], report: Report, base_url: str) -> tuple[str, str]:
    """A clip's status and address."""
    if song["error_id"]:
        return "error", ""
    if song["finished"]:
        return "complete", str(song["song_path"])
    if report.status in ("NOT_START", "SUBMITTED"):
        return "submitted", ""
    if report.status == "QUEUED":
        return "queued", ""
    return "streaming", f"{base_url}/streams/{song['id']}.mp3"
