"""A sweep may name its fields as the command line does: the same cells, and the same faults with their lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from songflow.accounts import access_from_environment
from songflow.errors import InvalidDocument
from songflow.sweeps.cells import cells_of
from songflow.sweeps.spec import parse_sweep

WIRE = """
prompt: a waltz
generation_quality: 0.5
grid: {model_type: [udio32-v1.5, udio130-v1.5]}
zip: {song_section_start: [0, 0.5], negative_prompt: [a, b]}
list: [{lyrics_placement_end: 0.9}]
sobol: {n: 2, fields: {bypass_prompt_optimization: [true, false]}}
constraints: ["song_section_start < 0.4"]
"""
SHORT = """
prompt: a waltz
quality: 0.5
grid: {model: [udio32-v1.5, udio130-v1.5]}
zip: {section_start: [0, 0.5], negative-prompt: [a, b]}
list: [{lyrics_end: 0.9}]
sobol: {n: 2, fields: {raw_prompt: [true, false]}}
constraints: ["section_start < 0.4"]
"""


def keys(text: str, folder: Path = Path()) -> list[str]:
    """The keys of a spec's cells."""
    return [cell.key for cell in cells_of(parse_sweep(text, folder, "it"), access_from_environment(), {})]


def test_both_names_make_the_same_cells() -> None:
    """In every part of a spec."""
    assert keys(SHORT) == keys(WIRE)
    assert len(keys(WIRE)) == 4


def test_heads_of_a_csv_may_be_short(tmp_path: Path) -> None:
    """As rows of fields."""
    (tmp_path / "rows.csv").write_text("model,prompt\nudio130-v1.5,a\n")
    (tmp_path / "wire.csv").write_text("model_type,prompt\nudio130-v1.5,a\n")
    assert keys("list: {csv: rows.csv}", tmp_path) == keys("list: {csv: wire.csv}", tmp_path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "prompt: x\ngrid:\n  modle: [a]",
            "line 3: grid.modle is not known here: did you mean mode or model?",
        ),
        ("prompt: x\ngrid:\n  model: [a]", "line 3: grid.model_type"),
        ("prompt: x\nqualty: 1", "line 2: qualty is not known here: did you mean quality?"),
        ("prompt: x\nmodel: udio32-v1.5\nmodel_type: udio32-v1.5", "line 2: model is not known here"),
        (
            "prompt: x\nmodel: udio32-v1.5\ngrid:\n  model_type: [udio130-v1.5]",
            "sets model_type again (also at line 2",
        ),
        ("prompt: x\nconstraints: ['modle == 1']", "did you mean mode or model?"),
    ],
)
def test_faults_name_the_line_and_a_word_of_either_vocabulary(text: str, fault: str) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidDocument) as error:
        keys(text)
    assert fault in str(error.value)
