"""The validator of documents: each check adds a fault with place and line, and returns a default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from songflow.documents.validation import Reader
from songflow.documents.yaml_file import read_document
from songflow.errors import InvalidDocument

TEXT = "a: 1\nb: {c: x}\n"


@pytest.mark.parametrize(
    ("check", "result", "fault"),
    [
        (
            lambda reader: reader.number(("a",), 3, 0, 2),
            None,
            "line 1: a is 3: allowed is a number from 0 to 2",
        ),
        (
            lambda reader: reader.number(("a",), True, 0, 2),
            None,
            "line 1: a is True: allowed is a number from 0",
        ),
        (
            lambda reader: reader.whole(("b", "n"), None, 1, 9),
            None,
            "line 2: b.n is missing: allowed is a whole",
        ),
        (lambda reader: reader.whole(("a",), 1.5, 1, 9), None, "line 1: a is 1.5: allowed is a whole number"),
        (
            lambda reader: reader.one_of(("b", "c"), "x", ("y", "z"), "y"),
            "y",
            "line 2: b.c is 'x': allowed are y, z",
        ),
        (lambda reader: reader.one_of(("b", "c"), None, ("y",)), "", "line 2: b.c is missing: allowed are y"),
        (lambda reader: reader.text(("a",), 1, "?"), "?", "line 1: a is 1: allowed is a text"),
        (lambda reader: reader.items(("a",), 1), [], "line 1: a must be a list"),
        (lambda reader: reader.mapping(("a",), 1, ("c",), "needs c"), {}, "line 1: a needs c"),
        (lambda reader: reader.mapping(("b",), {}, ("c",), "needs c"), {}, "line 2: b needs c"),
        (
            lambda reader: reader.known(("b",), {"sede": 1}, ("seed",)),
            {},
            "b.sede is not known here: did you mean seed?",
        ),
        (
            lambda reader: reader.known(("b",), {1: 1}, ("c", "d")),
            {},
            "b.1 is not known here (there are: c, d)",
        ),
    ],
)
def test_a_failed_check_adds_a_fault_and_returns_a_default(
    check: Callable[[Reader], Any], result: Any, fault: str
) -> None:
    reader = Reader(read_document(TEXT, "it"))
    assert check(reader) == result
    with pytest.raises(InvalidDocument) as caught:
        reader.refuse()
    assert len(caught.value.faults) == 1
    assert fault in caught.value.faults[0]


def test_valid_values_are_returned_without_faults() -> None:
    reader = Reader(read_document(TEXT, "it"))
    assert (reader.number(("a",), 1, 0, 2), reader.number(("a",), None, 0, 2)) == (1.0, None)
    assert reader.whole(("a",), 1, 0, 2) == 1
    assert (reader.one_of(("a",), "y", ("y",), "z"), reader.one_of(("a",), None, ("y",), "z")) == ("y", "z")
    assert (reader.text(("a",), "x"), reader.text(("a",), " ", "default")) == ("x", "default")
    assert reader.items(("a",), None) == []
    assert reader.mapping(("b",), {"c": 1}, ("c",), "needs c") == {"c": 1}
    reader.refuse()


def test_a_long_value_is_cut_to_one_line() -> None:
    reader = Reader(read_document(TEXT, "it"))
    reader.text(("a",), ["x\n"] * 1000)
    with pytest.raises(InvalidDocument) as caught:
        reader.refuse()
    assert len(caught.value.faults[0]) < 120
