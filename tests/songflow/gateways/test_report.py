"""Reading the answer to a fetch: four shapes, every status, unusual fields, and the end of waiting."""

from __future__ import annotations

import json
from typing import Any

import pytest

from songflow.gateways import (
    SHAPES,
    Answer,
    FetchProblem,
    FetchProblemKind,
    Question,
    Report,
    ReportStatus,
    TakeReport,
    classify_fetch,
    relay_udio,
)

S = ReportStatus
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


# Where the songs are.


@pytest.mark.parametrize("expected", SHAPES)
@pytest.mark.parametrize(
    ("value", "status"),
    [
        (shape_a(song("a"), song("b")), S.SUCCEEDED),
        (shape_b("SUCCESS", song("a"), song("b")), S.SUCCEEDED),
        ({"code": "success", "message": "", "data": shape_a(song("a"), song("b"))}, S.SUCCEEDED),
        ({"code": 200, "data": {"status": "PROCESSING", "data": [shape_a(song("a"), song("b"))]}}, S.RUNNING),
        ({"code": 200, "status": "PROCESSING", "data": [shape_a(song("a")), shape_a(song("b"))]}, S.RUNNING),
        ({"code": 200, "data": [{"status": "PROCESSING", "songs": [song("a"), song("b")]}]}, S.RUNNING),
        ({"code": 200, "data": {"data": [song("a"), song("b")]}}, S.SUCCEEDED),
        ([song("a"), song("b")], S.SUCCEEDED),
        (
            [{"status": "SUCCESS", "songs": [song("a")]}, {"status": "FAILURE", "songs": [song("b")]}],
            S.SUCCEEDED,
        ),
    ],
)
def test_every_shape_is_recognised_whatever_is_expected(value, status, expected):
    report = read(value, expected)
    assert ids(report) == ["a", "b"]
    assert report.status is status


def test_the_expected_shape_decides_if_several_fit():
    value = {"songs": [song("a")], "data": {"songs": [song("c")], "data": {"songs": [song("b")]}}}
    assert [ids(read(value, shape)) for shape in ("A", "B", "C", "D")] == [["a"], ["b"], ["c"], ["a"]]


def test_an_empty_list_in_the_expected_place_does_not_hide_songs_elsewhere():
    assert ids(read({"songs": [], "data": {"songs": [song("c")]}}, "A")) == ["c"]


def test_the_documented_answer_is_read_completely(tools):
    text = tools.example("openai_hk.fetch.success.json")
    report = read("\ufeff" + text)
    assert (report.status, report.word, report.failure, report.progress) == (
        S.SUCCEEDED,
        "SUCCESS",
        None,
        1.0,
    )
    assert (report.submit_time, report.start_time, report.finish_time) == (1731344339, 1731344353, 1731344393)
    first, second = report.takes
    payload = json.loads(text)["data"]["data"]["songs"][0]
    assert first == TakeReport(
        song_id="db71404a-17d4-4fdf-a781-48381362d31b",
        title="Whispers of the Storm",
        duration=32.8106666666667,
        song_path=payload["song_path"],
        finished=True,
        error=None,
        payload=payload,
        prompt=payload["prompt"],
        lyrics=None,
        tags=("mandopop", "2010s"),
        image_path=payload["image_path"],
        created_at="2024-11-11T16:58:57.418504+00:00",
        conditioning=None,
    )
    assert first.song_path is not None
    assert "Whispers%2520of%2520the%2520Storm.mp3" in first.song_path
    assert second.payload["replaced_tags"]["pop"]["type"] == "tags"
    assert report.collectable == report.takes
    assert report.settled()


# Status words.


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("NOT_START", S.QUEUED),
        ("SUBMITTED", S.QUEUED),
        ("QUEUED", S.QUEUED),
        ("queued", S.QUEUED),
        ("IN_PROGRESS", S.RUNNING),
        ("PROCESSING", S.RUNNING),
        ("Success", S.SUCCEEDED),
        (" FAILURE ", S.FAILED),
        ("UNKNOWN", S.UNCLEAR),
        ("brand new", S.UNCLEAR),
        ("", S.UNCLEAR),
        (None, S.UNCLEAR),
        (7, S.UNCLEAR),
        (["SUCCESS"], S.UNCLEAR),
    ],
)
def test_every_status_word_has_one_meaning(word, status):
    report = read(shape_b(word))
    assert report.status is status
    assert report.settled() is (status is S.FAILED)


@pytest.mark.parametrize(
    ("value", "status", "failure"),
    [
        (shape_a(), S.UNCLEAR, None),
        (shape_a(young()), S.RUNNING, None),
        (shape_a(song(), young("b")), S.RUNNING, None),
        (shape_a(song(), broken("b")), S.SUCCEEDED, None),
        (shape_a(broken()), S.UNCLEAR, None),
        (shape_b("FAILURE"), S.FAILED, "the gateway reports a failure and gives no reason"),
        (shape_b("FAILURE", broken()), S.FAILED, "error_type moderation, error_id e-1"),
        (shape_b("FAILURE", fail_reason="moderated"), S.FAILED, "moderated"),
        (shape_b("IN_PROGRESS", fail_reason="moderated"), S.FAILED, "moderated"),
        (shape_b("SUCCESS", fail_reason="moderated"), S.FAILED, "moderated"),
        (shape_b("IN_PROGRESS", young(), fail_reason={"why": 1}), S.FAILED, "{'why': 1}"),
        (shape_b("IN_PROGRESS", fail_reason="  "), S.RUNNING, None),
        (shape_b("IN_PROGRESS", fail_reason=None), S.RUNNING, None),
        (shape_b("FAILURE", song(), fail_reason="odd"), S.SUCCEEDED, "odd"),
        (shape_b("IN_PROGRESS", song(), fail_reason="odd"), S.RUNNING, "odd"),
        ({"code": "success", "data": shape_a(song()) | {"fail_reason": "odd"}}, S.SUCCEEDED, "odd"),
        (shape_b("SUCCESS", broken()), S.SUCCEEDED, None),
        ({"code": "success", "message": "", "data": None}, S.UNCLEAR, None),
        ({"code": "success", "message": "", "data": {"status": "QUEUED", "data": None}}, S.QUEUED, None),
        ({"code": "x", "data": {"status": "QUEUED"}}, S.QUEUED, None),
        ({}, S.UNCLEAR, None),
        ([], S.UNCLEAR, None),
        ("null", S.UNCLEAR, None),
        ("12", S.UNCLEAR, None),
        ('"text"', S.UNCLEAR, None),
    ],
)
def test_finished_songs_outweigh_the_status_word(value, status, failure):
    report = read(value)
    assert (report.status, report.failure) == (status, failure)


def test_contradicting_element_statuses_are_ignored():
    value = {"data": [{"status": "SUCCESS", "songs": [song("a")]}, {"status": "IN_PROGRESS", "songs": []}]}
    assert read(value).word is None


# The end of waiting.


TWO = (song("a"), song("b"))

SETTLED = [
    ("an empty list is never done", shape_a(), [], None, False),
    ("nor seen twice", shape_a(), [], shape_a(), False),
    ("nor with SUCCESS", shape_b("SUCCESS"), [], shape_b("SUCCESS"), False),
    ("songs missing with SUCCESS", shape_b("SUCCESS", data=None), [], None, False),
    ("a list without a status word, seen once", shape_a(*TWO), [], None, False),
    ("after another list", shape_a(*TWO), [], shape_a(song("a")), False),
    ("after the same list, unfinished", shape_a(*TWO), [], shape_a(young("a"), young("b")), False),
    ("seen twice", shape_a(*TWO), [], shape_a(*TWO), True),
    ("seen twice in another order", shape_a(*TWO), [], shape_a(*TWO[::-1]), True),
    (
        "twice, but one take is young",
        shape_a(song("a"), young("b")),
        [],
        shape_a(song("a"), young("b")),
        False,
    ),
    ("twice, one take failed", shape_a(song("a"), broken("b")), [], shape_a(song("a"), broken("b")), True),
    ("twice, all takes failed", shape_a(broken("a")), [], shape_a(broken("a")), True),
    ("the expected tracks are there", shape_a(*TWO), ["a", "b"], None, True),
    ("and others too", shape_a(*TWO), ["b"], None, True),
    ("one expected track failed", shape_a(song("a"), broken("b")), ["a", "b"], None, True),
    ("one expected track is young", shape_a(song("a"), young("b")), ["a", "b"], None, False),
    ("one expected track is missing, twice", shape_a(song("a")), ["a", "b"], shape_a(song("a")), False),
    ("all expected tracks are missing, twice", shape_a(song("x")), ["a"], shape_a(song("x")), False),
    ("one id listed twice counts as one track", shape_a(song("a"), song("a")), ["a", "b"], None, False),
    ("SUCCESS with all takes", shape_b("SUCCESS", *TWO), [], None, True),
    ("SUCCESS with one failed take", shape_b("SUCCESS", song("a"), broken("b")), [], None, True),
    ("SUCCESS with failed takes only", shape_b("SUCCESS", broken("a")), [], None, True),
    ("SUCCESS with a young take", shape_b("SUCCESS", song("a"), young("b")), [], None, False),
    ("SUCCESS, expected tracks there", shape_b("SUCCESS", *TWO), ["a", "b"], None, True),
    ("SUCCESS, one expected track late", shape_b("SUCCESS", song("a")), ["a", "b"], None, False),
    ("SUCCESS, ids of another kind", shape_b("SUCCESS", song("x")), ["a", "b"], None, True),
    ("running, all listed are done", shape_b("IN_PROGRESS", *TWO), [], shape_b("IN_PROGRESS", *TWO), False),
    ("running, expected tracks done", shape_b("IN_PROGRESS", *TWO), ["a", "b"], None, True),
    ("UNKNOWN, done, once", shape_b("UNKNOWN", *TWO), [], None, False),
    ("UNKNOWN, done, twice", shape_b("UNKNOWN", *TWO), [], shape_b("UNKNOWN", *TWO), True),
    ("UNKNOWN, nothing", shape_b("UNKNOWN"), [], shape_b("UNKNOWN"), False),
    ("FAILURE", shape_b("FAILURE"), ["a"], None, True),
    ("FAILURE with a song", shape_b("FAILURE", song("a"), young("b")), ["a", "b"], None, True),
    ("a reason to fail", shape_b("IN_PROGRESS", fail_reason="no"), [], None, True),
    ("a reason to fail, but a song", shape_b("IN_PROGRESS", song(), fail_reason="no"), [], None, False),
    ("finished without a file, once", shape_b("SUCCESS", song("a", song_path=None)), [], None, False),
    (
        "finished without a file, twice",
        shape_b("SUCCESS", song("a", song_path=None)),
        [],
        shape_b("SUCCESS", song("a", song_path=None)),
        True,
    ),
]


@pytest.mark.parametrize(
    ("value", "expected", "previous", "settled"),
    [row[1:] for row in SETTLED],
    ids=[row[0] for row in SETTLED],
)
def test_waiting_ends_only_if_no_better_answer_can_come(value, expected, previous, settled):
    before = None if previous is None else read(previous)
    assert read(value).settled(expected, before) is settled


def test_a_song_listed_twice_stays_two_takes():
    assert ids(read(shape_a(song("a"), song("a", title="other")))) == ["a", "a"]


# Unusual fields.


@pytest.mark.parametrize(
    ("field", "given", "name", "taken"),
    [
        ("id", None, "song_id", None),
        ("id", 7, "song_id", "7"),
        ("id", True, "song_id", None),
        ("id", " ", "song_id", None),
        ("title", None, "title", None),
        ("title", ["x"], "title", None),
        ("duration", "32.8", "duration", 32.8),
        ("duration", "long", "duration", None),
        ("duration", True, "duration", None),
        ("duration", 0, "duration", None),
        ("duration", -3, "duration", None),
        ("duration", [1], "duration", None),
        ("duration", 10**39, "duration", 1e39),
        ("duration", "1" * 400, "duration", None),
        ("song_path", {"url": PATH}, "song_path", None),
        ("song_path", "", "song_path", None),
        ("song_path", " " + PATH, "song_path", " " + PATH),
        ("finished", 1, "finished", True),
        ("finished", "True", "finished", True),
        ("finished", "no", "finished", False),
        ("finished", [], "finished", False),
        ("finished", None, "finished", True),
        ("tags", None, "tags", ()),
        ("tags", "rock", "tags", ()),
        ("tags", ["rock", 1, None, "pop"], "tags", ("rock", "pop")),
        ("lyrics", "la\nla", "lyrics", "la\nla"),
        ("image_path", 1.5, "image_path", None),
        ("created_at", {}, "created_at", None),
        ("audio_conditioning_type", "precede", "conditioning", "precede"),
        ("error_id", "", "error", None),
        ("error_code", 0, "error", None),
        ("error_detail", "  ", "error", None),
        ("error_code", 17, "error", "error_code 17"),
        ("error_detail", {"why": "ü"}, "error", 'error_detail {"why": "ü"}'),
        ("error_detail", "x" * 999, "error", "error_detail " + "x" * 487),
    ],
)
def test_unusual_field_values_are_read_as_far_as_possible(field, given, name, taken):
    (take,) = read(shape_a(song() | {field: given, "brand_new": 1})).takes
    assert getattr(take, name) == taken
    assert take.payload[field] == given
    assert take.payload["brand_new"] == 1


@pytest.mark.parametrize(
    ("word", "path", "finished"),
    [
        ("SUCCESS", PATH, True),
        ("UNKNOWN", PATH, True),
        ("IN_PROGRESS", PATH, False),
        ("SUCCESS", None, False),
    ],
)
def test_a_missing_finished_is_inferred_from_path_and_status(word, path, finished):
    (take,) = read(shape_b(word, {"id": "a", "song_path": path})).takes
    assert take.finished is finished


@pytest.mark.parametrize(
    "songs", [None, 5, "text", {"id": "a"}, [None, 5, "text", ["x"]], [{"songs": None}], [{"songs": [None]}]]
)
def test_list_entries_that_are_not_songs_are_ignored(songs):
    assert read({"songs": songs}).takes == ()
    assert read({"data": {"data": {"songs": songs}}}).takes == ()


@pytest.mark.parametrize(
    ("given", "progress"),
    [
        ("100%", 1.0),
        ("0%", 0.0),
        (" 35 %", 0.35),
        ("50", 0.5),
        (0.5, 0.5),
        (50, 0.5),
        (900, 1.0),
        (-1, 0.0),
        ("", None),
        ("half", None),
        (None, None),
        (True, None),
        ([], None),
    ],
)
def test_progress_is_a_fraction(given, progress):
    assert read(shape_b("IN_PROGRESS", progress=given)).progress == progress


def test_times_of_0_are_none():
    report = read(shape_b("QUEUED", submit_time=1731344339, start_time=0, finish_time="soon"))
    assert (report.submit_time, report.start_time, report.finish_time) == (1731344339.0, None, None)


def test_a_report_has_the_retry_after_of_its_answer():
    headers = {"retry-after": "9"}
    report = classified(Answer(200, headers, "{}"))
    assert isinstance(report, Report)
    assert report.retry_after == 9.0


# Untrusted JSON.


def test_values_that_no_database_accepts_are_replaced():
    text = (
        '{"songs":[{"id":"a","finished":true,"song_path":"p","title":"x\\ud800y\\u0000z","duration":1e999,'
        '"plays":NaN,"likes":' + "9" * 100_000 + ',"n\\ud83d\\ude00":["\\udfff"],"id":"b"}]}'
    )
    (take,) = read(text, "A").takes
    assert (take.song_id, take.title, take.duration) == ("b", "x\ufffdy\ufffdz", None)
    assert (take.payload["plays"], take.payload["likes"]) == (None, None)
    assert take.payload["n😀"] == ["\ufffd"]
    json.dumps(take.payload, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        "[" * 300 + "]" * 300,
        '{"a":' * 300 + "1" + "}" * 300,
        "",
        "<html>",
        "{'songs': []}",
        '{"songs": [',
    ],
)
def test_an_answer_without_json_is_a_transient_problem(text):
    problem = classified(Answer(200, {"retry-after": "4"}, text))
    assert isinstance(problem, FetchProblem)
    assert (problem.kind, problem.retry_after) == (FetchProblemKind.TRANSIENT, 4.0)


def test_many_songs_are_not_deep_nesting():
    assert len(read(shape_a(*(song(str(n), tags=[]) for n in range(200)))).takes) == 200


# Problems.


def relay(code: Any, message: str = "text") -> str:
    return json.dumps({"code": code, "message": message, "data": None})


OPENAI = '{"error":{"message":"text","type":"t","code":"c"}}'
P = FetchProblemKind


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, relay("task_not_exist"), P.NOT_FOUND),
        (404, relay("task_not_exist"), P.NOT_FOUND),
        (200, relay("task_not_exist"), P.NOT_FOUND),
        (500, relay("task_not_exist"), P.TRANSIENT),
        (401, OPENAI, P.CREDENTIALS),
        (401, "", P.CREDENTIALS),
        (403, OPENAI, P.CREDENTIALS),
        (403, relay("quota_not_enough"), P.CREDENTIALS),
        (401, relay("fail_to_fetch_task"), P.TRANSIENT),
        (403, relay("fail_to_fetch_task"), P.TRANSIENT),
        (404, relay("fail_to_fetch_task"), P.TRANSIENT),
        (200, relay("fail_to_fetch_task"), P.TRANSIENT),
        (200, OPENAI, P.TRANSIENT),
        (200, "<html>", P.TRANSIENT),
        (301, "<html>", P.CONFIGURATION),
        (302, OPENAI, P.CONFIGURATION),
        (404, "<html>", P.CONFIGURATION),
        (404, OPENAI, P.CONFIGURATION),
        (404, relay("some_new_code"), P.TRANSIENT),
        (405, "", P.CONFIGURATION),
        (400, relay("invalid_request"), P.TRANSIENT),
        (408, "", P.TRANSIENT),
        (429, "", P.TRANSIENT),
        (429, OPENAI, P.TRANSIENT),
        (500, relay("do_request_failed"), P.TRANSIENT),
        (502, "<html>", P.TRANSIENT),
        (503, OPENAI, P.TRANSIENT),
        (524, "", P.TRANSIENT),
        (999, "", P.TRANSIENT),
        (500, json.dumps(shape_a(song())), P.TRANSIENT),
    ],
)
async def test_every_fetch_problem_has_a_kind_and_a_message(serve, tools, status, body, kind):
    server = await serve(tools.answers(tools.http(status, body, Retry_After="2")))
    async with tools.gateway(server.url) as gateway:
        problem = await gateway.fetch("udio", "id-1")
    assert isinstance(problem, FetchProblem)
    assert (problem.kind, problem.retry_after) == (kind, 2.0)
    assert str(status) in problem.message
    assert problem.answer is not None
    assert problem.answer.body == body
    assert [request.method for request in server.requests] == ["GET"]


async def test_json_sent_as_text_plain_is_read(serve, tools):
    body = json.dumps(shape_a(song("a")))
    server = await serve(tools.answers(tools.http(200, body, Content_Type="text/plain; charset=utf-8")))
    async with tools.gateway(server.url, "cometapi") as gateway:
        report = await gateway.fetch("udio", None, ["a"])
    assert isinstance(report, Report)
    assert report.settled(["a"])
