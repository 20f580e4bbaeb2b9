"""Every fetch fault changes the report as documented, in envelope B and in the bare shape."""

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
def test_fetch_faults_answer_with_an_error(sim: Any, rule: dict[str, Any], status: int, text: str) -> None:
    job_id = sim.submit()
    sim.play({**rule, "on": "fetch", "times": 2})
    for _ in range(2):
        answer = sim.fetch(job_id)
        assert answer.status_code == status
        assert text in answer.text
        assert bool(text) == bool(answer.content)
    assert sim.fetch(job_id).json()["data"]["task_id"] == job_id


def test_fetches_can_be_slow_or_reset(sim: Any) -> None:
    job_id = sim.submit()
    sim.play({"fault": "slow", "on": "fetch", "seconds": 0.3}, {"fault": "reset"})
    began = time.monotonic()
    assert sim.fetch(job_id).status_code == 200
    assert time.monotonic() - began > 0.25
    with pytest.raises(httpx.ReadError):
        sim.fetch(job_id)
    assert sim.http.get("/_simulator/requests").json()["fetches"]["answered"] == {"200": 1, "reset": 1}


def test_a_job_can_be_invisible_for_some_seconds_or_fetches(simulate: Any) -> None:
    sim = simulate(median_seconds=100.0, sigma=0.0)
    sim.play({"fault": "not_visible_yet", "seconds": 10, **FOREVER})
    job_id = sim.submit()
    for seconds, status in ((1, 400), (9.9, 400), (10.1, 200)):
        sim.age(job_id, seconds)
        assert sim.fetch(job_id).status_code == status
    sim.play({"fault": "not_visible_yet", "fetches": 2, **FOREVER})
    for each in (job_id, sim.submit()):
        assert [sim.fetch(each).status_code for _ in range(3)] == [400, 400, 200]


def test_a_job_can_vanish(simulate: Any) -> None:
    sim = simulate(median_seconds=100.0, sigma=0.0)
    job_id = sim.submit()
    sim.play({"fault": "vanishes", **FOREVER})
    assert [sim.fetch(job_id).status_code for _ in range(3)] == [200, 400, 400]
    sim.play({"fault": "vanishes", "seconds": 30}, {"fault": "status_word"})
    sim.age(job_id, 29)
    assert sim.fetch(job_id).status_code == 200
    sim.age(job_id, 31)
    assert sim.fetch(job_id).status_code == 400
    assert sim.query(job_id) == []


def test_status_words_can_be_replaced(sim: Any) -> None:
    sim.play(
        {"fault": "unknown_for_ever", "match": "one"}, {"fault": "status_word", "match": "two", "word": "HM"}
    )
    one, two = sim.submit(prompt="one"), sim.submit(prompt="two")
    sim.rendered(one)
    sim.rendered(two)
    for _ in range(3):
        assert (sim.data(one)["status"], sim.data(one)["data"]) == ("UNKNOWN", None)
        assert sim.data(two)["status"] == "HM"
        assert sim.data(two)["data"]["songs"][0]["finished"] is False
    sim.play()
    assert sim.data(one)["status"] == "SUCCESS"


def test_a_status_can_go_backwards(simulate: Any) -> None:
    sim = simulate(median_seconds=100.0, sigma=0.0)
    sim.play({"fault": "backwards", "fetches": 2})
    job_id = sim.submit()
    assert sim.data(job_id)["status"] == "NOT_START"
    sim.age(job_id, 60)
    words = [sim.data(job_id)["status"] for _ in range(4)]
    assert words == ["IN_PROGRESS", "QUEUED", "QUEUED", "IN_PROGRESS"]


def test_success_can_come_before_the_songs(simulate: Any) -> None:
    sim = simulate(median_seconds=10.0, sigma=0.0)
    sim.play({"fault": "success_no_songs", "seconds": 20, **FOREVER})
    job_id = sim.submit()
    sim.rendered(job_id)
    sim.age(job_id, 15)
    assert (sim.data(job_id)["status"], sim.data(job_id)["data"]) == ("SUCCESS", {"songs": []})
    assert sim.query(job_id) == []
    sim.age(job_id, 31)
    assert len(sim.data(job_id)["data"]["songs"]) == 2


def test_songs_can_come_before_success(simulate: Any) -> None:
    sim = simulate(median_seconds=10.0, sigma=0.0)
    sim.play({"fault": "songs_before_success", "seconds": 20})
    job_id = sim.submit()
    sim.rendered(job_id)
    sim.age(job_id, 15)
    data = sim.data(job_id)
    assert (data["status"], data["finish_time"]) == ("IN_PROGRESS", 0)
    assert sim.download(data["data"]["songs"][0]).status_code == 200
    sim.age(job_id, 31)
    assert sim.data(job_id)["status"] == "SUCCESS"


def test_takes_can_fail(sim: Any) -> None:
    sim.play(
        {"fault": "one_take_fails", "match": "one", "error_type": "MODERATION"},
        {"fault": "all_takes_fail", "match": "all", "error_detail": "gone"},
        {"fault": "all_takes_fail", "match": "word", "word": "FAILURE"},
        {"fault": "one_take_only", "match": "only"},
        {"fault": "duplicate_song_ids", "match": "twin"},
    )
    good, bad = sim.songs(prompt="one")
    assert (good["error_id"], good["finished"]) == (None, True)
    assert bad["error_id"]
    assert (bad["error_type"], bad["song_path"], bad["finished"]) == ("MODERATION", None, False)
    assert [song["error_detail"] for song in sim.songs(prompt="all")] == ["gone", "gone"]
    job_id = sim.submit(prompt="word")
    assert len(sim.until(job_id, "FAILURE")["data"]["songs"]) == 2
    assert len(sim.songs(prompt="only")) == 1
    twins = sim.songs(prompt="twin")
    assert twins[0]["id"] == twins[1]["id"]
    assert twins[0]["song_path"] != twins[1]["song_path"]


@pytest.mark.parametrize("listed", [False, True])
def test_a_take_can_appear_late(simulate: Any, listed: bool) -> None:
    sim = simulate(median_seconds=10.0, sigma=0.0)
    sim.play({"fault": "late_take", "seconds": 20, "listed": listed})
    job_id = sim.submit()
    sim.rendered(job_id)
    sim.age(job_id, 11)
    expected = [True, False] if listed else [True]
    assert [song["finished"] for song in sim.query(job_id)] == expected
    assert [song["finished"] for song in sim.data(job_id)["data"]["songs"]] == expected
    sim.age(job_id, 30.5)
    assert [song["finished"] for song in sim.query(job_id)] == [True, True]


def test_generations_can_fail(simulate: Any) -> None:
    sim = simulate(median_seconds=10.0, sigma=0.0)
    sim.play(
        {"fault": "failure", "match": "plain", "fail_reason": "because"},
        {"fault": "failure_with_song", "match": "song"},
    )
    plain, kept = sim.submit(prompt="plain"), sim.submit(prompt="song")
    assert sim.data(plain)["status"] != "FAILURE"
    sim.rendered(plain)
    sim.rendered(kept)
    sim.age(kept, 12)
    data = sim.data(plain)
    assert (data["status"], data["fail_reason"]) == ("FAILURE", "because")
    assert [bool(song["error_id"]) for song in sim.query(plain)] == [True, True]
    data = sim.data(kept)
    assert data["status"] == "FAILURE"
    assert data["fail_reason"]
    good, bad = data["data"]["songs"]
    assert sim.download(good).status_code == 200
    assert bad["error_id"]


def test_a_failure_with_a_song_waits_for_the_song(simulate: Any) -> None:
    """Ten minutes of music take longer to render than a fetch."""
    sim = simulate(clip_seconds=30.0)
    sim.play({"fault": "failure_with_song"})
    job_id = sim.submit()
    assert sim.data(job_id)["status"] == "IN_PROGRESS"
    assert sim.until(job_id, "FAILURE")["data"]["songs"][0]["finished"]


def test_hostile_titles_are_used_in_turn_and_can_be_downloaded(sim: Any) -> None:
    from songflow.simulator.songs import HOSTILE_TITLES

    sim.play({"fault": "hostile_titles", **FOREVER})
    titles = []
    for _ in range(-(-len(HOSTILE_TITLES) // 2)):
        for song in sim.songs():
            titles.append(song["title"])
            assert sim.download(song).status_code == 200
    assert titles[: len(HOSTILE_TITLES)] == list(HOSTILE_TITLES)
    sim.play({"fault": "hostile_titles", "titles": ["a/b"]})
    assert {song["title"] for song in sim.songs()} == {"a/b"}


def test_a_fetch_of_an_unknown_id_uses_up_no_fault(sim: Any) -> None:
    sim.play({"fault": "one_take_only"})
    sim.fetch("nobody")
    assert len(sim.songs()) == 1
    assert len(sim.songs()) == 2
