"""Every fault of the GET bends the report as it says, in the envelope and in the bare shape."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

FOREVER: dict[str, Any] = {"on": "fetch", "times": None}
HTTP: dict[str, tuple[dict[str, Any], int, str]] = {
    "401": ({"fault": "status", "status": 401}, 401, '"error"'),
    "403": ({"fault": "status", "status": 403}, 403, '"error"'),
    "429": ({"fault": "status", "status": 429, "retry_after": 1}, 429, ""),
    "500": ({"fault": "status", "status": 500}, 500, "do_request_failed"),
    "502": ({"fault": "html"}, 502, "<html>"),
    "empty": ({"fault": "empty"}, 200, ""),
    "null": ({"fault": "null_data"}, 200, '"data":null'),
    "upstream": ({"fault": "fail_to_fetch_task"}, 401, "fail_to_fetch_task"),
    "not yet": ({"fault": "not_visible_yet"}, 400, "task_not_exist"),
}


@pytest.mark.parametrize(("rule", "status", "text"), HTTP.values(), ids=HTTP.keys())
def test_http_faults(desk: Any, rule: dict[str, Any], status: int, text: str) -> None:
    job_id = desk.submit()
    desk.play({**rule, "on": "fetch", "times": 2})
    for _ in range(2):
        answer = desk.fetch(job_id)
        assert answer.status_code == status
        assert text in answer.text
        assert bool(text) == bool(answer.content)
    assert desk.fetch(job_id).json()["data"]["task_id"] == job_id


def test_slow_and_reset(desk: Any) -> None:
    job_id = desk.submit()
    desk.play({"fault": "slow", "on": "fetch", "seconds": 0.3}, {"fault": "reset"})
    began = time.monotonic()
    assert desk.fetch(job_id).status_code == 200
    assert time.monotonic() - began > 0.25
    with pytest.raises(httpx.ReadError):
        desk.fetch(job_id)
    assert desk.http.get("/_simulator/requests").json()["fetches"]["answered"] == {"200": 1, "reset": 1}


def test_not_visible_for_some_seconds_or_some_fetches_of_each_job(simulate: Any) -> None:
    desk = simulate(median_seconds=100.0, sigma=0.0)
    desk.play({"fault": "not_visible_yet", "seconds": 10, **FOREVER})
    job_id = desk.submit()
    for seconds, status in ((1, 400), (9.9, 400), (10.1, 200)):
        desk.age(job_id, seconds)
        assert desk.fetch(job_id).status_code == status
    desk.play({"fault": "not_visible_yet", "fetches": 2, **FOREVER})
    for each in (job_id, desk.submit()):
        assert [desk.fetch(each).status_code for _ in range(3)] == [400, 400, 200]


def test_vanishing(simulate: Any) -> None:
    desk = simulate(median_seconds=100.0, sigma=0.0)
    job_id = desk.submit()
    desk.play({"fault": "vanishes", **FOREVER})
    assert [desk.fetch(job_id).status_code for _ in range(3)] == [200, 400, 400]
    desk.play({"fault": "vanishes", "seconds": 30}, {"fault": "status_word"})
    desk.age(job_id, 29)
    assert desk.fetch(job_id).status_code == 200
    desk.age(job_id, 31)
    assert desk.fetch(job_id).status_code == 400
    assert desk.query(job_id) == []


def test_words(desk: Any) -> None:
    desk.play(
        {"fault": "unknown_for_ever", "match": "one"}, {"fault": "status_word", "match": "two", "word": "HM"}
    )
    one, two = desk.submit(prompt="one"), desk.submit(prompt="two")
    desk.rendered(one)
    desk.rendered(two)
    for _ in range(3):
        assert (desk.data(one)["status"], desk.data(one)["data"]) == ("UNKNOWN", None)
        assert desk.data(two)["status"] == "HM"
        assert desk.data(two)["data"]["songs"][0]["finished"] is False
    desk.play()
    assert desk.data(one)["status"] == "SUCCESS"


def test_a_status_that_goes_backwards(simulate: Any) -> None:
    desk = simulate(median_seconds=100.0, sigma=0.0)
    desk.play({"fault": "backwards", "fetches": 2})
    job_id = desk.submit()
    assert desk.data(job_id)["status"] == "NOT_START"
    desk.age(job_id, 60)
    words = [desk.data(job_id)["status"] for _ in range(4)]
    assert words == ["IN_PROGRESS", "QUEUED", "QUEUED", "IN_PROGRESS"]


def test_success_without_songs_for_a_while(simulate: Any) -> None:
    desk = simulate(median_seconds=10.0, sigma=0.0)
    desk.play({"fault": "success_no_songs", "seconds": 20, **FOREVER})
    job_id = desk.submit()
    desk.rendered(job_id)
    desk.age(job_id, 15)
    assert (desk.data(job_id)["status"], desk.data(job_id)["data"]) == ("SUCCESS", {"songs": []})
    assert desk.query(job_id) == []
    desk.age(job_id, 31)
    assert len(desk.data(job_id)["data"]["songs"]) == 2


def test_songs_before_success(simulate: Any) -> None:
    desk = simulate(median_seconds=10.0, sigma=0.0)
    desk.play({"fault": "songs_before_success", "seconds": 20})
    job_id = desk.submit()
    desk.rendered(job_id)
    desk.age(job_id, 15)
    data = desk.data(job_id)
    assert (data["status"], data["finish_time"]) == ("IN_PROGRESS", 0)
    assert desk.download(data["data"]["songs"][0]).status_code == 200
    desk.age(job_id, 31)
    assert desk.data(job_id)["status"] == "SUCCESS"


def test_failed_takes(desk: Any) -> None:
    desk.play(
        {"fault": "one_take_fails", "match": "one", "error_type": "MODERATION"},
        {"fault": "all_takes_fail", "match": "all", "error_detail": "gone"},
        {"fault": "all_takes_fail", "match": "word", "word": "FAILURE"},
        {"fault": "one_take_only", "match": "only"},
        {"fault": "duplicate_song_ids", "match": "twin"},
    )
    good, bad = desk.songs(prompt="one")
    assert (good["error_id"], good["finished"]) == (None, True)
    assert bad["error_id"]
    assert (bad["error_type"], bad["song_path"], bad["finished"]) == ("MODERATION", None, False)
    assert [song["error_detail"] for song in desk.songs(prompt="all")] == ["gone", "gone"]
    job_id = desk.submit(prompt="word")
    assert len(desk.until(job_id, "FAILURE")["data"]["songs"]) == 2
    assert len(desk.songs(prompt="only")) == 1
    twins = desk.songs(prompt="twin")
    assert twins[0]["id"] == twins[1]["id"]
    assert twins[0]["song_path"] != twins[1]["song_path"]


@pytest.mark.parametrize("listed", [False, True])
def test_a_late_take(simulate: Any, listed: bool) -> None:
    desk = simulate(median_seconds=10.0, sigma=0.0)
    desk.play({"fault": "late_take", "seconds": 20, "listed": listed})
    job_id = desk.submit()
    desk.rendered(job_id)
    desk.age(job_id, 11)
    expected = [True, False] if listed else [True]
    assert [song["finished"] for song in desk.query(job_id)] == expected
    assert [song["finished"] for song in desk.data(job_id)["data"]["songs"]] == expected
    desk.age(job_id, 30.5)
    assert [song["finished"] for song in desk.query(job_id)] == [True, True]


def test_failures(simulate: Any) -> None:
    desk = simulate(median_seconds=10.0, sigma=0.0)
    desk.play(
        {"fault": "failure", "match": "plain", "fail_reason": "because"},
        {"fault": "failure_with_song", "match": "song"},
    )
    plain, kept = desk.submit(prompt="plain"), desk.submit(prompt="song")
    assert desk.data(plain)["status"] != "FAILURE"
    desk.rendered(plain)
    desk.rendered(kept)
    desk.age(kept, 12)
    data = desk.data(plain)
    assert (data["status"], data["fail_reason"]) == ("FAILURE", "because")
    assert [bool(song["error_id"]) for song in desk.query(plain)] == [True, True]
    data = desk.data(kept)
    assert data["status"] == "FAILURE"
    assert data["fail_reason"]
    good, bad = data["data"]["songs"]
    assert desk.download(good).status_code == 200
    assert bad["error_id"]


def test_a_failure_with_a_song_waits_for_the_song(simulate: Any) -> None:
    """Ten minutes of music take longer to render than one fetch takes."""
    desk = simulate(clip_seconds=30.0)
    desk.play({"fault": "failure_with_song"})
    job_id = desk.submit()
    assert desk.data(job_id)["status"] == "IN_PROGRESS"
    assert desk.until(job_id, "FAILURE")["data"]["songs"][0]["finished"]


def test_hostile_titles_go_through_the_list_and_can_be_downloaded(desk: Any) -> None:
    from songflow.simulator.songs import HOSTILE_TITLES

    desk.play({"fault": "hostile_titles", **FOREVER})
    titles = []
    for _ in range(-(-len(HOSTILE_TITLES) // 2)):
        for song in desk.songs():
            titles.append(song["title"])
            assert desk.download(song).status_code == 200
    assert titles[: len(HOSTILE_TITLES)] == list(HOSTILE_TITLES)
    desk.play({"fault": "hostile_titles", "titles": ["a/b"]})
    assert {song["title"] for song in desk.songs()} == {"a/b"}


def test_an_unknown_id_spends_no_fault_of_a_job(desk: Any) -> None:
    desk.play({"fault": "one_take_only"})
    desk.fetch("nobody")
    assert len(desk.songs()) == 1
    assert len(desk.songs()) == 2
