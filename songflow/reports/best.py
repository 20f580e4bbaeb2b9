"""The best cells of a report: the generations that were rated highest, with their songs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from songflow.ledger.states import SongState

if TYPE_CHECKING:
    import pandas

    from songflow.reports.report import Report

__all__ = ["MOST_BEST", "BestCell", "best_cells"]

MOST_BEST = 6
"""Maximum number of generations that are shown as the best."""


@dataclass(frozen=True, slots=True)
class BestCell:
    """One generation.

    Attributes:
        rating: The mean of its rated takes, 0..5.
        fields: The values of the fields that varied.
        songs: The manifest's rows of its stored takes, the best rated first.
    """

    key: str
    rating: float
    rated: int
    fields: tuple[tuple[str, Any], ...]
    songs: tuple[dict[str, Any], ...]


def best_cells(report: Report) -> list[BestCell]:
    """The generations with rated and stored takes, the best first; at most `MOST_BEST`."""
    facts = report.facts
    kept = facts[(facts["song_state"] == SongState.STORED.value) & facts["path"].notna()]
    means = kept.groupby("key", sort=False)["rating"].agg(["mean", "count"])
    means = means[means["count"] > 0].sort_values(["mean", "count"], ascending=False, kind="stable")
    return [_cell(report, kept, str(key)) for key in means.index[:MOST_BEST]]


def _cell(report: Report, kept: pandas.DataFrame, key: str) -> BestCell:
    rows = kept[kept["key"] == key].sort_values("rating", ascending=False, na_position="last", kind="stable")
    ratings = rows["rating"].dropna()
    fields = tuple((field.name, field.values(rows).iloc[0]) for field in report.fields)
    songs = tuple({str(name): value for name, value in row.items()} for row in rows.to_dict("records"))
    return BestCell(key, float(ratings.mean()), len(ratings), fields, songs)
