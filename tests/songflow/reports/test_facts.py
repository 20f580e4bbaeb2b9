"""The facts of a report: outcomes as numbers on the manifest's rows, and the fields that varied."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from songflow.errors import InputError
from songflow.reports.facts import MOST_LEVELS, OUTCOMES, facts_of, varied_fields


def column(facts: pd.DataFrame, name: str) -> list[float | None]:
    return [None if math.isnan(value) else round(value, 3) for value in facts[name]]


def test_a_songs_measures_are_on_its_row(manifest) -> None:
    """Those of a song that is not stored are left out; the crest factor is peak minus loudness."""
    measured = {"tempo": 98.5, "centroid_hz": 2000.0}
    frame = manifest(
        {"rating": 4.0, "seconds": 31.5, **measured},
        {"song_state": "failed", "path": None, "peak": None, **measured},
    )
    facts = facts_of(frame)
    assert column(facts, "rating") == [4, None]
    assert column(facts, "seconds") == [31.5, None]
    assert column(facts, "crest_db") == [pytest.approx(-6.021 + 14, abs=0.001), None]
    assert column(facts, "tempo") == [98.5, None]
    assert column(facts, "centroid_hz") == [2000, None]
    assert all(facts[outcome.name].dtype == "float64" for outcome in OUTCOMES)


def test_a_generations_outcomes_are_on_one_row(manifest) -> None:
    """So that two takes count once: waiting, price, and the share of takes without a song."""
    frame = manifest({"price": 2.0}, {"song_state": "failed", "price": 2.0}, {})
    facts = facts_of(frame)
    assert column(facts, "wait_seconds") == [50, None, 50]
    assert column(facts, "cost") == [2, None, 1]
    assert column(facts, "failed") == [0.5, None, 0]


def test_unfinished_generations_do_not_count_as_failed(manifest) -> None:
    """Unknown, running and announced are open; refused has failed and cost nothing."""
    frame = manifest(
        {"key": "a", "state": "unknown", "song_state": None, "billed": "maybe"},
        {"key": "b", "state": "running", "song_state": None},
        {"key": "c", "song_state": "announced"},
        {"key": "d", "state": "refused", "song_state": None, "billed": "no"},
    )
    facts = facts_of(frame)
    assert column(facts, "failed") == [None, None, None, 1]
    assert column(facts, "cost") == [1, 1, 1, 0]
    assert column(facts, "wait_seconds") == [None, None, 50, None]


def test_the_newest_submission_gives_the_outcome_and_all_count_as_cost(manifest) -> None:
    """A refusal that was sent again is not a failure; a failure that was paid again costs twice."""
    frame = manifest(
        {"key": "a", "submission": 0, "state": "refused", "song_state": None, "billed": "no"},
        {"key": "a", "submission": 1, "state": "failed", "song_state": None, "billed": "maybe"},
        {"key": "a", "submission": 2},
        {"key": "a", "submission": 2},
    )
    facts = facts_of(frame)
    assert column(facts, "failed") == [None, None, 0, None]
    assert column(facts, "cost") == [None, None, 2, None]


def test_the_frame_is_not_changed(manifest) -> None:
    """Facts are a copy."""
    frame = manifest({"song_state": "failed"})
    before = frame.copy(deep=True)
    facts_of(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_fields_that_varied_are_found(manifest) -> None:
    """Numbers as numbers; texts, switches and missing values as groups, the most frequent first."""
    frame = manifest(
        {"request.prompt_strength": 0.25, "request.prompt": "b", "request.lyrics_placement_start": 0.1},
        {"request.prompt": "a", "request.bypass_prompt_optimization": True},
        {"request.prompt": "a", "gateway": "cometapi"},
        {"request.negative_prompt": ""},
    )
    found = {field.name: field for field in varied_fields(facts_of(frame))}
    assert list(found) == [
        "prompt", "negative_prompt", "bypass_prompt_optimization", "lyrics_placement_start", "prompt_strength",
        "gateway",
    ]  # fmt: skip
    assert found["prompt_strength"].is_number
    assert found["prompt"].levels == ("a", "a waltz", "b")
    assert found["negative_prompt"].levels == ("(none)",)
    assert found["bypass_prompt_optimization"].levels == ("(none)", "True")
    assert found["gateway"].values(frame).tolist() == ["simulator", "simulator", "cometapi", "simulator"]
    assert [str(value) for value in found["prompt_strength"].values(frame)] == ["0.25", "0.5", "0.5", "0.5"]


def test_a_field_that_a_model_does_not_have_does_not_vary(manifest) -> None:
    """Where a sweep compares two families, each is without the fields of the other."""
    chirp = {"request.model_type": "chirp-auk", "request.prompt_strength": None, "request.seed": None}
    udio = {"request.model_type": "udio32-v1.5", "request.title": None}
    titled = {**chirp, "request.title": "Roof"}
    found = varied_fields(facts_of(manifest(udio, {**titled, "request.prompt": "a cat"}, titled)))
    assert [field.name for field in found] == ["prompt", "model_type"]


def test_rare_texts_are_counted_but_not_drawn(manifest) -> None:
    """Seeds that only distinguish generations are not a field."""
    rows = [{"request.prompt": f"p{number}", "request.seed": number} for number in range(MOST_LEVELS + 3)]
    frame = manifest(*rows, {"request.prompt": "p14", "request.seed": 0})
    facts = facts_of(frame)
    (prompt,) = varied_fields(facts)
    assert (prompt.levels[0], len(prompt.levels), prompt.hidden) == ("p14", MOST_LEVELS, 3)
    assert prompt.values(facts).notna().sum() == MOST_LEVELS + 1
    (seed,) = varied_fields(facts, ["seed"])
    assert (seed.is_number, seed.hidden) == (False, 3)


def test_named_fields_are_kept_and_unknown_ones_refused(manifest) -> None:
    """Including a named field that did not vary; every unknown name is listed."""
    facts = facts_of(manifest({}, {}))
    assert [field.name for field in varied_fields(facts, ["clarity_strength", "mode", "mode"])] == [
        "clarity_strength",
        "mode",
    ]
    with pytest.raises(InputError, match="'tempo', 'x': no such field") as caught:
        varied_fields(facts, ["tempo", "mode", "x"])
    assert "prompt_strength" in (caught.value.next or "")
