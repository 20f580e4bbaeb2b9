"""Answers of Udio gateways, and their reports."""

from __future__ import annotations

import json
from typing import Any

from songflow.gateways import Answer, FetchProblem, Question, Report, classify_fetch, relay_udio

PATH = "https://host.example/a%2520b.mp3"


def classified(answer: Answer, shape: Any = "B") -> Report | FetchProblem:
    return classify_fetch(answer, relay_udio(shape=shape)["udio"], Question("/udio/fetch/t", ("t",)))


def song(song_id: Any = "a", **fields: Any) -> dict[str, Any]:
    return {"id": song_id, "finished": True, "song_path": PATH, "error_id": None} | fields


def young(song_id: Any = "a", **fields: Any) -> dict[str, Any]:
    return song(song_id, finished=False, song_path=None, **fields)


def broken(song_id: Any = "a", **fields: Any) -> dict[str, Any]:
    return young(song_id, error_id="e-1", error_type="moderation", **fields)


def shape_a(*songs: Any) -> dict[str, Any]:
    return {"songs": list(songs)}


def shape_b(status: Any, *songs: Any, fail_reason: Any = "", **fields: Any) -> dict[str, Any]:
    about = {"task_id": "t", "status": status, "fail_reason": fail_reason, "data": {"songs": list(songs)}}
    return {"code": "success", "message": "", "data": about | fields}


def read(value: Any, shape: Any = "B", status: int = 200, **headers: str) -> Report:
    text = value if isinstance(value, str) else json.dumps(value)
    report = classified(Answer(status, headers, text), shape)
    assert isinstance(report, Report)
    assert report.raw == text
    return report


def ids(report: Report) -> list[str | None]:
    return [take.song_id for take in report.takes]
