"""Ace Data Cloud: documented bodies and answers, tasks without a status, and both readings of what disagrees."""

from __future__ import annotations

import json
from typing import Any

import pytest

from songflow.families.registry import parse_request
from songflow.families.suno_join import JoinRequest
from songflow.gateways import (
    DIALECTS,
    Accepted,
    Answer,
    FetchProblem,
    FetchProblemKind,
    RefusalKind,
    Refused,
    Report,
    ReportStatus,
    Unknown,
    candidate_ids,
    classify_fetch,
    classify_submit,
)

SERVICE = DIALECTS["acedata"].services["suno"]
TASK = "eae26f89-b64b-404d-a80c-761996660b1c"
AUDIO = "97efc9f4-0e8d-4b3e-88df-14568fa1b11f"
URL = "https://host.example/one.mp3"
SOURCE = {"mode": "continuation", "source_song_id": AUDIO, "continue_at": 2}
TIMES = {"created_at": 1725083093.077, "started_at": 1725083093.137}
ENDED = {**TIMES, "finished_at": 1725083131.537, "elapsed": 38.4}


def wired(**fields: Any) -> Any:
    return SERVICE.wire_body(parse_request({"model_type": "chirp-auk", **fields}).body())


def submitted(body: Any, status: int = 200) -> Any:
    return classify_submit(Answer(status, {}, json.dumps(body)), SERVICE)


def fetched(body: Any, status: int = 200) -> Any:
    (question,) = SERVICE.questions(TASK)
    return classify_fetch(Answer(status, {}, json.dumps(body)), SERVICE, question)


def reported(*songs: dict[str, Any], success: Any = True, error: Any = None, **task: Any) -> Report:
    response: dict[str, Any] = {"success": success, "task_id": TASK, "data": list(songs)}
    if error is not None:
        response["error"] = error
    request = {"action": "generate", "prompt": "A song for Christmas"}
    report = fetched({"_id": "66d2", "id": TASK, "request": request, "response": response, **task})
    assert isinstance(report, Report)
    return report


def song(name: str = "one", **changes: Any) -> dict[str, Any]:
    """A song of the guides, with short texts."""
    return {
        "id": name,
        "title": "Holiday Wishes",
        "image_url": "https://host.example/one.jpeg",
        "lyric": "[Verse]\nSnow is falling",
        "audio_url": URL,
        "video_url": "",
        "created_at": "2024-08-31T05:44:54.806Z",
        "model": "chirp-v3.5",
        "prompt": "A song for Christmas",
        "style": "holiday, cheerful",
        "duration": 154.44,
    } | changes


@pytest.mark.parametrize(
    ("fields", "wire"),
    [
        (
            {"prompt": "A song for Christmas"},
            {
                "action": "generate",
                "prompt": "A song for Christmas",
                "model": "chirp-v4-5",
                "instrumental": False,
            },
        ),
        (
            {"prompt": "A song for Christmas", "lyrics_type": "instrumental", "model_type": "chirp-bluejay"},
            {"action": "generate", "prompt": "A song for Christmas", "model": "chirp-v4-5-plus"}
            | {"instrumental": True},
        ),
        (
            {"prompt": "pop", "lyrics": "Snowflakes", "title": "Snow", "negative_prompt": "metal"}
            | {"model_type": "chirp-crow"},
            {"action": "generate", "custom": True, "lyric": "Snowflakes", "style": "pop", "title": "Snow"}
            | {"negative_tags": "metal", "model": "chirp-v5", "instrumental": False},
        ),
        (
            {"prompt": "pop", "lyrics": "More snow", "model_type": "chirp-v4", **SOURCE},
            {"action": "extend", "audio_id": AUDIO, "continue_at": 2, "custom": True, "lyric": "More snow"}
            | {"style": "pop", "model": "chirp-v4", "instrumental": False},
        ),
        (
            {"prompt": "pop", "lyrics_type": "instrumental", "model_type": "chirp-v3-5", **SOURCE},
            {"action": "extend", "audio_id": AUDIO, "continue_at": 2, "custom": True, "style": "pop"}
            | {"model": "chirp-v3-5", "instrumental": True},
        ),
        (
            {"prompt": "pop", **SOURCE},
            {"action": "extend", "audio_id": AUDIO, "continue_at": 2, "custom": True, "style": "pop"}
            | {"lyric_prompt": "pop", "model": "chirp-v4-5", "instrumental": False},
        ),
    ],
)
def test_each_kind_of_request_has_its_documented_body(fields: dict[str, Any], wire: dict[str, Any]) -> None:
    """With `async`, the task's id is answered at once; the models have names of the gateway's own."""
    assert wired(**fields) == {**wire, "async": True}


def test_a_concatenation_names_the_last_part() -> None:
    """It is a task like any other."""
    join = DIALECTS["acedata"].services["suno-join"]
    body = JoinRequest(source_song_id=AUDIO).body()
    assert join.wire_body(body) == {"action": "concat", "audio_id": AUDIO, "async": True}


def test_a_model_that_has_no_name_there_is_not_sold() -> None:
    """The names of the others are all different."""
    assert not SERVICE.sells("chirp-auk-turbo")
    names = {wired(prompt="a", model_type=name)["model"] for name in SERVICE.models or ()}
    assert len(names) == len(SERVICE.models or ())


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"prompt": "x" * 501}, "prompt has 501 characters: this gateway takes 500 of an idea"),
        (
            {"prompt": "pop", "lyrics": "x", "title": "x" * 101},
            "title has 101 characters: this gateway takes 100",
        ),
        (
            {"prompt": "pop", "lyrics": "x", "title": "x" * 81, "model_type": "chirp-v4"},
            "title has 81 characters: this gateway takes 80",
        ),
    ],
)
def test_what_this_api_does_not_take_is_refused(fields: dict[str, Any], fault: str) -> None:
    """Its limits of ideas and titles are narrower than the model's."""
    with pytest.raises(ValueError, match=fault):
        wired(**fields)


@pytest.mark.parametrize(
    ("body", "tracks"),
    [
        ({"task_id": TASK}, ()),
        ({"success": True, "task_id": TASK, "trace_id": "7dbc"}, ()),
        ({"success": True, "data": {"task_id": TASK}}, ()),
        ({"success": True, "task_id": TASK, "trace_id": "7dbc", "data": [song("a"), song("b")]}, ("a", "b")),
    ],
)
def test_the_task_is_found_in_each_documented_answer(body: dict[str, Any], tracks: tuple[str, ...]) -> None:
    """Also in that of a gateway that has waited for the songs; it is then asked for by POST."""
    outcome = submitted(body)
    assert isinstance(outcome, Accepted)
    assert (outcome.generation_id, outcome.track_ids) == (TASK, tracks)
    (question,) = SERVICE.questions(outcome.generation_id, outcome.track_ids)
    assert (question.target, question.body) == ("/suno/tasks", {"id": TASK, "action": "retrieve"})


@pytest.mark.parametrize(
    ("status", "code", "kind", "repeatable"),
    [
        (400, "bad_request", RefusalKind.INVALID_REQUEST, False),
        (400, "no_token", RefusalKind.CREDENTIALS, False),
        (400, "token_mismatched", RefusalKind.CREDENTIALS, False),
        (401, "token_mismatched", RefusalKind.CREDENTIALS, False),
        (401, "invalid_token", RefusalKind.CREDENTIALS, False),
        (403, "disabled", RefusalKind.CREDENTIALS, False),
        (403, "used_up", RefusalKind.NO_CREDIT, False),
        (403, "forbidden", RefusalKind.INVALID_REQUEST, False),
        (404, "no_api", RefusalKind.CONFIGURATION, False),
        (429, "too_many_requests", RefusalKind.RATE_LIMITED, True),
    ],
)
def test_each_documented_code_is_a_refusal(
    status: int, code: str, kind: RefusalKind, repeatable: bool
) -> None:
    """None is billed, and the id beside one names the refused request."""
    error = {"code": code, "message": "Tags contained artist name"}
    for more in ({}, {"success": False, "task_id": TASK}):
        outcome = submitted({"error": error, "trace_id": "9bb7", **more}, status)
        assert isinstance(outcome, Refused)
        assert (outcome.kind, outcome.repeatable, outcome.message) == (kind, repeatable, error["message"])


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"error": {"code": "api_error", "message": "no available worker in system"}, "task_id": TASK}),
        (504, {"error": {"code": "timeout", "message": "timeout while waiting for audio generation"}}),
        (200, {"success": False, "error": {"code": "api_error", "message": "fetch failed"}, "task_id": TASK}),
        (200, {"success": True}),
        (400, {"task_id": TASK}),
    ],
)
def test_what_may_have_been_billed_is_unknown(status: int, body: dict[str, Any]) -> None:
    """And the id in the answer is one that rescue names."""
    assert isinstance(submitted(body, status), Unknown)
    assert candidate_ids(json.dumps(body)) == ((TASK,) if "task_id" in body else ())


def test_the_documented_report_is_read_whole() -> None:
    """With its times, from which the time of a generation is learned."""
    report = reported(song(), song("two"), **ENDED)
    first, second = report.takes
    assert (report.status, report.settled()) == (ReportStatus.SUCCEEDED, True)
    assert (first.song_id, first.title, first.duration, first.song_path) == (
        "one",
        "Holiday Wishes",
        154.44,
        URL,
    )
    assert (first.prompt, first.lyrics, first.tags) == (
        "A song for Christmas",
        "[Verse]\nSnow is falling",
        ("holiday", "cheerful"),
    )
    assert (first.image_path, first.payload, second.collectable) == (
        "https://host.example/one.jpeg",
        song(),
        True,
    )
    assert report.ran_seconds == pytest.approx(38.46, abs=0.01)


def test_a_finished_task_of_the_earlier_documents_has_no_times() -> None:
    """Its success tells that it has ended; without any response it is waited for."""
    report = reported(song(), created_at=1725083093.077)
    assert (report.status, report.settled()) == (ReportStatus.SUCCEEDED, True)
    waiting = fetched({"id": TASK, "created_at": 1725083093.077, "request": {"action": "generate"}})
    assert (waiting.status, waiting.takes) == (ReportStatus.QUEUED, ())


def test_a_song_is_finished_by_its_state_else_by_the_end_of_its_task() -> None:
    """Until then its address may lead to a part."""
    early = reported(song(state="pending"), song("two", state="succeeded"), success=None, **TIMES)
    assert [take.finished for take in early.takes] == [False, True]
    assert (early.status, early.settled()) == (ReportStatus.RUNNING, False)
    assert not reported(song(), **TIMES).takes[0].finished
    assert reported(song(), **ENDED).takes[0].finished
    late = reported(song(state="running"), **ENDED)
    assert (late.takes[0].collectable, late.settled(), late.settled((), late)) == (True, False, True)
    listed = reported(song(state="running"), created_at=1.0)
    assert (listed.status, listed.takes[0].song_path) == (ReportStatus.RUNNING, None)
    partly = reported(song(state="succeeded"), song("two", state="error", audio_url=""), **ENDED)
    assert [(take.collectable, take.error) for take in partly.takes] == [
        (True, None),
        (False, "the gateway reports an error"),
    ]
    assert partly.settled()


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("pending", ReportStatus.QUEUED),
        ("processing", ReportStatus.RUNNING),
        ("complete", ReportStatus.SUCCEEDED),
        ("failed", ReportStatus.FAILED),
        ("paused", ReportStatus.UNCLEAR),
    ],
)
def test_a_state_of_the_task_counts_if_there_is_one(word: str, status: ReportStatus) -> None:
    """The gateway's own client reads it; its documents have none."""
    assert reported(success=None, state=word, **TIMES).status is status


def test_a_failure_has_the_gateways_reason() -> None:
    """With its code where there is no message; a song that is there outweighs it."""
    failed = reported(success=False, error={"code": "api_error", "message": "fetch failed"}, **ENDED)
    assert (failed.status, failed.failure, failed.settled()) == (ReportStatus.FAILED, "fetch failed", True)
    assert reported(success=False, error={"code": "timeout"}, **ENDED).failure == "timeout"
    assert reported(success=False, **ENDED).failure == "the task has failed"
    kept = reported(song(), song("two", audio_url=""), success=False, error={"message": "no"}, **ENDED)
    assert [(take.collectable, take.error) for take in kept.takes] == [(True, None), (False, "no")]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": {"code": "bad_request", "message": "task not found"}}, FetchProblemKind.NOT_FOUND),
        (200, {"error": {"code": "not_found", "message": "it does not exist"}}, FetchProblemKind.NOT_FOUND),
        (401, {"error": {"code": "invalid_token", "message": "wrong"}}, FetchProblemKind.CREDENTIALS),
        (400, {"error": {"code": "token_mismatched", "message": "no"}}, FetchProblemKind.TRANSIENT),
        (200, {}, FetchProblemKind.TRANSIENT),
        (500, {"error": {"code": "api_error", "message": "fetch failed"}}, FetchProblemKind.TRANSIENT),
    ],
)
def test_an_answer_without_a_task_is_no_report(
    status: int, body: dict[str, Any], kind: FetchProblemKind
) -> None:
    """The wait goes on, or ends as at every gateway."""
    problem = fetched(body, status)
    assert isinstance(problem, FetchProblem)
    assert problem.kind is kind
