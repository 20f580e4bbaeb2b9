"""PiAPI: documented bodies and answers, fields that its body has no place for, and both readings of what disagrees."""

from __future__ import annotations

import json
from typing import Any

import pytest

from songflow.families.registry import parse_request
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

SERVICE = DIALECTS["piapi"].services["udio"]
TASK = "0153143f-8b80-4092-b01d-76829e1a16ed"
SOURCE = "1307fd94-adbc-4787-b8e3-2e89f84ef22b"
URL = "https://host.example/The%2520Untitled.mp3"
CONTINUED = {
    "mode": "continuation",
    "source_song_id": SOURCE,
    "song_section_start": 0.9,
    "song_section_end": None,
}
NO_ERROR = {"code": 0, "raw_message": "", "message": "", "detail": None}


def wired(**fields: Any) -> Any:
    return SERVICE.wire_body(parse_request(fields).body())


def submitted(body: Any, status: int = 200) -> Any:
    return classify_submit(Answer(status, {}, json.dumps(body)), SERVICE)


def fetched(body: Any, status: int = 200) -> Any:
    (question,) = SERVICE.questions(TASK)
    return classify_fetch(Answer(status, {}, json.dumps(body)), SERVICE, question)


def reported(status: str, output: Any = None, *, error: Any = NO_ERROR, **more: Any) -> Report:
    task = {"task_id": TASK, "model": "music-u", "status": status, "output": output, "error": error, **more}
    report = fetched({"code": 200, "data": task, "message": "success"})
    assert isinstance(report, Report)
    return report


def song(number: int = 1, **changes: Any) -> dict[str, Any]:
    """One of the songs of the published finished task, with short texts."""
    return {
        "id": f"674541ff-{number}",
        "title": "Aaryan's Big Adventure",
        "image_path": "https://host.example/public",
        "lyrics": "Aaryan, time to go!",
        "prompt": "Playful melody",
        "song_path": URL,
        "duration": 131.114666666667,
        "finished": True,
        "tags": ["female vocalist", "pop"],
        "error_type": None,
        "error_code": None,
        "error_detail": None,
    } | changes


@pytest.mark.parametrize(
    ("fields", "given"),
    [
        (
            {"prompt": "night breeze, piano"},
            {"gpt_description_prompt": "night breeze, piano", "lyrics_type": "generate"},
        ),
        (
            {"prompt": "night breeze", "lyrics_type": "instrumental"},
            {"gpt_description_prompt": "night breeze", "lyrics_type": "instrumental"},
        ),
        (
            {"prompt": "jazz, pop", "lyrics": "[Verse]\nIn the evening air\n"},
            {
                "gpt_description_prompt": "jazz, pop",
                "lyrics_type": "user",
                "lyrics": "[Verse]\nIn the evening air\n",
            },
        ),
        (
            {"prompt": "winter snow, Folk music", **CONTINUED},
            {"gpt_description_prompt": "winter snow, Folk music", "lyrics_type": "generate", "lyrics": ""}
            | {"continue_song_id": SOURCE, "continue_at": 0},
        ),
    ],
)
def test_each_documented_body_is_made_exactly(fields: dict[str, Any], given: dict[str, Any]) -> None:
    """The three of "Song API Task Creation Examples", and that of "[Udio] Song Extend"."""
    assert wired(**fields) == {
        "model": "music-u",
        "task_type": "generate_music",
        "input": {**given, "negative_tags": "", "seed": -1},
        "config": {"service_mode": "public", "webhook_config": {"endpoint": "", "secret": ""}},
    }


def test_what_to_avoid_and_a_seed_are_told() -> None:
    """There is no choice of a model, so only the default one is sold."""
    given = wired(prompt="jazz", negative_prompt="pop,rock", seed=7)["input"]
    assert SERVICE.models == {parse_request({"prompt": "jazz"}).model_type}
    assert (given["negative_tags"], given["seed"]) == ("pop,rock", 7)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        (
            {"prompt_strength": 0.7},
            "prompt_strength is 0.7, and this gateway has no such setting: leave it at 0.5",
        ),
        ({"clarity_strength": 0}, "clarity_strength is 0, .* leave it at 0.25"),
        ({"lyrics_strength": 1}, "lyrics_strength is 1, .* leave it at 0.5"),
        ({"generation_quality": 1}, "generation_quality is 1, .* leave it at 0.75"),
        ({"bypass_prompt_optimization": True}, "bypass_prompt_optimization is true, .* leave it at false"),
        ({"song_section_start": 0.4}, "song_section_start is 0.4, .* from their beginning: leave it at 0"),
        ({"song_section_end": 0.9}, "song_section_end is 0.9, .* to their end: leave it at 1"),
        (
            {"lyrics_placement_end": 0.5},
            "lyrics_placement_end is 0.5, .* places the words itself: leave it out",
        ),
        ({**CONTINUED, "mode": "precede"}, "mode is precede, .* leave it at continuation"),
        ({**CONTINUED, "song_section_start": 0.4}, "song_section_start is 0.4, .* leave it at 0.9"),
        ({**CONTINUED, "context_length": 30}, "context_length is 30, .* leave it at 130"),
    ],
)
def test_what_the_body_has_no_place_for_is_refused(fields: dict[str, Any], fault: str) -> None:
    """Nothing is dropped in silence: the field is named, and the value that it can have."""
    with pytest.raises(ValueError, match=fault):
        wired(prompt="jazz", **fields)


def test_every_fault_is_named_at_once() -> None:
    """And a value that is left to the model is no fault."""
    with pytest.raises(ValueError, match=r"prompt_strength .*; generation_quality "):
        wired(prompt="jazz", prompt_strength=0, generation_quality=0.5)
    assert wired(prompt="jazz", song_section_start=None, song_section_end=None)


@pytest.mark.parametrize(
    "body",
    [
        {"code": 200, "data": {"task_id": TASK, "status": "pending"}, "message": "success"},
        {"timestamp": 1724511853, "data": {"task_id": TASK, "status": "Pending"}},
        {"task_id": TASK, "status": "pending"},
    ],
)
def test_the_task_is_found_in_every_envelope(body: dict[str, Any]) -> None:
    """Those of "Get Task", of webhooks, and of the product page; they hold the report, too."""
    outcome = submitted(body)
    assert isinstance(outcome, Accepted)
    assert (outcome.generation_id, outcome.track_ids) == (TASK, ())
    (question,) = SERVICE.questions(outcome.generation_id)
    assert (question.target, question.body) == (f"/api/v1/task/{TASK}", None)
    assert fetched(body).status is ReportStatus.QUEUED


@pytest.mark.parametrize("with_http_200", [True, False])
@pytest.mark.parametrize(
    ("code", "kind", "repeatable"),
    [
        (400, RefusalKind.INVALID_REQUEST, False),
        (401, RefusalKind.CREDENTIALS, False),
        (402, RefusalKind.NO_CREDIT, False),
        (429, RefusalKind.RATE_LIMITED, True),
    ],
)
def test_a_code_refuses_with_http_200_or_its_own_status(
    code: int, kind: RefusalKind, repeatable: bool, with_http_200: bool
) -> None:
    """Which of the two comes is not documented."""
    outcome = submitted({"code": code, "data": None, "message": "no"}, 200 if with_http_200 else code)
    assert isinstance(outcome, Refused)
    assert (outcome.kind, outcome.repeatable, outcome.message) == (kind, repeatable, "no")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"code": 500, "data": None, "message": "failed"}),
        (500, {"code": 500, "data": None, "message": "failed"}),
        (200, {"code": 200, "data": {"task_id": ""}, "message": "success"}),
        (400, {"code": 400, "data": {"task_id": TASK}, "message": "failed"}),
        (400, {"timestamp": 1, "data": {"task_id": TASK, "error": {"code": 1, "message": "failed"}}}),
    ],
)
def test_what_may_have_been_billed_is_unknown(status: int, body: dict[str, Any]) -> None:
    """A failure of the server, a success without an id, and a refusal that carries one."""
    assert isinstance(submitted(body, status), Unknown)


@pytest.mark.parametrize(
    ("output", "texts"),
    [
        ({"lyrics": "la la"}, ["la la"]),
        ({"lyrics": [{"text": "la"}, {"text": "lo"}]}, ["la", "lo"]),
        ({"lyrics": ["la", "lo"]}, ["la", "lo"]),
        (["la"], ["la"]),
        ("la la", ["la la"]),
    ],
)
def test_lyrics_are_found_in_every_form_that_a_result_may_have(output: Any, texts: list[str]) -> None:
    """None is published, and what was paid for is not thrown away."""
    service = DIALECTS["piapi"].services["lyrics"]
    (question,) = service.questions(TASK)
    body = {
        "code": 200,
        "data": {"task_id": TASK, "status": "completed", "output": output, "error": NO_ERROR},
    }
    report = classify_fetch(Answer(200, {}, json.dumps(body)), service, question)
    assert isinstance(report, Report)
    assert [take.lyrics for take in report.collectable] == texts


def test_the_published_finished_task_is_read_whole() -> None:
    """With Udio's own songs, and times in nanoseconds from which the time of a generation is learned."""
    times = {
        "created_at": "2025-04-25T17:07:45.765122491Z",
        "started_at": "2025-04-25T17:07:46.618823883Z",
        "ended_at": "2025-04-25T17:10:29.2624881Z",
        "usage": {"type": "point", "frozen": 500000, "consume": 500000},
    }
    report = reported(
        "completed", {"generation_id": "1151374f", "songs": [song(), song(2)]}, meta=times, logs=None
    )
    first, second = report.takes
    assert (report.status, report.settled()) == (ReportStatus.SUCCEEDED, True)
    assert (first.song_id, first.song_path, first.duration) == ("674541ff-1", URL, 131.114666666667)
    assert (first.prompt, first.lyrics, first.tags) == (
        "Playful melody",
        "Aaryan, time to go!",
        ("female vocalist", "pop"),
    )
    assert (first.payload, second.collectable) == (song(), True)
    assert report.ran_seconds == pytest.approx(163.497, abs=0.01)
    assert (
        reported("pending", meta={"created_at": "", "started_at": "0001-01-01T00:00:00Z"}).start_time is None
    )


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("Staged", ReportStatus.QUEUED),
        ("Pending", ReportStatus.QUEUED),
        ("Processing", ReportStatus.RUNNING),
        ("Failed", ReportStatus.FAILED),
        ("staged", ReportStatus.QUEUED),
        ("PROCESSING", ReportStatus.RUNNING),
        ("paused", ReportStatus.UNCLEAR),
    ],
)
def test_each_status_is_known_in_any_case(word: str, status: ReportStatus) -> None:
    """A staged task waits for a place among the account's concurrent jobs, and an unknown word is waited out."""
    assert reported(word).status is status


def test_one_address_in_place_of_the_songs_is_a_song() -> None:
    """As the product page shows it; while the task runs, it may lead to a part of the song."""
    output = {"audio_url": URL}
    report = reported("completed", output, input={"gpt_description_prompt": "night breeze"})
    (take,) = report.takes
    assert (take.collectable, take.song_path, take.prompt, report.settled()) == (
        True,
        URL,
        "night breeze",
        True,
    )
    assert not reported("processing", output).takes[0].finished
    both = reported("completed", {**output, "songs": [song()]})
    assert [one.song_id for one in both.takes] == ["674541ff-1"]
    by_id = reported("completed", {"songs": {"a": {"id": "a", "audio_url": URL}, "b": song(2)}})
    assert [one.collectable for one in by_id.takes] == [True, True]


def test_a_failed_task_has_both_messages() -> None:
    """And one take that failed does not take the other's song."""
    error = {"code": 10000, "raw_message": "moderation", "message": "task failed", "detail": None}
    failed = reported("failed", error=error)
    assert (failed.status, failed.failure, failed.settled()) == (
        ReportStatus.FAILED,
        "task failed: moderation",
        True,
    )
    assert reported("failed").failure == "the gateway reports 'failed' and gives no reason"
    assert reported("processing", error=error).status is ReportStatus.RUNNING
    bad = song(2, song_path=None, finished=False, error_type="MODERATION")
    partly = reported("completed", {"songs": [song(), bad]})
    assert [take.collectable for take in partly.takes] == [True, False]
    assert partly.settled()


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (404, 404, "task not found", FetchProblemKind.NOT_FOUND),
        (200, 400, "task not found", FetchProblemKind.NOT_FOUND),
        (401, 401, "invalid api key", FetchProblemKind.CREDENTIALS),
        (200, 401, "the api key does not exist", FetchProblemKind.CREDENTIALS),
        (500, 500, "internal error", FetchProblemKind.TRANSIENT),
    ],
)
def test_an_answer_without_a_task_is_no_report(
    status: int, code: int, message: str, kind: FetchProblemKind
) -> None:
    """Whether or not its code is also the status."""
    problem = fetched({"code": code, "data": None, "message": message}, status)
    assert isinstance(problem, FetchProblem)
    assert problem.kind is kind


def test_the_key_stands_in_a_header_of_its_own() -> None:
    """And no other header has it."""
    assert DIALECTS["piapi"].authorization("k") == {"X-API-Key": "k"}
