"""What a report is about: the manifest's rows with every outcome as a number, and which request fields varied."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from songflow.audio.features import Measures
from songflow.errors import InputError
from songflow.ledger.states import RULES, SongState, State

if TYPE_CHECKING:
    import pandas

__all__ = ["MOST_LEVELS", "OUTCOMES", "Outcome", "VariedField", "facts_of", "varied_fields"]

MOST_LEVELS = 12
"""How many values of a text a person can compare in one plot."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One figure that a request's fields may have an effect on.

    Attributes:
        name: Its column in the facts.
        title: For people, with `unit` behind it.
        is_share: A share of takes, 0..1.
    """

    name: str
    title: str
    unit: str
    is_share: bool = False

    @property
    def label(self) -> str:
        """Title and unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


OUTCOMES: tuple[Outcome, ...] = (
    Outcome("rating", "rating", "0 to 5"),
    Outcome("seconds", "length", "s"),
    Outcome("rms_db", "loudness", "dBFS"),
    Outcome("crest_db", "crest factor", "dB"),
    Outcome("tempo", "tempo", "beats/min"),
    Outcome("centroid_hz", "brightness", "Hz"),
    Outcome("failed", "failures", "share of takes", is_share=True),
    Outcome("wait_seconds", "submit to finish", "s"),
    Outcome("cost", "cost", "units"),
)
"""All outcomes: the first six are a song's, the others stand on one row of each generation."""


@dataclass(frozen=True, slots=True)
class VariedField:
    """A field that is not the same in all rows.

    Attributes:
        name: Its wire name.
        column: Its column in the manifest.
        is_number: Plotted along an axis of numbers, else in groups.
        levels: The values of a field in groups as texts, the commonest first; at most `MOST_LEVELS`.
        hidden: How many more values there are.
    """

    name: str
    column: str
    is_number: bool
    levels: tuple[str, ...] = ()
    hidden: int = 0

    def values(self, facts: pandas.DataFrame) -> pandas.Series[Any]:
        """Its value on each row: floats for a number, texts in `levels` (else missing) for a group."""
        column = facts[self.column]
        if self.is_number:
            return column.astype("Float64").astype("float64")
        texts = column.map(_text, na_action=None).astype("string")
        return texts.where(texts.isin(self.levels))


_NONE = "(none)"
# Besides the request's own fields: what else a sweep can vary.
_FURTHER_FIELDS: dict[str, str] = {
    "mode": "mode",
    "source_song_id": "parent_song_id",
    "gateway": "gateway",
}
# What may still become a song has not failed.
_OPEN = frozenset(str(state) for state in State if RULES[state].unsettled or state is State.INTENDED)


def facts_of(frame: pandas.DataFrame, measures: Mapping[str, Measures] | None = None) -> pandas.DataFrame:
    """The manifest's rows with a float column for each of `OUTCOMES`; nothing is read but the frame.

    What belongs to a generation as a whole stands on one of its rows only, the first of its newest submission:
    `failed`, the share of its takes without a song; `wait_seconds`, from the POST to its end; `cost`, the prices of
    all its submissions that were, or perhaps were, billed.

    Args:
        measures: Of the files, by sha256 (`songflow.audio.features`).
    """
    facts = frame.reset_index(drop=True).copy()
    newest = facts["submission"] == facts.groupby("key")["submission"].transform("max")
    one_row = newest & ~facts.duplicated(["key", "submission"])
    stored = facts["song_state"] == SongState.STORED.value
    for name in ("seconds", "rms_db"):
        facts[name] = _floats(facts[name]).where(stored)
    facts["rating"] = _floats(facts["rating"]) if "rating" in facts else math.nan
    facts["crest_db"] = (_decibels(_floats(facts["peak"])) - facts["rms_db"]).where(stored)
    known = measures or {}
    found = [known.get(sha256) for sha256 in facts["sha256"].astype(object)]
    facts["tempo"] = _numbers(None if one is None else one.tempo for one in found)
    facts["centroid_hz"] = _numbers(None if one is None else one.centroid_hz for one in found)
    facts["failed"] = _failed(facts, stored).where(one_row)
    waited = (facts["settled_at"] - facts["sending_at"]).dt.total_seconds()
    facts["wait_seconds"] = _floats(waited).where(one_row & (facts["state"] == State.SUCCEEDED.value))
    billed = _floats(facts["price"]).where(facts["billed"] != "no", 0.0)
    billed = billed.where(~facts.duplicated(["key", "submission"]), 0.0)
    facts["cost"] = billed.groupby(facts["key"]).transform("sum").where(one_row)
    return facts


def _failed(facts: pandas.DataFrame, stored: pandas.Series[Any]) -> pandas.Series[Any]:
    """The share of takes that gave no song, by submission; missing where some may still come."""
    missing = (~stored).astype(float)
    waiting = facts["state"].isin(_OPEN) | (facts["song_state"] == SongState.ANNOUNCED.value)
    by_generation = [facts["key"], facts["submission"]]
    share = missing.groupby(by_generation).transform("mean")
    found: pandas.Series[Any] = share.where(~waiting.groupby(by_generation).transform("any"))
    return found


def _floats(column: pandas.Series[Any]) -> pandas.Series[Any]:
    return column.astype("Float64").astype("float64")


def _numbers(values: Any) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def _decibels(amplitude: pandas.Series[Any]) -> pandas.Series[Any]:
    import numpy as np

    found: pandas.Series[Any] = 20 * np.log10(amplitude.where(amplitude > 0))
    return found


# --- what varied ---


def varied_fields(facts: pandas.DataFrame, names: Sequence[str] | None = None) -> tuple[VariedField, ...]:
    """The fields that differ between rows, in the manifest's order.

    Args:
        names: Wire names of the fields to look at (None: find them). A field that is named is kept even where it
            has only one value.

    Raises:
        InputError: a name is no field of a request.
    """
    columns: dict[str, str] = {
        column.removeprefix("request."): column for column in facts.columns if column.startswith("request.")
    } | _FURTHER_FIELDS
    unknown = [name for name in names or () if name not in columns]
    if unknown:
        raise InputError(
            f"{', '.join(map(repr, unknown))}: no such field.", next=f"the fields are {', '.join(columns)}."
        )
    if names is not None:
        return tuple(_field(facts, name, columns[name]) for name in dict.fromkeys(names))
    found = (
        _field(facts, name, column)
        for name, column in columns.items()
        if facts[column].nunique(dropna=False) > 1
    )
    # Where each generation has a seed of its own, the seed tells them apart and says nothing about them.
    return tuple(field for field in found if not (field.name == "seed" and field.hidden))


def _field(facts: pandas.DataFrame, name: str, column: str) -> VariedField:
    from pandas.api import types

    values = facts[column]
    is_number = types.is_numeric_dtype(values.dtype) and not types.is_bool_dtype(values.dtype)
    if is_number and name != "seed":
        return VariedField(name, column, True)
    counts = values.map(_text, na_action=None).value_counts(sort=False)
    ordered = sorted(counts.items(), key=lambda level: (-int(level[1]), str(level[0])))
    levels = tuple(str(level) for level, _ in ordered)
    return VariedField(name, column, False, levels[:MOST_LEVELS], max(0, len(levels) - MOST_LEVELS))


def _text(value: Any) -> str:
    import pandas

    if value is None or value is pandas.NA or value != value:
        return _NONE
    return str(value) or _NONE
