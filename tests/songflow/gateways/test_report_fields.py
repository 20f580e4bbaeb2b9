"""Reading the fields of a take and of a report, however unusual."""

from __future__ import annotations

import pytest
from support.udio_answers import PATH, classified, read, shape_a, shape_b, song

from songflow.gateways import Answer, Report
from songflow.gateways.report import address_or_none


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
        ("duration", 10**39, "duration", None),
        ("duration", 32_810, "duration", 32_810.0),
        ("duration", "1" * 400, "duration", None),
        ("song_path", {"url": PATH}, "song_path", None),
        ("song_path", "", "song_path", None),
        ("song_path", " " + PATH, "song_path", PATH),
        ("song_path", f"\ufeff{PATH}\r\n", "song_path", PATH),
        ("song_path", f"<{PATH}>", "song_path", PATH),
        ("song_path", "\u200b \n", "song_path", None),
        ("image_path", f"{PATH}\n", "image_path", PATH),
        ("finished", 1, "finished", True),
        ("finished", "True", "finished", True),
        ("finished", "no", "finished", False),
        ("finished", [], "finished", False),
        ("finished", None, "finished", True),
        ("tags", None, "tags", ()),
        ("tags", "rock", "tags", ("rock",)),
        ("tags", " pop, c-pop ;slow waltz\uff0c, ", "tags", ("pop", "c-pop", "slow waltz")),
        ("tags", '["rock", "pop"]', "tags", ("rock", "pop")),
        ("tags", "[live] rock", "tags", ("[live] rock",)),
        ("tags", " ", "tags", ()),
        ("tags", {"a": 1}, "tags", ()),
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
    ("word", "fields", "finished"),
    [
        ("SUCCESS", {}, True),
        ("completed", {}, True),
        ("SUCCESS", {"error_id": "e"}, False),
        ("SUCCESS", {"song_path": None}, False),
        ("IN_PROGRESS", {}, False),
        ("UNKNOWN", {}, False),
        ("FAILED", {}, False),
    ],
)
def test_an_address_of_a_success_outweighs_finished_false(word, fields, finished):
    """What else may an address in a finished generation mean."""
    (take,) = read(shape_b(word, song(finished=False) | fields)).takes
    assert (take.finished, take.presumed) == (finished, finished)


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


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("//cdn.example/a%2520b.mp3?x=1", "https://cdn.example/a%2520b.mp3?x=1"),
        ("/files/a%2520b.mp3#y", "https://api.example:8443/files/a%2520b.mp3#y"),
        ("http://cdn.example/../a", "http://cdn.example/../a"),
        ("files/a.mp3", "files/a.mp3"),
        ("/", "https://api.example:8443/"),
    ],
)
def test_an_address_is_completed_by_the_gateways_own(given, meant):
    """And is otherwise byte for byte as given; without a scheme or a slash it could be anything."""
    assert address_or_none(given, "https://api.example:8443/v1") == meant
    assert address_or_none(given, "") == given
