"""Answers about Suno: documented ones exactly, another relay's spellings, refusals, clips that are not whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from songflow.gateways import (
    DIALECTS,
    Accepted,
    Answer,
    FetchProblem,
    FetchProblemKind,
    Question,
    RefusalKind,
    Refused,
    Report,
    ReportStatus,
    Unknown,
    candidate_ids,
    classify_fetch,
    classify_submit,
)

EXAMPLES = Path(__file__).parents[1] / "examples"
SERVICE = DIALECTS["openai-hk"].services["suno"]
TASK = "2a145658-3342-4228-b779-b8323a2b77df"
URL = "https://host.example/clip.mp3"


def documented(name: str) -> str:
    return (EXAMPLES / name).read_text(encoding="utf-8")


def submitted(body: Any, status: int = 200) -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    return classify_submit(Answer(status, {}, text), SERVICE)


def fetched(body: Any, status: int = 200) -> Any:
    text = body if isinstance(body, str) else json.dumps(body)
    return classify_fetch(Answer(status, {}, text), SERVICE, Question(f"/suno/fetch/{TASK}", (TASK,)))


def reported(status: str | None, *clips: dict[str, Any], code: Any = "success", **fields: Any) -> Report:
    data = {"task_id": TASK, "status": status, "data": list(clips), **fields}
    report = fetched({"code": code, "message": "", "data": data})
    assert isinstance(report, Report)
    return report


def clip(status: str | None = "complete", **fields: Any) -> dict[str, Any]:
    named = {} if status is None else {"status": status}
    return {"id": "a", "audio_url": URL, "metadata": {}, **named, **fields}


def test_the_documented_submit_answer_is_an_acceptance() -> None:
    """Its data is the task's id, by which it is fetched at both gateways."""
    outcome = submitted(documented("suno.submit.answer.json"))
    assert isinstance(outcome, Accepted)
    assert (outcome.generation_id, outcome.track_ids) == ("751c7248-5d1a-414e-9827-9d39e5533b33", ())
    for gateway in ("cometapi", "openai-hk"):
        (question,) = DIALECTS[gateway].services["suno"].questions(outcome.generation_id)
        assert question.target == "/suno/fetch/751c7248-5d1a-414e-9827-9d39e5533b33"


def test_the_documented_fetch_answer_is_read_whole() -> None:
    """Two takes with their addresses, lengths, words and tags; every field of a clip is kept."""
    report = fetched(documented("suno.fetch.success.json"))
    assert isinstance(report, Report)
    first, second = report.takes
    assert (report.status, report.progress, report.ran_seconds) == (ReportStatus.SUCCEEDED, 1.0, 96.0)
    assert report.settled()
    assert (first.song_id, first.title, first.duration) == (
        "3435e194-50e7-4edc-9442-bffe072fccfc",
        "快乐周末",
        128.92,
    )
    assert first.song_path == "https://cdn1.host.example/3435e194-50e7-4edc-9442-bffe072fccfc.mp3"
    assert (first.tags, first.lyrics, first.prompt) == (
        ("heartfelt salsa",),
        "[Verse]\n周末来了",
        "heartfelt salsa",
    )
    assert str(first.image_path).startswith("https://cdn2.host.example/image_large_3435")
    assert (second.duration, second.collectable, first.payload["model_name"]) == (121.0, True, "chirp-v3")


def test_another_relays_code_statuses_and_length_mean_the_same() -> None:
    """The number 1, lower-case words, and a duration beside the metadata."""
    accepted = submitted({"code": 1, "message": "", "data": "17350521802760039"})
    assert isinstance(accepted, Accepted)
    assert accepted.generation_id == "17350521802760039"
    report = reported("success", clip(duration="61.5"), code=1)
    assert (report.status, report.takes[0].duration, report.takes[0].collectable) == (
        ReportStatus.SUCCEEDED,
        61.5,
        True,
    )


@pytest.mark.parametrize("word", ["submitted", "queued", "streaming", "Streaming", "paused"])
@pytest.mark.parametrize("status", ["IN_PROGRESS", "SUCCESS"])
def test_a_clip_is_collected_only_when_it_is_complete(word: str, status: str) -> None:
    """While it is streamed its address leads to a part of it, whatever the task's status says."""
    report = reported(status, clip(word), clip("complete", id="b"))
    assert [take.collectable for take in report.takes] == [False, True]
    assert not report.settled(previous=report)


def test_a_failed_clip_leaves_the_other_one() -> None:
    """Its reason is the take's error, and a clip without any status counts by its task's."""
    moderated = {"error_type": "moderation_failure", "error_message": "lyrics\nnot allowed"}
    report = reported("SUCCESS", clip("error", metadata=moderated), clip(None, id="b"))
    assert report.takes[0].error == "error_type moderation_failure, error_message lyrics not allowed"
    assert [take.collectable for take in report.takes] == [False, True]
    assert report.settled()
    assert reported("IN_PROGRESS", clip(None)).takes[0].collectable is False
    failed = reported("FAILURE", fail_reason="upstream is busy")
    assert (failed.status, failed.failure) == (ReportStatus.FAILED, "upstream is busy")
    assert reported("SUCCESS", clip("error")).takes[0].error == "the gateway reports an error"


@pytest.mark.parametrize("status", ["UNKNOWN", "paused", None])
def test_a_clip_without_a_status_waits_for_the_end_of_its_task(status: str | None) -> None:
    """Its address may be that of a stream; without any status, only a clip of a known length is whole."""
    assert not reported(status, clip(None)).takes[0].collectable
    assert reported(status, clip(None, duration=61.5)).takes[0].collectable is (status is None)


def test_nothing_to_report_yet_is_no_end() -> None:
    """`data` is null until the relay knows the task, and a clip list is null until there are clips."""
    empty = fetched({"code": "success", "message": "", "data": None})
    assert (empty.status, empty.takes, empty.settled()) == (ReportStatus.UNCLEAR, (), False)
    assert reported("NOT_START", data=None).status is ReportStatus.QUEUED
    unknown = fetched({"code": "task_not_exist", "message": "task_not_exist", "data": None}, 400)
    assert isinstance(unknown, FetchProblem)
    assert unknown.kind is FetchProblemKind.NOT_FOUND


@pytest.mark.parametrize(
    ("status", "code", "kind", "repeatable"),
    [
        (400, "invalid_request", RefusalKind.INVALID_REQUEST, False),
        (400, "task_not_exist", RefusalKind.INVALID_REQUEST, False),
        (400, "task_channel_disable", RefusalKind.UNAVAILABLE, True),
        (403, "quota_not_enough", RefusalKind.NO_CREDIT, False),
    ],
)
def test_a_documented_refusal_is_not_billed(status: int, code: str, kind: Any, repeatable: bool) -> None:
    """A switched-off channel may be on again in some minutes; the other refusals are final."""
    outcome = submitted({"code": code, "message": "invalid_action", "data": None}, status)
    assert isinstance(outcome, Refused)
    assert (outcome.kind, outcome.repeatable, outcome.message) == (kind, repeatable, "invalid_action")


@pytest.mark.parametrize("between", ["", "\n"])
def test_two_documents_in_one_answer_are_unknown_and_name_the_first_ones_id(between: str) -> None:
    """The relay had answered with success when it could not store the task: perhaps billed, never sent again."""
    success = json.dumps({"code": "success", "message": "", "data": TASK})
    failure = json.dumps({"code": "insert_task_failed", "message": "database is locked", "data": None})
    outcome = submitted(success + between + failure)
    assert isinstance(outcome, Unknown)
    assert candidate_ids(success + between + failure) == (TASK,)
    assert isinstance(submitted(failure, 500), Unknown)
