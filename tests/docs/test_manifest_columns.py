"""docs/manifest.md lists every column of the manifest with its type, unit and meaning."""

from __future__ import annotations

from pathlib import Path

from songflow.catalog.columns import COLUMNS, DESCRIBED

PAGE = Path(__file__).parents[2] / "docs" / "manifest.md"


def test_the_page_has_a_row_for_each_column_in_order() -> None:
    """And none besides."""
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{name}` | {one.dtype} | {one.unit} | {one.meaning} |" for name, one in DESCRIBED.items()
    ]


def test_every_column_has_a_meaning_and_each_number_a_unit_if_it_has_one() -> None:
    """A request's own fields are described as in its form."""
    assert list(DESCRIBED) == list(COLUMNS)
    assert [name for name, one in DESCRIBED.items() if not one.meaning] == []
