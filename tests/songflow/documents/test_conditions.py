"""Conditions over single values are data, and never run as code."""

from __future__ import annotations

from typing import Any

import pytest

from songflow.documents.conditions import BadExpression, read_condition

VALUES: dict[str, Any] = {"strength": 0.5, "seed": 7, "prompt": "rock, pop", "end": None, "raw": True}


def holds(text: str) -> bool:
    names = {name: name for name in VALUES}
    return read_condition(text, names, called="field")(VALUES)


@pytest.mark.parametrize(
    ("text", "so"),
    [
        ("strength > 0.4", True),
        ("0.5 <= strength < 0.6 and seed == 7", True),
        ("strength > 1 or not seed == 8", True),
        ("strength + 0.25 * 2 <= 1", True),
        ("-strength < +0.1 and seed // 2 == 3 and seed % 2 == 1 and seed / 2 == 3.5 and seed - 1 > 5", True),
        ("prompt in ['rock, pop', 'jazz']", True),
        ("prompt not in ('rock, pop', 'jazz')", False),
        ("'pop' in prompt", True),
        ("prompt == 'jazz'", False),
        ("raw", True),
        ("not raw", False),
        ("~raw", False),
        ("raw & (seed > 3)", True),
        ("end > 0.1", False),
        ("end <= 0.1", False),
        ("end + 1 > 0", False),
        ("not end", True),
        ("end or raw", True),
        ("seed != 7", False),
        ("`seed` == 7", True),
    ],
)
def test_a_condition_is_evaluated_for_values(text: str, so: bool) -> None:
    """Missing values compare as false."""
    assert holds(text) is so


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("strength >", "cannot be read"),
        ("", "cannot be read"),
        ("tempo > 3", "names 'tempo', which is not a field"),
        ("open('x')", "is not allowed"),
        ("prompt.__class__ == 1", "is not allowed"),
        ("9 ** 9 ** 9 > seed", "is not allowed"),
        ("seed is None", "is not allowed"),
        ("prompt * 1000000000 == 'x'", "arithmetic is for numbers"),
        ("prompt % seed == 'x'", "arithmetic is for numbers"),
        ("prompt > 3", "cannot be evaluated"),
        ("-prompt == 'x'", "cannot be evaluated"),
        ("seed / 0 > 1", "cannot be evaluated"),
        ("seed and raw", "are for conditions"),
        ("strength + seed", "is not a condition"),
        ("end", "is not a condition"),
        ("not " * 5000 + "raw", "cannot be read"),
    ],
)
def test_an_invalid_condition_is_refused(text: str, words: str) -> None:
    """With the reason, as the end of a sentence."""
    with pytest.raises(BadExpression, match=words):
        holds(text)
