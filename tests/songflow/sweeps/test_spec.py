"""Specs of sweeps: valid ones are read, and every fault of an invalid one is reported with its line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from songflow.accounts import Access, access_from_environment
from songflow.errors import InputError, InvalidDocument
from songflow.sweeps.cells import cells_of
from songflow.sweeps.spec import load_sweep, name_of, parse_sweep

BAD = """\
promt: a waltz
seed: [1, 2]
grid:
  prompt_strength: [0.1, 2, "x"]
  generation_quality: {from: 0.25, to: 1}
  tempo: [3]
zip:
  lyrics: [la, lo]
  negative_prompt: [a, b, c]
list:
  - {seed: 3}
  - 7
sobol: {n: 0, points: 3, fields: {clarity_strength: {from: 0.5, to: 0.1}, lyrics: {files: "none/*.txt"}}}
replicates: many
constraints: ["prompt_strength >", "open(1)", "tempo > 3", 4]
"""

WORDS = [
    "line 1: promt is not known here: did you mean prompt?",
    "line 1: prompt is required",
    "line 2: seed is a list: several values belong under grid",
    "line 4: grid.prompt_strength.1 is 2: allowed is a number from 0 to 1",
    "line 4: grid.prompt_strength.2 is 'x'",
    "line 5: grid.generation_quality cannot be a range",
    "line 6: grid.tempo is not known here",
    "line 7: zip needs as many values of each field (lyrics has 2, negative_prompt has 3)",
    "line 10: list sets seed again (also at line 2)",
    "line 12: list.1 is not a row",
    "line 13: sobol.points is not known",
    "line 13: sobol.n is 0",
    "line 13: sobol.fields.lyrics sets lyrics again (also at line 8)",
    "line 13: sobol.fields.clarity_strength goes from 0.5 to 0.1",
    "line 14: replicates is 'many'",
    "line 15: constraints.0 (prompt_strength >) cannot be read",
    "line 15: constraints.1 (open(1)) is not allowed",
    "line 15: constraints.2 (tempo > 3) names 'tempo', which is not a field",
    "line 15: constraints.3 (4) is not a text",
]


@pytest.fixture
def account() -> Access:
    """The built-in simulator."""
    return access_from_environment()


def values(data: dict[str, Any], name: str, folder: Path = Path()) -> list[Any]:
    """The values of one field over a sweep's cells."""
    cells = cells_of(parse_sweep({"prompt": "a waltz", **data}, folder), access_from_environment())
    return [getattr(cell.request, name) for cell in cells]


def test_every_fault_is_reported_with_its_line(tmp_path: Path) -> None:
    """All at once, and in the order of the text."""
    (tmp_path / "bad.yaml").write_text(BAD)
    with pytest.raises(InvalidDocument, match="nothing was sent") as caught:
        load_sweep(tmp_path / "bad.yaml")
    found = caught.value.faults
    assert [next((word for word in WORDS if fault.startswith(word)), fault) for fault in found] == WORDS


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([1], "is a mapping"),
        ({"prompt": None}, "prompt has no value"),
        ({"prompt": "a", "grid": {}}, "grid needs fields"),
        ({"prompt": "a", "grid": {"seed": []}}, "grid.seed has no values"),
        ({"prompt": "a", "grid": {"seed": 3}}, "grid.seed is not a list of values"),
        ({"prompt": "a", "grid": {"seed": {"from": 1}}}, "needs a number for `to`"),
        (
            {"prompt": "a", "grid": {"prompt_strength": {"from": 0, "to": 1}}},
            "whole number from 2 for `steps`",
        ),
        ({"prompt": "a", "grid": {"prompt_strength": {"from": 0, "to": 2, "steps": 3}}}, "to is 2: allowed"),
        ({"prompt": "a", "grid": {"prompt_strength": {"from": 0, "till": 1}}}, "has 'till'"),
        (
            {"prompt": "a", "grid": {"seed": {"from": 0, "to": 100_000}}},
            "has 100001 values: 100000 is the most",
        ),
        (
            {"prompt": "a", "grid": {"prompt_strength": {"from": 0, "to": 1, "steps": 100_001}}},
            "has 100001 values",
        ),
        (
            {"prompt": "a", "grid": {"seed": {"from": 1, "to": 9, "steps": 1}}},
            "whole number from 2 for `steps`",
        ),
        ({"prompt": "a", "list": []}, "list needs rows"),
        ({"prompt": "a", "list": [{"tempo": 3}]}, "list.0.tempo is not known here"),
        ({"prompt": "a", "list": [{"seed": -2}]}, "list.0.seed is -2"),
        ({"prompt": "a", "lhs": 3}, "lhs needs n, seed and fields"),
        ({"prompt": "a", "random": {"n": 2, "seed": -1, "fields": {"seed": [1]}}}, "random.seed is -1"),
        ({"prompt": "a", "random": {"n": 2, "fields": {"seed": ["x"]}}}, "random.fields.seed.0 is 'x'"),
        ({"prompt": "a", "name": 3}, "name is 3: allowed is a text"),
        ({"prompt": "a", "constraints": "seed > 1"}, "constraints must be a list"),
        ({"prompt": "a", "place": "middle"}, "place is 'middle': allowed are intro, front, back, outro"),
        ({"prompt": "a", "place": "intro", "mode": "precede"}, "mode is set by `place` already"),
        ({"prompt": "a", "grid": {"seed": {"from": 1, "to": 1000}}, "replicates": 101}, "makes 101000 cells"),
    ],
    ids=str,
)
def test_plain_data_is_checked_like_a_file(data: Any, words: str, tmp_path: Path) -> None:
    """As in a flow's parameters."""
    with pytest.raises(InvalidDocument) as caught:
        parse_sweep(data, tmp_path) if isinstance(data, dict) else parse_sweep(str(data), tmp_path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"grid": {"lyrics_type": ["user", "generate"]}}, "lyrics is required with lyrics_type user"),
        ({"mode": "precede"}, "source_song_id is required"),
        ({"constraints": ["seed > 1"]}, "leave no cell"),
        ({"constraints": ["prompt > 1"]}, "constraints.0 (prompt > 1) cannot be evaluated"),
        ({"constraints": ["seed"]}, "is not a condition"),
    ],
    ids=str,
)
def test_combinations_are_validated(account: Access, data: dict[str, Any], words: str) -> None:
    """The fault names the first cell that is not valid."""
    with pytest.raises(InvalidDocument) as caught:
        cells_of(parse_sweep({"prompt": "a waltz", **data}, Path()), account)
    assert words in str(caught.value)
    assert len(caught.value.faults) == 1


def test_parts_multiply(account: Access) -> None:
    """Grid axes, zip, list, samples and replicates; each cell has the fields that differ."""
    sweep = parse_sweep(
        {
            "prompt": "a waltz",
            "grid": {"prompt_strength": [0.25, 0.5], "model_type": ["udio32-v1.5", "udio130-v1.5"]},
            "zip": {"lyrics": ["la", "lo"], "negative_prompt": ["drums", "bells"]},
            "list": [{"seed": 1}, {"seed": 2, "generation_quality": 1}],
            "random": {"n": 3, "seed": 7, "fields": {"clarity_strength": {"from": 0, "to": 1}}},
            "replicates": 2,
        },
        Path(),
    )
    cells = cells_of(sweep, account)
    assert len(cells) == sweep.combinations == 2 * 2 * 2 * 2 * 3 * 2
    assert len({cell.key for cell in cells}) == len(cells)
    assert {(cell.request.lyrics, cell.request.negative_prompt) for cell in cells} == {
        ("la", "drums"),
        ("lo", "bells"),
    }
    assert cells[0].fields == {
        "prompt_strength": 0.25, "model_type": "udio32-v1.5", "lyrics": "la", "negative_prompt": "drums",
        "seed": 1, "generation_quality": 0.75, "clarity_strength": 0.323833, "replicate": 1,
    }  # fmt: skip


def test_constraints_exclude_cells() -> None:
    strengths = values(
        {"grid": {"prompt_strength": [0.1, 0.5, 0.9]}, "constraints": ["prompt_strength <= 0.5"]},
        "prompt_strength",
    )
    assert strengths == [0.1, 0.5]


def test_ranges_are_evenly_spaced_including_both_ends() -> None:
    tempo = {
        "model": "acestep-v15-turbo",
        "lyrics": "la",
        "grid": {"bpm": {"from": 80, "to": 85, "steps": 3}},
    }
    assert values(tempo, "bpm") == [80, 82, 85]
    assert values({"grid": {"prompt_strength": {"from": 0, "to": 1, "steps": 4}}}, "prompt_strength") == [
        0,
        0.333333,
        0.666667,
        1,
    ]
    assert values({"grid": {"seed": {"from": 3, "to": 6}}}, "seed") == [3, 4, 5, 6]


@pytest.mark.parametrize("name", ["song_section_start", "song_section_end", "lyrics_placement_end"])
def test_a_section_is_left_to_the_model(tmp_path: Path, name: str) -> None:
    """null and auto in YAML, auto in a CSV, where an empty cell is the default; for extensions as well."""
    (tmp_path / "rows.csv").write_text(f"{name}\nauto\n0.95\n")
    for written in (
        f"{name}: null",
        f"{name}: auto",
        f"grid: {{{name}: [null, 0.95]}}",
        "list: {csv: rows.csv}",
    ):
        for more in ("prompt: a\n", "source_song_id: s\nprompt: a\nmode: continuation\n"):
            (tmp_path / "sweep.yaml").write_text(f"{more}{written}\n")
            cells = cells_of(load_sweep(tmp_path / "sweep.yaml"), access_from_environment())
            assert [getattr(cell.request, name) for cell in cells] == [None, 0.95][: len(cells)]
            assert name not in cells[0].request.body()["gen_params"]


class TestFiles:
    def test_lines_and_whole_files(self, tmp_path: Path) -> None:
        """Relative to the spec, in any working directory."""
        (tmp_path / "words").mkdir()
        (tmp_path / "words" / "a.txt").write_text("la\nla\n")
        (tmp_path / "words" / "b.txt").write_text("lo\n")
        (tmp_path / "prompts.txt").write_text("a waltz\n\na tango\n")
        (tmp_path / "not.txt").write_text("drums")
        (tmp_path / "sweep.yaml").write_text(
            "negative_prompt: {file: not.txt}\ngrid: {prompt: {lines: prompts.txt}, lyrics: {files: words/*.txt}}\n"
        )
        cells = cells_of(load_sweep(tmp_path / "sweep.yaml"), access_from_environment())
        assert [(cell.request.prompt, cell.request.lyrics) for cell in cells] == [
            ("a waltz", "la\nla\n"), ("a waltz", "lo\n"), ("a tango", "la\nla\n"), ("a tango", "lo\n"),
        ]  # fmt: skip
        assert {cell.request.negative_prompt for cell in cells} == {"drums"}

    def test_csv_rows_and_columns(self, tmp_path: Path) -> None:
        """Numbers become numbers, texts stay texts, an empty cell has the default, an empty line is no row."""
        (tmp_path / "rows.csv").write_text(
            '\ufeffprompt,seed,prompt_strength,bypass_prompt_optimization\n"a waltz, slow",1,0.25,true\n123,,,\n'
        )
        cells = cells_of(parse_sweep({"list": {"csv": "rows.csv"}}, tmp_path), access_from_environment())
        found = [(one.request.prompt, one.request.seed, one.request.prompt_strength) for one in cells]
        assert found == [("a waltz, slow", 1, 0.25), ("123", -1, 0.5)]
        assert [cell.request.bypass_prompt_optimization for cell in cells] == [True, False]
        (tmp_path / "numbers.csv").write_text("seed,prompt_strength\n7.0,1e-1\n8.,.5\n007,+0\n,\n")
        numbers = {"list": {"csv": "numbers.csv"}}
        assert values(numbers, "seed", tmp_path) == [7, 8, 7]
        assert values(numbers, "prompt_strength", tmp_path) == [0.1, 0.5, 0]
        (tmp_path / "plain.csv").write_text("words,n\nla,1\nlo,2\n")
        assert values({"grid": {"lyrics": {"csv": "plain.csv", "column": "words"}}}, "lyrics", tmp_path) == [
            "la",
            "lo",
        ]

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            ({"list": {"csv": "none.csv"}}, "none.csv cannot be read: No such file"),
            ({"list": {"csv": "tempo.csv"}}, "has the column 'tempo', which is not a field"),
            ({"list": {"csv": "wrong.csv"}}, "row 2 of wrong.csv: seed is 'x'"),
            ({"list": {"csv": "python.csv"}}, "row 1 of python.csv: seed is '1_000'"),
            ({"list": {"csv": "python.csv"}}, "row 2 of python.csv: seed is '٣'"),
            ({"list": {"csv": "python.csv"}}, "row 3 of python.csv: seed is 7.5"),
            ({"list": {"csv": "twice.csv"}}, "twice.csv has the column 'seed' twice"),
            ({"grid": {"seed": {"csv": "twice.csv"}}}, "twice.csv has the column 'seed' twice"),
            ({"list": {"csv": "long.csv"}}, "long.csv:2 has more cells than columns"),
            ({"list": {"csv": "quote.csv"}}, "cannot be read as CSV"),
            ({"list": {"csv": "empty.csv"}}, "has no rows"),
            ({"grid": {"seed": {"csv": "tempo.csv"}}}, "has no column 'seed' (there are: tempo)"),
            ({"grid": {"lyrics": {"lines": "latin.txt"}}}, "it is not UTF-8 text"),
            ({"lyrics": {"file": "mark.txt"}}, "lyrics mark.txt is blank"),
            ({"grid": {"lyrics": {"files": "mark.*"}}}, "mark.txt is blank"),
            ({"grid": {"lyrics": {"lines": "mark.txt"}}}, "grid.lyrics has no values"),
            ({"grid": {"lyrics": {"files": "/etc/*"}}}, "is not a file pattern"),
            ({"lyrics": {"file": "gone.txt"}}, "lyrics gone.txt cannot be read"),
        ],
        ids=str,
    )
    def test_a_file_that_cannot_be_used_is_a_fault(
        self, tmp_path: Path, data: dict[str, Any], words: str
    ) -> None:
        for name, text in (
            ("tempo.csv", "tempo\n3\n"), ("wrong.csv", "seed\n1\nx\n"), ("long.csv", "negative_prompt\na, b\n"),
            ("quote.csv", 'negative_prompt\n"a\n'), ("empty.csv", "seed\n"), ("python.csv", "seed\n1_000\n٣\n7.5\n"),
            ("twice.csv", "seed, seed\n1,2\n"),
        ):  # fmt: skip
            (tmp_path / name).write_text(text)
        (tmp_path / "latin.txt").write_bytes(b"\xe4\n")
        (tmp_path / "mark.txt").write_text("\ufeff\n", encoding="utf-8")
        with pytest.raises(InvalidDocument) as caught:
            parse_sweep({"prompt": "a waltz", **data}, tmp_path)
        assert words in str(caught.value)

    def test_a_spec_that_cannot_be_read_is_an_input_error(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="cannot be read: No such file"):
            load_sweep(tmp_path / "none.yaml")


class TestSamples:
    @pytest.mark.parametrize("kind", ["random", "sobol", "lhs"])
    def test_the_same_seed_draws_the_same_points_within_their_ranges(self, kind: str) -> None:
        spec = {"n": 8, "seed": 3, "fields": {
            "prompt_strength": {"from": 0.2, "to": 0.8}, "seed": {"from": 10, "to": 19}, "generation_quality": [0.5, 1],
        }}  # fmt: skip
        drawn = [values({kind: spec}, name) for name in spec["fields"]]
        assert drawn == [values({kind: spec}, name) for name in spec["fields"]]
        assert drawn != [values({kind: {**spec, "seed": 4}}, name) for name in spec["fields"]]
        strengths, seeds, qualities = drawn
        assert all(0.2 <= one <= 0.8 for one in strengths)
        assert all(isinstance(one, int) and 10 <= one <= 19 for one in seeds)
        assert set(qualities) == {0.5, 1}

    @pytest.mark.parametrize("kind", ["random", "sobol"])
    def test_more_points_keep_the_earlier_ones(self, kind: str) -> None:
        """So a sweep that grows pays only for the new cells."""
        spec = {"seed": 3, "fields": {"prompt_strength": {"from": 0, "to": 1}}}
        few, many = (values({kind: {**spec, "n": count}}, "prompt_strength") for count in (4, 9))
        assert many[:4] == few

    def test_a_latin_hypercube_fills_every_stratum(self) -> None:
        spec = {"n": 10, "fields": {"prompt_strength": {"from": 0, "to": 1}}}
        assert sorted(int(one * 10) for one in values({"lhs": spec}, "prompt_strength")) == list(range(10))

    def test_scipy_is_imported_only_for_samplers_that_need_it(self) -> None:
        """Importing it takes a second."""
        import subprocess

        code = (
            "import sys\nfrom pathlib import Path\nfrom songflow.sweeps.spec import parse_sweep\n"
            "from songflow.sweeps.cells import cells_of\nfrom songflow.accounts import access_from_environment\n"
            "fields = {'prompt_strength': {'from': 0, 'to': 1}}\n"
            "sweep = parse_sweep({'prompt': 'a', 'random': {'n': 4, 'fields': fields}}, Path())\n"
            "cells_of(sweep, access_from_environment())\n"
            "sys.exit(bool({'scipy', 'numpy', 'pandas', 'prefect'} & sys.modules.keys()))"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_sweep_without_a_name_has_that_of_its_form_or_file(tmp_path: Path) -> None:
    """Whole, whatever is in it."""
    (tmp_path / "a.v1.yaml").write_text("prompt: a waltz\n")
    text = "prompt: a waltz"
    assert load_sweep(tmp_path / "a.v1.yaml").name == "a.v1"
    assert parse_sweep(str(tmp_path / "a.v1.yaml"), tmp_path, "form").name == "a.v1"
    for name in ("Autumn no. 5", "either/or"):
        assert (
            parse_sweep(text, tmp_path, name).name
            == parse_sweep({"prompt": "a"}, tmp_path, name).name
            == name
        )
        assert name_of(text, name) == name_of({"prompt": "a"}, name) == name
    assert parse_sweep(text + "\nname: its own", tmp_path, "form").name == "its own"


def test_a_text_may_be_the_path_of_a_file(tmp_path: Path) -> None:
    """As a run has it whose spec is too long for Prefect; files that it names are still those of the given folder."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "not.txt").write_text("drums")
    spec = tmp_path / "kept" / "spec.yaml"
    spec.write_text('{"prompt": "🎻", "negative_prompt": {"file": "not.txt"}}')
    sweep = parse_sweep(str(spec), tmp_path)
    assert sweep.fixed == {"prompt": "🎻", "negative_prompt": "drums"}
    assert parse_sweep("prompt: a.yaml", tmp_path).fixed == {"prompt": "a.yaml"}
    with pytest.raises(InputError, match=r"gone\.yaml cannot be read: No such file"):
        parse_sweep(str(tmp_path / "gone.yaml"), tmp_path)


def test_columns_of_a_file_with_gaps_are_refused_and_empty_lines_are_none(tmp_path: Path) -> None:
    """Two columns with a gap each would be out of step: `folk` would be sung with the words of another row."""
    (tmp_path / "t.csv").write_text("style,words\njazz,one\nfolk,\n,three\nrock,four\n,\n")
    column = {name: {"csv": "t.csv", "column": name} for name in ("style", "words")}
    spec = {"lyrics_type": "user", "zip": {"prompt": column["style"], "lyrics": column["words"]}}
    with pytest.raises(InvalidDocument, match="no value for style in row 3"):
        parse_sweep(spec, tmp_path)
    (tmp_path / "t.csv").write_text("style,words\njazz,one\nfolk,two\n,\n")
    assert len(cells_of(parse_sweep(spec, tmp_path), access_from_environment())) == 2


def test_more_steps_than_whole_numbers_are_refused(tmp_path: Path) -> None:
    """Some would be made twice."""
    spec = {
        "prompt": "x",
        "model_type": "acestep-v15-turbo",
        "grid": {"bpm": {"from": 100, "to": 102, "steps": 5}},
    }
    with pytest.raises(InvalidDocument, match="5 steps for 3 whole numbers"):
        parse_sweep(spec, tmp_path)
