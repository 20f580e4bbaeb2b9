"""CSV tables: every reader finds the same rows and texts, and no spreadsheet runs a text."""

from __future__ import annotations

import csv
import io

import pandas as pd
import pytest

from songflow.documents.csv_table import csv_bytes, guarded_text

TEXTS = [
    "plain", "two\nlines", "a\rb", "a\r\nb", '"quoted", with a comma', "\r", "\n", " ", "歌", "a\u2028b", "'quoted'",
    "missing",
]  # fmt: skip


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = len(TEXTS) + 1
    return pd.DataFrame(
        {
            "title": pd.Series([*TEXTS, None], dtype="string"),
            "state": pd.Series(["stored"] * (rows - 1) + [None], dtype="category"),
            "seconds": pd.Series([-1.5, 30.0] + [None] * (rows - 2), dtype="Float64"),
            "seed": pd.Series([-1, 2**62] + [None] * (rows - 2), dtype="Int64"),
            "plain": [float(number) for number in range(rows)],
            "bypass": pd.Series([True, False] + [None] * (rows - 2), dtype="boolean"),
            "at": pd.Series(
                pd.to_datetime(["2026-07-01T10:00:00.5Z", *[None] * (rows - 1)], utc=True)
            ).astype("datetime64[us, UTC]"),
            'a "name", quoted': ["x"] * rows,
        }
    )


def test_every_reader_finds_the_same_rows(frame: pd.DataFrame) -> None:
    """Python's csv, also of a file with universal line ends, and pandas; a lone carriage return ends no row."""
    data = csv_bytes(frame, guard=False)
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert [row["title"] for row in rows] == [*TEXTS, ""]
    assert list(rows[0]) == list(frame.columns)
    assert len(list(csv.reader(io.TextIOWrapper(io.BytesIO(data), "utf-8")))) == len(frame) + 1
    again = pd.read_csv(
        io.BytesIO(data), dtype=dict.fromkeys(("title", "state"), "string"), keep_default_na=False
    )
    assert again["title"].tolist() == [*TEXTS, ""]


def test_numbers_times_and_missing_values_are_as_pandas_writes_them(frame: pd.DataFrame) -> None:
    """Unquoted; a text is quoted even where it needs none."""
    ours = csv_bytes(frame).decode().split("\n")
    assert ours[1] == '"plain","stored",-1.5,-1,0.0,True,2026-07-01 10:00:00.500+00:00,"x"'
    typed = frame[["seconds", "seed", "plain", "bypass", "at"]]
    mine, theirs = csv_bytes(typed).decode(), typed.to_csv(index=False, lineterminator="\n")
    assert mine.split("\n")[1:] == theirs.split("\n")[1:]
    names = ",".join(frame.columns[:-1])
    assert csv_bytes(frame[:0]).decode() == f'{names},"a ""name"", quoted"\n'


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("http://x")', "+1", "-la", "@SUM(A1)", "\t=1", "\r=1", "\n+1", "  =1", "\ufeff=1", "\uff1d1",
        "\uff201", "'=1",
    ],
    ids=ascii,
)  # fmt: skip
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(text: str) -> None:
    """In every text, categories and lyrics alike; numbers below zero are numbers, and the guard can be left out."""
    assert guarded_text(text) == f"'{text}"
    frame = pd.DataFrame({"title": [text], "state": pd.Series([text], dtype="category"), "db": [-3.5]})
    row = next(csv.reader(io.StringIO(csv_bytes(frame).decode().split("\n", 1)[1], newline="")))
    assert row == [f"'{text}", f"'{text}", "-3.5"]
    assert f"'{text}" not in csv_bytes(frame, guard=False).decode() or text == "'=1"


@pytest.mark.parametrize("text", ["", "a=b", "1+1", "la - la", "'quoted'", "e@mail", "#1", "(x)"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert guarded_text(text) == text
