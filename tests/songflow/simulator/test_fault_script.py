"""Fault scripts: validation, and which requests a rule applies to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from songflow.simulator import FaultRule, FaultScript
from songflow.simulator.faults import FAULTS, FaultPlayer


def _struck(script: FaultScript, count: int, seed: float = 0.0) -> list[str | None]:
    player = FaultPlayer(script, seed)
    rules = [player.for_request("submit", f"prompt {number}") for number in range(count)]
    return [rule.fault if rule else None for rule in rules]


def test_skip_and_times_limit_a_rule() -> None:
    script = FaultScript.of(
        {"fault": "no_id", "skip": 1, "times": 2}, {"fault": "huge", "skip": 1, "times": None}
    )
    assert _struck(script, 5) == [None, "no_id", "no_id", "huge", "huge"]
    assert _struck(FaultScript.of({"fault": "no_id"}), 2) == ["no_id", None]


def test_match_looks_for_part_of_the_prompt() -> None:
    script = FaultScript.of({"fault": "no_id", "match": "prompt 2", "times": None})
    assert _struck(script, 4) == [None, None, "no_id", None]


def test_probabilities_are_seeded() -> None:
    script = FaultScript.of({"fault": "no_id", "probability": 0.3, "times": None})
    struck = _struck(script, 400)
    assert struck == _struck(script, 400)
    assert struck != _struck(script, 400, seed=1.0)
    assert struck.count("no_id") == pytest.approx(120, abs=35)


def test_a_rule_that_applies_to_a_job_keeps_applying() -> None:
    player = FaultPlayer(FaultScript.of({"fault": "one_take_only", "times": 2, "skip": 1}), 0)
    order = ["a", "b", "a", "c", "d", "b"]
    assert [bool(player.for_job("fetch", "", job)) for job in order] == [
        False,
        True,
        False,
        True,
        False,
        True,
    ]
    assert [hit.visit for hit in player.for_job("fetch", "", "b")] == [3]


def test_a_jobs_probability_does_not_depend_on_the_order_of_requests() -> None:
    script = FaultScript.of({"fault": "failure", "probability": 0.5, "times": None})
    names = [f"job {number}" for number in range(40)]
    first, second = FaultPlayer(script, 0), FaultPlayer(script, 0)
    forward = {name: bool(first.for_job("fetch", "", name)) for name in names}
    backward = {name: bool(second.for_job("fetch", "", name)) for name in reversed(names)}
    assert forward == backward
    assert len(set(forward.values())) == 2


WRONG: list[dict[str, Any]] = [
    {"fault": "nothing"},
    {"fault": "nothing", "on": "submit"},
    {"fault": "status"},
    {"fault": "lost_answer", "on": "download"},
    {"fault": "lost_answer", "seconds": 1},
    {"fault": "lost_answer", "tiems": 1},
    {"fault": "lost_answer", "probability": 2},
    {"fault": "odd_file", "form": "number"},
    {"fault": "encoded", "on": "fetch", "coding": "br"},
]


@pytest.mark.parametrize("rule", WRONG, ids=json.dumps)
def test_typos_in_a_rule_are_refused(rule: dict[str, Any], sim: Any) -> None:
    with pytest.raises(ValidationError):
        FaultRule.model_validate(rule)
    answer = sim.http.put("/_simulator/faults", json=[rule])
    assert answer.status_code == 422
    assert answer.json()["error"]


def test_a_faults_stage_follows_from_its_name() -> None:
    assert FaultRule(fault="lost_answer").stage == "submit"
    assert FaultRule(fault="dead").stage == "download"
    names = {(stage, name) for stage, kinds in FAULTS.items() for name in kinds}
    assert all(FaultRule(fault=name, on=stage).stage == stage for stage, name in names)


def test_scripts_are_read_from_files(tmp_path: Path) -> None:
    bare, named = tmp_path / "bare.json", tmp_path / "named.json"
    rules = [{"fault": "truncated", "bytes": 5}]
    bare.write_text(json.dumps(rules))
    named.write_text(json.dumps({"rules": rules}))
    assert (
        FaultScript.load(bare)
        == FaultScript.load(named)
        == FaultScript.of(FaultRule(fault="truncated", size=5))
    )
    with pytest.raises(OSError, match="missing"):
        FaultScript.load(tmp_path / "missing.json")


def test_replacing_the_script_resets_its_counts(sim: Any) -> None:
    rule = {"fault": "no_id"}
    for _ in range(2):
        sim.play(rule)
        assert [sim.post().json()["data"] == "" for _ in range(2)] == [True, False]
