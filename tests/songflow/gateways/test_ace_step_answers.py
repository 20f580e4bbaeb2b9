"""ACE-Step's server: documented answers, a result as JSON in a text, tasks that it does not know, refusals."""

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
    RefusalKind,
    Refused,
    Report,
    ReportStatus,
    Unknown,
    classify_fetch,
    classify_submit,
)

EXAMPLES = Path(__file__).parents[1] / "examples"
SERVICE = DIALECTS["ace-step"].services["ace-step"]
TASK = "550e8400-e29b-41d4-a716-446655440000"
URL = "http://127.0.0.1:8001"
FILE = "/tmp/api_audio/abc123.mp3"


def example(name: str) -> str:
    return (EXAMPLES / f"ace_step.{name}.json").read_text(encoding="utf-8")


def fetched(text: str, status: int = 200) -> Any:
    (question,) = SERVICE.questions(TASK, base_url=URL)
    assert (question.target, question.body) == ("/query_result", {"task_id_list": [TASK]})
    return classify_fetch(Answer(status, {}, text), SERVICE, question)


def reported(status: int, *items: dict[str, Any], task: str = TASK) -> Any:
    entry = {"task_id": task, "status": status, "result": json.dumps(items)}
    return fetched(json.dumps({"data": [entry], "code": 200, "error": None}))


def song(**changed: Any) -> dict[str, Any]:
    return {"file": "/v1/audio?path=%2Ftmp%2Fone.mp3", "status": 1, "create_time": 1700000000} | changed


def running(**changed: Any) -> dict[str, Any]:
    return {"file": "", "status": 0, "create_time": 1700000000, "progress": 0.5, "stage": "running"} | changed


def test_the_documented_answers_are_read_whole() -> None:
    """The task's id is the one to ask for; a song's id is its path on the server, and its address on the same host."""
    outcome = classify_submit(Answer(200, {}, example("submit.answer")), SERVICE)
    assert isinstance(outcome, Accepted)
    assert (outcome.generation_id, outcome.track_ids) == (TASK, ())
    report = fetched(example("query.success"))
    assert (report.status, report.settled(), report.submit_time) == (ReportStatus.SUCCEEDED, True, 1700000000)
    (take,) = report.takes
    assert (take.song_id, take.song_path) == (FILE, f"{URL}/v1/audio?path=%2Ftmp%2Fapi_audio%2Fabc123.mp3")
    assert (take.title, take.prompt, take.lyrics) == ("upbeat pop song", "upbeat pop song", "Hello world")
    assert (take.duration, take.created_at) == (30, "2023-11-14T22:13:20+00:00")
    assert take.payload["metas"]["keyscale"] == "C Major"


def test_the_prompt_is_the_one_that_was_sent() -> None:
    """The server's language model may have written another one beside it; a title of a whole page is cut."""
    report = reported(1, song(prompt="An energetic anthem", metas={"prompt": "word " * 40}))
    assert report.takes[0].prompt == "word " * 40
    assert report.takes[0].title.endswith("word ...")
    assert len(report.takes[0].title) <= 80


def test_a_task_that_runs_has_no_songs_yet() -> None:
    """Its one item stands for the task."""
    report = reported(0, running())
    assert (report.status, report.takes, report.progress) == (ReportStatus.RUNNING, (), 0.5)
    assert not report.settled()


def test_a_task_is_called_failed_after_an_hour_but_goes_on() -> None:
    """Its inner status says so, and waiting goes on to the deadline."""
    report = reported(2, running())
    assert (report.status, report.settled(), report.failure) == (ReportStatus.UNCLEAR, False, None)


def test_a_failure_has_the_last_line_of_its_error() -> None:
    """Servers of some versions give none."""
    trace = "Traceback (most recent call last):\n  File x\nRuntimeError: out of memory\n"
    report = reported(2, running(status=2, stage="failed", error=trace))
    assert (report.status, report.failure, report.takes) == (
        ReportStatus.FAILED,
        "RuntimeError: out of memory",
        (),
    )
    assert "gives no reason" in reported(2, running(status=2, stage="failed")).failure
    assert reported(2).settled()


def test_a_success_without_a_file_is_a_take_that_failed() -> None:
    """The other one is collected."""
    report = reported(1, song(), song(file=""))
    assert [take.error for take in report.takes] == [None, "the server made no file"]
    assert (report.settled(), len(report.collectable)) == (True, 1)
    assert reported(1, song(create_time=1e30)).takes[0].created_at is None


@pytest.mark.parametrize(
    ("text", "status", "kind"),
    [
        (
            json.dumps({"data": [{"task_id": TASK, "result": "[]", "status": 0}], "code": 200}),
            200,
            FetchProblemKind.NOT_FOUND,
        ),
        (json.dumps({"data": [], "code": 200, "error": None}), 200, FetchProblemKind.TRANSIENT),
        ('{"detail":"Invalid API key"}', 401, FetchProblemKind.CREDENTIALS),
        ('{"detail":"Not Found"}', 404, FetchProblemKind.TRANSIENT),
        ("Internal Server Error", 500, FetchProblemKind.TRANSIENT),
    ],
)
def test_what_is_no_report(text: str, status: int, kind: FetchProblemKind) -> None:
    """An empty result means that the server does not know the task: it has forgotten it, or is another one."""
    problem = fetched(text, status)
    assert isinstance(problem, FetchProblem)
    assert problem.kind is kind


@pytest.mark.parametrize(
    ("status", "detail", "kind", "repeatable"),
    [
        (400, "absolute audio file paths are not allowed", RefusalKind.INVALID_REQUEST, False),
        (401, "Missing ai_token or Authorization header", RefusalKind.CREDENTIALS, False),
        (404, "Not Found", RefusalKind.CONFIGURATION, False),
        (415, "Unsupported Content-Type", RefusalKind.OTHER, False),
        (422, [{"loc": ["body"], "msg": "wrong"}], RefusalKind.INVALID_REQUEST, False),
        (429, "Server busy: queue is full", RefusalKind.RATE_LIMITED, True),
    ],
)
def test_documented_errors_are_refusals(
    status: int, detail: Any, kind: RefusalKind, repeatable: bool
) -> None:
    """They come before anything is made; the server's own words are the message."""
    outcome = classify_submit(Answer(status, {}, json.dumps({"detail": detail})), SERVICE)
    assert isinstance(outcome, Refused)
    assert (outcome.kind, outcome.repeatable) == (kind, repeatable)
    assert str(detail)[:20] in outcome.message


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, '{"data": null, "code": 500, "error": "queue failed"}'),
        (200, '{"data": {"task_id": ""}, "code": 200}'),
        (500, '{"detail": "Internal server error"}'),
        (502, "<html>"),
        (400, '{"detail": "x", "data": {"task_id": "550e"}}'),
    ],
)
def test_what_may_have_been_made_is_unknown(status: int, body: str) -> None:
    """Nothing guesses, whatever a song costs."""
    assert isinstance(classify_submit(Answer(status, {}, body), SERVICE), Unknown)


def test_reports_of_other_tasks_are_not_taken() -> None:
    """One request may ask for several."""
    assert isinstance(reported(1, song(), task="other"), FetchProblem)
    assert isinstance(reported(1, song()), Report)
