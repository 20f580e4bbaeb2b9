"""The simulator as a server of ACE-Step: the documented example bodies, and answers in the documented form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NO_TASK = "550e8400-e29b-41d4-a716-446655440000"

# The examples of docs/en/API.md (4.4, Usage Examples).
DOCUMENTED: list[dict[str, Any]] = [
    {"prompt": "upbeat pop song", "lyrics": "Hello world", "inference_steps": 8},
    {"prompt": "upbeat pop song", "lyrics": "Hello world", "thinking": True}
    | {"lm_temperature": 0.85, "lm_cfg_scale": 2.5},
    {"sample_query": "a soft Bengali love song for a quiet evening", "thinking": True},
    {
        "prompt": "pop rock",
        "lyrics": "[Verse 1]\nWalking down the street...",
        "use_format": True,
        "thinking": True,
    },
    {"prompt": "electronic dance music", "model": "acestep-v15-turbo", "thinking": True},
    {
        "prompt": "jazz piano trio",
        "timesteps": "0.97,0.76,0.615,0.5,0.395,0.28,0.18,0.085,0",
        "thinking": True,
    },
]


def example(name: str) -> Any:
    return json.loads((EXAMPLES / f"ace_step.{name}.json").read_text(encoding="utf-8"))


def form_of(value: Any) -> Any:
    """The names and types of a value, without its contents."""
    if isinstance(value, dict):
        return {name: form_of(one) for name, one in value.items()}
    return [form_of(value[0])] if isinstance(value, list) else type(value).__name__


def queried(sim: Any, *ids: str) -> Any:
    return sim.http.post("/query_result", json={"task_id_list": list(ids)}).json()


def test_every_documented_body_is_taken_and_costs_nothing(sim: Any) -> None:
    """The answer has the documented form."""
    for body in DOCUMENTED:
        answer = sim.http.post("/release_task", json=body).json()
        assert form_of(answer) == form_of(example("submit.answer"))
    assert [(entry.body, entry.price) for entry in sim.server.bill()] == [(body, 0) for body in DOCUMENTED]


def test_a_query_answers_for_several_tasks_with_results_in_a_text(sim: Any) -> None:
    """Given as a list or as JSON of one; a task that it does not know has an empty result."""
    body = DOCUMENTED[0] | {"batch_size": 1}
    task = sim.http.post("/release_task", json=body).json()["data"]["task_id"]
    sim.rendered(task)
    found, unknown = queried(sim, task, NO_TASK)["data"]
    assert unknown == {"task_id": NO_TASK, "result": "[]", "status": 0}
    (documented,) = example("query.success")["data"]
    (song,) = json.loads(found["result"])
    assert documented.keys() <= found.keys()
    assert json.loads(documented["result"])[0].keys() <= song.keys()
    assert (found["status"], song["status"], song["prompt"]) == (1, 1, "upbeat pop song")
    as_text = sim.http.post("/query_result", json={"task_id_list": json.dumps([task])}).json()
    assert as_text["data"][0]["result"] == found["result"]
    part = sim.http.get(song["file"], headers={"Range": "bytes=0-99"})
    assert (part.status_code, len(part.content)) == (206, 100)
    assert sim.http.get("/v1/audio", params={"path": "/etc/passwd"}).status_code == 404


def test_a_key_is_wanted_for_requests_and_files(simulate: Any) -> None:
    """The error is a `detail`."""
    sim = simulate(accept_keys=["good"])
    for answer in (
        sim.http.post("/release_task", json=DOCUMENTED[0]),
        sim.http.post("/query_result", json={"task_id_list": [NO_TASK]}),
        sim.http.get("/v1/audio", params={"path": "/tmp/acestep/api_audio/one.mp3"}),
    ):
        assert answer.status_code == 401
        assert list(answer.json()) == ["detail"]
    assert sim.server.bill() == []


@pytest.mark.parametrize(
    "changed",
    [
        {"bpm": 301},
        {"audio_duration": 9},
        {"inference_steps": 21},
        {"batch_size": 9},
        {"model": "acestep-v15"},
        {"task_type": "repaint"},
        {"src_audio_path": "/tmp/acestep/api_audio/one.mp3"},
        {"task_type": "repaint", "src_audio_path": "/tmp/acestep/api_audio/one.mp3", "repainting_end": 5.0},
        {"title": "Rain"},
        {"lyrics": "x" * 4097},
    ],
)
def test_what_is_not_documented_is_refused_and_not_billed(sim: Any, changed: dict[str, Any]) -> None:
    """HTTP 400, so that a mistake of a client is found here."""
    answer = sim.http.post("/release_task", json=DOCUMENTED[0] | changed)
    assert (answer.status_code, list(answer.json())) == (400, ["detail"])
    assert sim.server.bill() == []
