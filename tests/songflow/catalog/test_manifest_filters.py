"""Conditions on the manifest are data, and never run as code."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from songflow.catalog.manifest import COLUMNS, empty_manifest, filter_manifest
from songflow.errors import InputError


@pytest.fixture
def frame() -> pd.DataFrame:
    """Three songs and a failure."""
    values: dict[str, list[object]] = {
        "key": ["a", "b", "c", "d"],
        "title": ["Rain", 'it\'s "@x" `y` __z__', "ten (10)", None],
        "seconds": [30.0, 32.81, 130.0, None],
        "take": [0, 1, 0, None],
        "state": ["succeeded", "succeeded", "succeeded", "failed"],
        "request.seed": [7, -1, 8, -1],
        "request.prompt": ["rock", "pop", "rock, pop", "x"],
        "request.bypass_prompt_optimization": [True, False, None, False],
        "tags": ["mandopop, female vocalist", "pop", "Pop (90s),rock", None],
        "intended_at": [f"2024-0{month}-01T00:00:00Z" for month in (1, 2, 3)] + ["2024-03-01T00:30:00Z"],
        "settled_at": ["2024-01-01T00:01:00Z", "2024-02-01T00:01:00Z", None, None],
    }
    absent: list[object] = [None] * 4
    return pd.DataFrame(
        {name: pd.Series(values.get(name, absent), dtype=dtype) for name, dtype in COLUMNS.items()}
    )


@pytest.mark.parametrize(
    ("condition", "keys"),
    [
        ("seconds > 30", "bc"),
        ("seconds >= 30 and title == 'Rain'", "a"),
        ('title == "Rain" or state == "failed"', "ad"),
        ("30 < seconds < 100", "b"),
        ("not state == 'failed'", "abc"),
        ("(seconds > 100) | (`request.seed` == 7)", "ac"),
        ("seconds > 30 & seconds < 100", "b"),
        ("`request.prompt` == 'rock'", "a"),
        ("`request.seed` in [7, 8]", "ac"),
        ("state not in ('succeeded', 'running')", "d"),
        ("seconds * 2 - 1 > 60", "bc"),
        ("seconds / 2 + take % 2 // 1 > 15", "bc"),
        ("-seconds < -100", "c"),
        ("`request.bypass_prompt_optimization`", "a"),
        ("~`request.bypass_prompt_optimization`", "bd"),
        ("seconds == seconds", "abc"),
        ("title == 'ten (10)'", "c"),
        ("title == 'it\\'s \"@x\" `y` __z__'", "b"),
        ("  seconds > 30  ", "bc"),
        ("seconds > 1000", ""),
        ("intended_at > '2024-01-01'", "bcd"),
        ("intended_at >= '2024-03-01 00:15'", "d"),
        ("intended_at >= '2024-03-01T01:15+01:00'", "d"),
        ("'2024-01' <= intended_at <= '2024-02-01T00:00:00Z'", "ab"),
        ("intended_at < '2024-02' or settled_at > '2024-02-01'", "ab"),
        ("intended_at in ['2024-01-01', '20240301']", "ac"),
        ("intended_at not in ('2024-01-01',)", "bcd"),
        ("settled_at > intended_at and settled_at < '2025'", "ab"),
        ("not settled_at > '2024-01-15'", "acd"),
        ("settled_at != '2024-01-01T00:01'", "bcd"),
        ("(settled_at > '2024') & (seconds < 31)", "a"),
        ("'mandopop' in tags", "a"),
        ("'pop' in tags", "b"),
        ("'rock' in tags or 'female vocalist' in tags", "ac"),
        ("'Pop (90s)' in tags and seconds > 100", "c"),
        ("'pop' not in tags", "acd"),
        ("not 'pop' in tags", "acd"),
        ("title != 'Rain'", "bcd"),
        ("title not in ('Rain', 'ten (10)')", "bd"),
        ("seconds != 30", "bcd"),
        ("not seconds > 31", "ad"),
        ("rating != 4 and not rating > 3", "abcd"),
        ("rating < 4 or rating == 4 or rating > 4", ""),
        ("decision != 'discard'", "abcd"),
        ("'(' in title or 'ai' in title", "ac"),
        ("'fail' in state", "d"),
        ("'pop' in `request.prompt`", "bc"),
    ],
)
def test_a_condition_selects_rows(frame: pd.DataFrame, condition: str, keys: str) -> None:
    """A missing value differs from every other; dtypes stay."""
    kept = filter_manifest(frame, condition)
    assert "".join(kept["key"]) == keys
    assert {name: str(dtype) for name, dtype in kept.dtypes.items()} == dict(COLUMNS)


def test_a_condition_on_an_empty_manifest_selects_nothing() -> None:
    """Without an error."""
    assert len(filter_manifest(empty_manifest(), "seconds > 30 and `request.seed` == 7")) == 0


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("seconds >", "cannot be read"),
        ("intended_at > 'yesterday'", "compares a time with 'yesterday': write a time as a text, such as"),
        ("intended_at > '2024-13-01'", "compares a time with '2024-13-01'"),
        ("intended_at > '01.02.2024'", "compares a time with '01.02.2024'"),
        ("'2024' < intended_at < 2025", "compares a time with 2025"),
        ("intended_at in ['2024', 1]", "compares a time with 1"),
        ("intended_at > seconds", "compares a time with something else"),
        ("intended_at > settled_at + 1", "compares a time with something else"),
        ("intended_at > ['2024']", "compares times in a way that has no meaning"),
        ("intended_at in '2024'", "compares times in a way that has no meaning"),
        ("['2024'] in intended_at", "compares times in a way that has no meaning"),
        ("intended_at is settled_at", "compares times in a way that has no meaning"),
        ("", "cannot be read"),
        ("seconds > 30\nTrue", "cannot be read"),
        ("seconds = 30", "cannot be read"),
        ("`seconds > 30", "cannot be read"),
        ("(" * 500 + ")" * 500, "cannot be read"),
        ("9" * 5000 + " > seconds", "cannot be read"),
        ("melody > 3", "names 'melody', which is not a column"),
        ("`request.tempo` > 3", "cannot be read"),
        ("title.seed > 3", "is not allowed"),
        ("title > 3", "cannot be evaluated"),
        ("state > 'a'", "cannot be evaluated"),
        ("seconds", "is not a condition"),
        ("seconds + 1", "is not a condition"),
        ("True", "is not a condition"),
        ("1", "is not a condition"),
        ("'Rain'", "is not a condition"),
    ],
)
def test_an_invalid_condition_is_refused(frame: pd.DataFrame, condition: str, words: str) -> None:
    """With the reason, an example, and the columns."""
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        filter_manifest(frame, condition)
    assert caught.value.exit_code == 2
    assert caught.value.next is not None
    assert "write it like: seconds > 30" in caught.value.next
    assert "request.prompt_strength" in caught.value.next


@pytest.mark.parametrize(
    "condition",
    [
        "@__import__('os').system('touch pwned') == 0",
        "@x > 3",
        "__import__('os').getcwd() == ''",
        "__pd_eval_local_x > 3",
        "title.__class__ == 1",
        "title.str.len() > 3",
        "seconds.max() > 3",
        "().__class__.__bases__[0].__subclasses__()",
        "open('pwned', 'w')",
        "seconds > max(1, 2)",
        "key[0] == 'a'",
        "[x for x in (1, 2)]",
        "(lambda: 1)() == 1",
        "seconds if True else take",
        "(y := 3) > seconds",
        "f'{title.__class__}' == title",
        "{1: 2} == seconds",
        "{1} == seconds",
        "9**9**9**9 > seconds",
        "1 << 10**10 > seconds",
        "seconds @ take > 3",
        "*title",
        "index >= 0",
        "sin(seconds) > 0",
        '"\\"" @x "\\""',
        "'\\'' + title.__class__ + '\\''",
        "`seconds` > 3 and `__class__`",
        "`seconds`.__class__ == 3",
        "'`' + title.__class__ + '`' == 'x'",
        "b'x' == title.x",
        "seconds > 3; import os",
        "yield seconds",
        "await seconds",
    ],
)
def test_code_is_refused_and_not_run(
    frame: pd.DataFrame, condition: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No call, attribute, subscript, local or global name in any disguise."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"is not allowed|is not a column|cannot be read"):
        filter_manifest(frame, condition)
    assert list(tmp_path.iterdir()) == []
