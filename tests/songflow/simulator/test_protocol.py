"""Answers without faults, in every dialect, and refusals."""

from __future__ import annotations

from typing import Any

import pytest

from songflow.simulator.jobs import Job
from songflow.simulator.settings import SimulatorSettings
from songflow.simulator.timing import generation_seconds, moment

SUBMITS = [
    "/udio/submit/music",
    "/udio/generate-proxy",
    "/shape-a/submit",
    "/shape-b/submit",
    "/shape-c/submit",
    "/shape-d/submit",
]


@pytest.mark.parametrize("path", SUBMITS)
def test_every_submit_answers_with_the_id_that_is_on_the_bill(sim: Any, path: str) -> None:
    answer = sim.post(path).json()
    assert answer["code"] == "success"
    assert [entry.generation_id for entry in sim.server.bill()] == [answer["data"]]


def test_envelope_b_has_songs_only_at_the_end(simulate: Any) -> None:
    sim = simulate(median_seconds=100.0, sigma=0.0)
    job_id = sim.submit()
    sim.rendered(job_id)
    seen = []
    for seconds in (0, 4, 10, 60, 101):
        sim.age(job_id, seconds)
        data = sim.data(job_id)
        seen.append((data["status"], data["progress"], data["data"] is None, data["finish_time"] > 0))
    assert [row[0] for row in seen] == ["NOT_START", "SUBMITTED", "QUEUED", "IN_PROGRESS", "SUCCESS"]
    assert [row[1] for row in seen] == ["0%", "0%", "0%", "45%", "100%"]
    assert [row[2:] for row in seen] == [(True, False)] * 4 + [(False, True)]


def test_the_bare_shape_lists_unfinished_songs_as_plain_text(simulate: Any) -> None:
    sim = simulate(median_seconds=100.0, sigma=0.0)
    job_id = sim.submit()
    sim.rendered(job_id)
    sim.age(job_id, 1)
    assert sim.query(job_id) == []
    sim.age(job_id, 50)
    assert [(song["finished"], song["song_path"]) for song in sim.query(job_id)] == [(False, None)] * 2
    sim.age(job_id, 100)
    assert all(song["finished"] and song["song_path"] for song in sim.query(job_id))
    assert (
        sim.http.get("/udio/query", params={"ids": job_id}).headers["content-type"].startswith("text/plain")
    )


def test_a_query_takes_generation_and_song_ids_and_lists_each_song_once(sim: Any) -> None:
    first, second = sim.songs()
    other = sim.generate(prompt="sun")["task_id"]
    assert [song["id"] for song in sim.query(second["id"])] == [second["id"]]
    both = sim.query(second["id"], first["generation_id"], "no-such-id")
    assert [song["id"] for song in both] == [second["id"], first["id"]]
    assert len(sim.query(first["generation_id"], other)) == 4


def test_the_four_shapes_list_the_same_songs(sim: Any) -> None:
    data = sim.generate()
    ids = [song["id"] for song in data["data"]["songs"]]

    def get(shape: str) -> Any:
        return sim.http.get(f"/shape-{shape}/fetch/{data['task_id']}").json()

    assert [song["id"] for song in get("a")["songs"]] == ids
    assert [song["id"] for song in get("b")["data"]["data"]["songs"]] == ids
    assert [song["id"] for song in get("c")["data"]["songs"]] == ids
    wrapped = get("d")
    assert wrapped["code"] == 200
    assert [song["id"] for song in wrapped["data"]["data"][0]["songs"]] == ids


def test_shapes_c_and_d_report_a_running_job(simulate: Any) -> None:
    sim = simulate(median_seconds=100.0, sigma=0.0)
    job_id = sim.submit()
    sim.age(job_id, 50)
    assert sim.http.get(f"/shape-c/fetch/{job_id}").json()["data"]["songs"] == []
    running = sim.http.get(f"/shape-d/fetch/{job_id}").json()["data"]
    assert (running["status"], running["data"]) == ("PROCESSING", [])


def test_a_song_has_the_documented_fields_and_says_that_it_is_simulated(sim: Any) -> None:
    song = sim.songs(prompt="sad piano ballad")[0]
    documented = (
        "id tags liked likes plays title artist lyrics prompt user_id disliked duration error_id finished "
        "song_path user_tags created_at error_code error_type image_path video_path attribution description "
        "publishable artist_image error_detail published_at generation_id replaced_tags original_song_path "
        "audio_conditioning_type"
    )
    assert set(song) == set(documented.split())
    assert song["title"].endswith("(simulated)")
    assert {"simulation", "sad", "piano", "ballad", "vocals"} <= set(song["tags"])
    assert song["lyrics"].startswith("[Verse]")
    assert song["audio_conditioning_type"] is None


def test_created_at_is_before_submit_time(simulate: Any) -> None:
    from datetime import datetime

    sim = simulate(time_skew_seconds=3600.0)
    data = sim.generate()
    entry = sim.server.bill()[0]
    assert data["submit_time"] == int(entry.submitted_at + 3600)
    created = datetime.fromisoformat(data["data"]["songs"][0]["created_at"]).timestamp()
    assert created < entry.submitted_at


def test_a_song_has_the_users_lyrics_or_none(sim: Any) -> None:
    assert sim.songs(lyrics="la la", lyrics_type="user")[0]["lyrics"] == "la la"
    instrumental = sim.songs(lyrics_type="instrumental")[0]
    assert instrumental["lyrics"] == ""
    assert "instrumental" in instrumental["tags"]


@pytest.mark.parametrize("takes", [1, 3])
def test_the_number_of_takes_is_a_setting(simulate: Any, takes: int) -> None:
    songs = simulate(takes=takes).songs()
    assert len({song["id"] for song in songs}) == takes


def test_unknown_ids_are_refused(sim: Any) -> None:
    answer = sim.fetch("nobody")
    assert answer.status_code == 400
    assert answer.json()["code"] == "task_not_exist"
    assert sim.query("nobody") == []
    assert sim.query() == []


def test_an_unknown_path_is_refused_in_openai_style(sim: Any) -> None:
    answer = sim.http.get("/udio/nothing")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "invalid_request_error")
    assert answer.headers["x-oneapi-request-id"] in answer.json()["error"]["message"]
    assert sim.http.get("/udio/submit/music").status_code == 405


BAD = {
    "no prompt": {"prompt": None},
    "blank prompt": {"prompt": "  "},
    "model": {"model_type": "udio99"},
    "strength as text": {"prompt_strength": "0.5"},
    "strength too high": {"clarity_strength": 1.5},
    "quality": {"generation_quality": 0.6},
    "seed": {"seed": 1.5},
    "bool": {"bypass_prompt_optimization": "no"},
    "unknown field": {"tempo": 120},
    "unknown mode": {"config": {"mode": "remix"}},
    "no source": {"config": {"mode": "precede"}},
    "context": {"config": {"mode": "regular", "context_length": 131}},
    "unknown song": {"config": {"mode": "precede", "source": {"source_type": "song", "song_id": "nobody"}}},
}


@pytest.mark.parametrize("params", BAD.values(), ids=BAD.keys())
def test_a_bad_body_is_refused_and_not_billed(sim: Any, params: dict[str, Any]) -> None:
    answer = sim.post(**params)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_request"
    assert answer.json()["data"] is None
    assert sim.posts() == 0


def test_a_body_that_is_no_json_object_is_refused(sim: Any) -> None:
    assert sim.http.post("/udio/submit/music", json=[1]).json()["code"] == "invalid_request"
    malformed = sim.http.post("/udio/submit/music", content=b"{")
    assert (malformed.status_code, malformed.json()["error"]["code"]) == (500, "invalid_request")


def test_a_source_that_is_not_finished_cannot_be_extended(simulate: Any) -> None:
    sim = simulate(median_seconds=100.0, sigma=0.0)
    job_id = sim.submit()
    song_id = sim.server.gateway.store.job(job_id).song_ids[0]
    config = {"mode": "continuation", "source": {"source_type": "song", "song_id": song_id}}
    assert sim.post(config=config).status_code == 400
    sim.age(job_id, 200)
    assert sim.post(config=config).status_code == 200


def test_keys_can_be_refused(simulate: Any) -> None:
    sim = simulate(accept_keys={"good", "poor"}, spent_keys={"poor"})

    def post(authorization: str | None) -> Any:
        headers = {"Authorization": authorization} if authorization else {}
        return sim.http.post("/udio/submit/music", json=sim.body(), headers=headers)

    for wrong in (None, "Bearer bad", "good", "Bearer good "[:-1] + "x", "bearer good"):
        answer = post(wrong)
        assert answer.status_code == 401
        assert "error" in answer.json()
    assert (post("Bearer poor").status_code, post("Bearer poor").json()["code"]) == (403, "quota_not_enough")
    job_id = post("Bearer good").json()["data"]
    assert sim.fetch(job_id).status_code == 401
    for key in ("good", "poor"):
        assert (
            sim.http.get(f"/udio/fetch/{job_id}", headers={"Authorization": f"Bearer {key}"}).status_code
            == 200
        )
    fingerprint = sim.server.bill()[0].key_fingerprint
    assert fingerprint
    assert "good" not in fingerprint


def test_a_spent_key_can_be_refused_as_an_expired_one(simulate: Any) -> None:
    sim = simulate(spent_keys={"poor"}, spent_status=401)
    headers = {"Authorization": "Bearer poor"}
    assert sim.http.post("/udio/submit/music", json=sim.body(), headers=headers).status_code == 401


def test_the_cover_is_a_picture(sim: Any) -> None:
    song = sim.songs()[0]
    picture = sim.http.get(song["image_path"])
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    assert sim.http.get("/images/nothing/1/public").status_code == 404


def _job(number: int = 0) -> Job:
    return Job(f"id-{number}", 1000.0, "b", {"gen_params": {"prompt": "x"}}, 1, "", 2, 100)


def test_generation_times_are_log_normal_and_fixed_per_id() -> None:
    settings = SimulatorSettings(median_seconds=54, sigma=0.3)
    times = sorted(generation_seconds(settings, f"id-{number}") for number in range(999))
    assert times[499] == pytest.approx(54, rel=0.06)
    assert times[839] / times[499] == pytest.approx(1.35, rel=0.08)  # one sigma
    assert generation_seconds(settings, "id-1") == generation_seconds(settings, "id-1")
    assert generation_seconds(SimulatorSettings(seed=1), "id-1") != generation_seconds(settings, "id-1")


def test_speed_divides_time_and_ticks_hide_progress() -> None:
    fast = SimulatorSettings(speed=10, median_seconds=50, sigma=0)
    assert moment(fast, _job(), 1004.9).status == "IN_PROGRESS"
    assert moment(fast, _job(), 1005.0).due
    ticking = SimulatorSettings(median_seconds=52, sigma=0, tick_seconds=15)
    assert not moment(ticking, _job(), 1064.9).due  # it ends at 1052, but the clock's next tick is at 1065
    assert moment(ticking, _job(), 1065.0).due
