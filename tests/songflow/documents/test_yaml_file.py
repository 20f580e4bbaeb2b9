"""YAML documents are read with line numbers, and all faults are reported at once."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from songflow.documents.yaml_file import read_document, read_file, refuse_faults
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
