"""Reading the answer to a fetch: four shapes, every status, and the end of waiting."""

from __future__ import annotations

import json

import pytest
from support.udio_answers import broken, ids, read, shape_a, shape_b, song, young

from songflow.gateways import SHAPES, ReportStatus, TakeReport

S = ReportStatus


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
        *(
            (word, S.FAILED)
            for word in ("FAILED", "fail", "ERROR", "CANCELLED", "Canceled", "TIMEOUT", "timed out")
        ),
        *((word, S.FAILED) for word in ("EXPIRED", "rejected", "aborted")),
        *((word, S.SUCCEEDED) for word in ("succeeded", "COMPLETED", "complete", "finished", "Done")),
        *((word, S.RUNNING) for word in ("running", "in progress", "IN-PROGRESS", "generating")),
        *((word, S.QUEUED) for word in ("pending", "WAITING", "not started")),
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
        (shape_b("TIMEOUT"), S.FAILED, "the gateway reports 'TIMEOUT' and gives no reason"),
        (shape_b("ERROR", song()), S.SUCCEEDED, None),
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
    ("SUCCESS, an address, not finished, once", shape_b("SUCCESS", song(finished=False)), [], None, False),
    (
        "SUCCESS, an address, not finished, twice",
        shape_b("SUCCESS", song(finished=False)),
        [],
        shape_b("SUCCESS", song(finished=False)),
        True,
    ),
    (
        "running, an address, not finished, twice",
        shape_b("IN_PROGRESS", song(finished=False)),
        ["a"],
        shape_b("IN_PROGRESS", song(finished=False)),
        False,
    ),
    (
        "another address the second time",
        shape_b("SUCCESS", song(finished=False)),
        [],
        shape_b("SUCCESS", song(finished=False, song_path="https://host.example/other")),
        False,
    ),
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
