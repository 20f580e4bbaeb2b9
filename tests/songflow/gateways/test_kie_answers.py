"""Kie.ai and sunoapi.org: documented bodies and answers, refusals that come with HTTP 200, songs that are not ready."""

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

SERVICE = DIALECTS["kie"].services["suno"]
TASK = "5c79be8e"
URL = "https://host.example/one.mp3"
SOURCE = {
    "mode": "continuation",
    "source_song_id": "e231",
    "source_generation_id": TASK,
    "continue_at": 60,
}


def submitted(
    code: int, data: Any, *, status: int = 200, message: str = "success", gateway: str = "kie"
) -> Any:
    answer = Answer(status, {}, json.dumps({"code": code, "msg": message, "data": data}))
    return classify_submit(answer, DIALECTS[gateway].services["suno"])


def fetched(body: Any, status: int = 200) -> Any:
    text = json.dumps(body)
    (question,) = SERVICE.questions(TASK)
    return classify_fetch(Answer(status, {}, text), SERVICE, question)


def reported(word: str, *songs: dict[str, Any], error: str | None = None) -> Report:
    data = {
        "taskId": TASK,
        "status": word,
        "response": {"taskId": TASK, "sunoData": list(songs)},
        "errorMessage": error,
    }
    report = fetched({"code": 200, "msg": "success", "data": data})
    assert isinstance(report, Report)
    return report


def song(name: str = "one", url: str = URL) -> dict[str, Any]:
    return {
        "id": name,
        "audioUrl": url,
        "streamAudioUrl": "https://host.example/stream",
        "imageUrl": "https://host.example/one.jpeg",
        "prompt": "[Verse] City lights",
        "modelName": "chirp-v3-5",
        "title": "Iron Man",
        "tags": "electrifying, rock",
        "createTime": "2025-01-01 00:00:00",
        "duration": 198.44,
    }


@pytest.mark.parametrize(
    ("fields", "path", "wire"),
    [
        (
            {"prompt": "a calm piano"},
            "/api/v1/generate",
            {"customMode": False, "instrumental": False, "prompt": "a calm piano", "model": "V4_5"},
        ),
        (
            {"prompt": "a calm piano", "lyrics_type": "instrumental", "model_type": "chirp-bluejay"},
            "/api/v1/generate",
            {"customMode": False, "instrumental": True, "prompt": "a calm piano", "model": "V4_5PLUS"},
        ),
        (
            {"prompt": "rock", "lyrics": "City lights", "title": "Night", "negative_prompt": "metal"}
            | {"model_type": "chirp-v4"},
            "/api/v1/generate",
            {"customMode": True, "instrumental": False, "prompt": "City lights", "style": "rock"}
            | {"title": "Night", "negativeTags": "metal", "model": "V4"},
        ),
        (
            {"prompt": "rock", "lyrics": "More lights", "model_type": "chirp-crow", **SOURCE},
            "/api/v1/generate/extend",
            {"defaultParamFlag": True, "audioId": "e231", "prompt": "More lights", "style": "rock"}
            | {"title": "rock", "continueAt": 60, "model": "V5"},
        ),
    ],
)
def test_each_kind_of_request_has_its_documented_body(
    fields: dict[str, Any], path: str, wire: dict[str, Any]
) -> None:
    """The required address for callbacks leads nowhere; a title that is required comes from the style."""
    body = parse_request({"model_type": "chirp-auk", **fields}).body()
    assert SERVICE.path_for(body) == path
    assert SERVICE.wire_body(body) == {**wire, "callBackUrl": "https://callback.invalid/"}


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"prompt": "x" * 501}, "prompt has 501 characters: this gateway takes 500 of an idea"),
        (
            {"prompt": "rock", "lyrics": "x", "title": "x" * 81},
            "title has 81 characters: this gateway takes 80",
        ),
        (
            {"prompt": "rock", "lyrics_type": "instrumental", **SOURCE},
            "this gateway cannot extend without words",
        ),
    ],
)
def test_what_this_api_does_not_take_is_refused(fields: dict[str, Any], fault: str) -> None:
    """Its limits of ideas and titles are narrower than the model's, and every extension is sung."""
    with pytest.raises(ValueError, match=fault):
        SERVICE.wire_body(parse_request({"model_type": "chirp-auk", **fields}).body())


def test_an_extension_needs_no_task_of_its_source() -> None:
    """The clip's id is enough."""
    source = {name: value for name, value in SOURCE.items() if name != "source_generation_id"}
    body = parse_request({"prompt": "rock", "model_type": "chirp-auk", **source}).body()
    assert SERVICE.wire_body(body)["audioId"] == "e231"


def test_the_documented_submit_answer_is_an_acceptance() -> None:
    """The task's id is the one to ask for, at both gateways."""
    outcome = submitted(200, {"taskId": TASK})
    assert isinstance(outcome, Accepted)
    assert (outcome.generation_id, outcome.track_ids) == (TASK, ())
    for gateway in ("kie", "sunoapi"):
        (question,) = DIALECTS[gateway].services["suno"].questions(outcome.generation_id)
        assert question.target == f"/api/v1/generate/record-info?taskId={TASK}"


@pytest.mark.parametrize("with_http_200", [True, False])
@pytest.mark.parametrize(
    ("gateway", "code", "kind", "repeatable"),
    [
        ("kie", 401, RefusalKind.CREDENTIALS, False),
        ("kie", 402, RefusalKind.NO_CREDIT, False),
        ("kie", 405, RefusalKind.RATE_LIMITED, True),
        ("kie", 413, RefusalKind.INVALID_REQUEST, False),
        ("kie", 422, RefusalKind.INVALID_REQUEST, False),
        ("kie", 429, RefusalKind.RATE_LIMITED, True),
        ("kie", 430, RefusalKind.RATE_LIMITED, True),
        ("kie", 455, RefusalKind.OTHER, False),
        ("sunoapi", 405, RefusalKind.RATE_LIMITED, True),
        ("sunoapi", 429, RefusalKind.NO_CREDIT, False),
        ("sunoapi", 430, RefusalKind.RATE_LIMITED, True),
        ("sunoapi", 455, RefusalKind.OTHER, False),
    ],
)
def test_a_code_refuses_with_http_200_or_its_own_status(
    gateway: str, code: int, kind: RefusalKind, repeatable: bool, with_http_200: bool
) -> None:
    """Which of the two the gateways send is not documented. At sunoapi.org 429 means that the credit is used up."""
    outcome = submitted(code, None, status=200 if with_http_200 else code, message="no", gateway=gateway)
    assert isinstance(outcome, Refused)
    assert (outcome.kind, outcome.repeatable, outcome.message) == (kind, repeatable, "no")


@pytest.mark.parametrize(
    ("status", "code", "data"),
    [
        (200, 500, None),
        (200, 200, None),
        (200, 200, {"taskId": ""}),
        (400, 500, None),
        (408, 422, None),
        (500, 422, None),
        (422, 422, {"taskId": TASK}),
        (429, 429, {"taskId": TASK}),
    ],
)
def test_what_may_have_been_billed_is_unknown(status: int, code: int, data: Any) -> None:
    """A failure of the server, a timeout, a success without an id, and a refusal that carries one."""
    assert isinstance(submitted(code, data, status=status), Unknown)


def test_a_success_with_an_id_is_accepted_whatever_its_code_says() -> None:
    """There is a task to ask for, and perhaps to pay for."""
    outcome = submitted(422, {"taskId": TASK})
    assert isinstance(outcome, Accepted)
    assert outcome.generation_id == TASK


def test_the_documented_report_is_read_whole() -> None:
    """Every field of a song is kept; the picture, words and tags are found."""
    report = reported("SUCCESS", song(), song("two", "https://host.example/two.mp3"))
    first, second = report.takes
    assert (report.status, report.settled()) == (ReportStatus.SUCCEEDED, True)
    assert (first.song_id, first.title, first.duration, first.song_path) == ("one", "Iron Man", 198.44, URL)
    assert (first.lyrics, first.tags) == ("[Verse] City lights", ("electrifying", "rock"))
    assert (first.image_path, first.payload) == ("https://host.example/one.jpeg", song())
    assert second.collectable


def test_waiting_goes_on_until_both_songs_are_there() -> None:
    """With the first one ready, twice in a row, the second is still being made."""
    first = reported("FIRST_SUCCESS", song(), song("two", ""))
    alone = reported("FIRST_SUCCESS", song())
    assert not first.settled((), first)
    assert not alone.settled((), alone)
    assert not reported("TEXT_SUCCESS", song("one", "")).takes[0].finished
    assert reported("PENDING").status is ReportStatus.QUEUED


def test_a_callback_that_failed_says_nothing_of_the_songs() -> None:
    """The generation has ended if the same songs are listed twice, and runs on while one of them is not there."""
    alone = reported("CALLBACK_EXCEPTION", song())
    assert (alone.settled(), alone.settled((), alone)) == (False, True)
    unfinished = reported("CALLBACK_EXCEPTION", song(), song("two", ""), error="no answer to the callback")
    assert (unfinished.status, unfinished.failure) == (ReportStatus.UNCLEAR, None)
    assert not unfinished.settled((), unfinished)
    assert reported("CALLBACK_EXCEPTION", error="no answer").status is ReportStatus.UNCLEAR
    assert reported("TEXT_SUCCESS", song("one", ""), error="no answer").status is ReportStatus.RUNNING


@pytest.mark.parametrize("word", ["CREATE_TASK_FAILED", "GENERATE_AUDIO_FAILED", "SENSITIVE_WORD_ERROR"])
def test_a_failure_has_its_reason(word: str) -> None:
    """The gateway's own words, else its status."""
    assert reported(word, error="try again").failure == "try again"
    assert word in (reported(word).failure or "")


def test_a_failure_leaves_the_song_that_is_there_and_ends_the_other() -> None:
    """No song without an address is waited for any more."""
    report = reported("GENERATE_AUDIO_FAILED", song(), song("two", ""), error="try again")
    assert (report.status, report.settled()) == (ReportStatus.SUCCEEDED, True)
    assert [(take.collectable, take.error) for take in report.takes] == [(True, None), (False, "try again")]
    unnamed = reported("GENERATE_AUDIO_FAILED", song("two", ""))
    assert unnamed.takes[0].error == "the gateway reports GENERATE_AUDIO_FAILED"


def test_an_unknown_task_and_a_refused_key_are_no_reports() -> None:
    """Both come with HTTP 200, and the second one may speak of what does not exist, too."""
    unknown = fetched({"code": 422, "msg": "recordInfo is null", "data": None})
    assert isinstance(unknown, FetchProblem)
    assert unknown.kind is FetchProblemKind.NOT_FOUND
    for words in ("You do not have access permissions", "API key does not exist"):
        refused = fetched({"code": 401, "msg": words, "data": None})
        assert isinstance(refused, FetchProblem)
        assert refused.kind is FetchProblemKind.CREDENTIALS
