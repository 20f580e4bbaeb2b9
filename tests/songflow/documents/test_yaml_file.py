"""YAML documents are read with line numbers, and all faults are reported at once."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import pytest
import yaml

from songflow.documents.scalars import read_scalar
from songflow.documents.yaml_file import Fault, read_document, read_file, refuse_faults, write_document
from songflow.errors import InputError, InvalidDocument

TEXT = """\
prompt: a waltz
steps:
  - name: intro
    overrides: {seed: 3}
  - name: outro
"""


def test_data_and_lines_are_read():
    document = read_document(TEXT, "waltz.yaml")
    assert document.data["steps"][0] == {"name": "intro", "overrides": {"seed": 3}}
    assert document.line_of(("prompt",)) == 1
    assert document.line_of(("steps",)) == 2
    assert document.line_of(("steps", 0, "overrides", "seed")) == 4
    assert document.line_of(("steps", 1)) == 5


def test_a_missing_place_has_the_line_of_its_enclosing_part():
    document = read_document(TEXT, "waltz.yaml")
    assert document.line_of(("steps", 1, "take")) == 5
    assert document.line_of(("nowhere",)) == 1


def test_faults_are_reported_in_the_order_of_the_text():
    document = read_document(TEXT, "waltz.yaml")
    faults = [document.fault(("steps", 1, "take"), "is required"), document.fault(("prompt",), "is dull")]
    with pytest.raises(InvalidDocument) as caught:
        refuse_faults(document.name, faults)
    assert caught.value.faults == ("line 1: prompt is dull", "line 5: steps.1.take is required")
    assert "waltz.yaml has 2 faults: line 1" in str(caught.value)
    assert "nothing was sent" in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_faults_survive_pickling():
    error = InvalidDocument("wrong", faults=("line 1: x",), next="mend it")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.faults) == (str(error), error.faults)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2", "line 1: is not valid YAML"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "line 4: b.c is a duplicate key"),
        ("a: &a [*a]", "refers to itself"),
        ("a: !!python/object/apply:os.system [echo]", "is not valid YAML"),
        ("---\na: 1\n---\nb: 2\n", "is not valid YAML"),
    ],
)
def test_invalid_yaml_is_refused(text, message):
    with pytest.raises(InvalidDocument, match=message):
        read_document(text, "it")


def test_an_empty_text_has_no_data():
    assert read_document("", "it").data is None


def test_files_that_cannot_be_read_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"cannot be read: No such file"):
        read_file(tmp_path / "none.yaml")
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: \xff")
    with pytest.raises(InputError, match="not UTF-8"):
        read_file(latin)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (5 * 1024 * 1024))
    with pytest.raises(InputError, match="larger than 4 MiB"):
        read_file(large)


DIFFERENT = [
    ("010", "8 or 10"),
    ("007", "7 or the text '007'"),
    ("09", "the text '09' or 9"),
    ("-012", "-10 or -12"),
    ("0o17", "the text '0o17' or 15"),
    ("0b11", "3 or the text '0b11'"),
    ("12:30", "750 or the text '12:30'"),
    ("1:30.5", "90.5 or the text '1:30.5'"),
    ("1_000", "1000 or the text '1_000'"),
    ("1_0.5", "10.5 or the text '1_0.5'"),
    ("1e3", "the text '1e3' or 1000.0"),
    ("2.5e3", "the text '2.5e3' or 2500.0"),
    ("-.5", "the text '-.5' or -0.5"),
    ("yes", "true or the text 'yes'"),
    ("Off", "false or the text 'Off'"),
    ("2024-01-31", "a date or the text '2024-01-31'"),
]


@pytest.mark.parametrize(("value", "readings"), DIFFERENT)
def test_what_yaml_readers_read_differently_is_refused_with_its_line(value, readings):
    """As a value, in a list and as a key; in quotes it is a text, and quoted by us it is one again."""
    text = f"name: x\ngrid:\n  seed: [7,\n    {value}]\nvalue: {value}\n? {value}\n: 1\n"
    with pytest.raises(InvalidDocument) as caught:
        read_document(text, "it")
    message = f"is {value}, which YAML readers take for {readings}: write it plainly, or in quotes for a text"
    places = {4: "grid.seed.1", 5: "value", 6: value}
    assert list(caught.value.faults) == [f"line {line}: {place} {message}" for line, place in places.items()]
    assert read_document(f"a: '{value}'", "it").data == {"a": value}
    assert yaml.safe_load(write_document([value, {value: 1}])) == [value, {value: 1}]
    assert read_document(write_document([value, {value: 1}]), "it").data == [value, {value: 1}]
    with pytest.raises(ValueError, match=re.escape(readings)):
        read_scalar(value)


def test_what_all_readers_read_alike_is_allowed():
    text = "[0, -1, +2, 0x1F, 0.5, .5, 1., 00.5, 1.5e+3, .inf, true, NULL, ~, , a 010, 1-2, y, 12:60:x, 'no', \"1_0\"]"
    data = [0, -1, 2, 31, 0.5, 0.5, 1.0, 0.5, 1500.0, float("inf"), True, None, None]
    found = read_document(text.replace("~, ,", "~,"), "it").data
    assert found == [*data, "a 010", "1-2", "y", "12:60:x", "no", "1_0"]
    assert [read_scalar(text) for text in ("7", " -1 ", "0.5", "true", "la: la", "[1]", "")] == [
        7, -1, 0.5, True, "la: la", "[1]", None,
    ]  # fmt: skip
    assert read_document("base: &a {x: 1}\nb: {<<: *a, y: 2}", "it").data["b"] == {"x": 1, "y": 2}


@pytest.mark.parametrize("layout", [{}, {"indent": 2}, {"indent": "\t"}, {"separators": (",", ":")}], ids=str)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_is_yaml(layout, ascii_only):
    """As json.dump writes it: emoji as pairs of escapes, tabs, tiny numbers; lines are known."""
    data = {
        "prompt": "a 🎻 waltz\u2028\x85", "grid": {"seed": [1, 2**62], "prompt_strength": [1e-07, 0.5, 1e22]},
        "list": [{"negative_prompt": "010"}, {"lyrics": "a/b\t\"c\" yes"}], "name": None, "ok": True,
    }  # fmt: skip
    text = json.dumps(data, ensure_ascii=ascii_only, **layout)
    for written in (text, f"\ufeff\n{text}\r\n"):
        document = read_document(written, "it")
        assert document.data == data
        if ascii_only and "indent" in layout:
            assert (
                document.line_of(("list", 1, "lyrics"))
                == written[: written.index('"lyrics"')].count("\n") + 1
            )
    assert read_document(f"a: {json.dumps('🎻')}\nb: {json.dumps('🎻 é')}", "it").data == {
        "a": "🎻",
        "b": "🎻 é",
    }


def test_faults_of_json_are_found():
    """A duplicate key has its line, or none where YAML cannot read the text; what is no JSON is read as YAML."""
    with pytest.raises(InvalidDocument, match=r"line 2: a\.b is a duplicate key"):
        read_document('{"a": {"b": 1,\n"b": 2}}', "it")
    with pytest.raises(InvalidDocument, match=r"it has 1 fault: b is a duplicate key"):
        read_document('{"a": "\x7f", "c": {"b": 1,\n"b": 2}}', "it")
    assert read_document('{"a": "\x7f"}', "it").data == {"a": "\x7f"}
    assert read_document("{a: 1, b: [x]}", "it").data == {"a": 1, "b": ["x"]}
    with pytest.raises(InvalidDocument, match=r"line 1: a is 010"):
        read_document("{a: 010}", "it")
    with pytest.raises(InvalidDocument, match="not valid YAML"):
        read_document('{"a": NaN, "b": "', "it")
    twice: list[Fault] = []
    assert read_document('{"a": 1, "a": 2}', "it", twice=twice).data == {"a": 2}
    assert [str(fault) for fault in twice] == ["line 1: a is a duplicate key"]
