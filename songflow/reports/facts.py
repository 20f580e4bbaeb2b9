"""The input of a report: manifest rows with every outcome as a number, and the request fields that varied."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from songflow.errors import InputError
from songflow.families.field_types import FieldKind
from songflow.families.registry import fields_of_kind, has_field, request_fields
from songflow.ledger.states import RULES, SongState, State

if TYPE_CHECKING:
    import pandas

__all__ = ["MOST_LEVELS", "OUTCOMES", "Outcome", "VariedField", "facts_of", "varied_fields"]

MOST_LEVELS = 12
"""Maximum number of groups shown in one plot."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A measured quantity that request fields may affect.

    Attributes:
        name: The column in the facts.
        title: The display name, without the unit.
        unit: The display unit; may be empty.
        rank: Its place among the outcomes: 0 for what a person hears and rates, 2 for what a request settles by itself.
        low, high: The values that are possible.
        is_share: Whether it is a share of takes, 0..1.
    """

    name: str
    title: str
    unit: str
    rank: int = 1
    low: float = 0.0
    high: float = math.inf
    is_share: bool = False

    @property
    def label(self) -> str:
        """Title with unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def phrase(self, text: str, value: float) -> str:
        """A value in a sentence; `text` is the value as it is written."""
        return (
            f"{value:.0%} of takes failed" if self.is_share else f"{self.title} {text} {self.unit}".rstrip()
        )


OUTCOMES: tuple[Outcome, ...] = (
    Outcome("rating", "rating", "0 to 5", rank=0, high=5.0),
    Outcome("rms_db", "loudness", "dBFS", low=-math.inf, high=0.0),
    Outcome("crest_db", "crest factor", "dB"),
    Outcome("tempo", "tempo", "beats/min"),
    Outcome("centroid_hz", "brightness", "Hz"),
    Outcome("failed", "failures", "share of takes", high=1.0, is_share=True),
    Outcome("seconds", "length", "s", rank=2),
    Outcome("cost", "cost", "units", rank=2),
)
"""All outcomes, the most interesting first. `failed` and `cost` are set on one row of each generation, the others on
each song.

How long a generation took is not among them: that depends on the gateway's load at the time more than on any field.
"""


@dataclass(frozen=True, slots=True)
class VariedField:
    """A request field that differs between rows.

    Attributes:
        name: The wire name.
        column: The column in the manifest.
        is_number: Whether it is plotted on a numeric axis; otherwise its values are groups.
        levels: The groups' values as text, most frequent first; at most `MOST_LEVELS`.
        hidden: The number of further groups.
    """

    name: str
    column: str
    is_number: bool
    levels: tuple[str, ...] = ()
    hidden: int = 0

    def values(self, facts: pandas.DataFrame) -> pandas.Series[Any]:
        """The value on each row: a float, or for groups a text from `levels` (missing for others)."""
        column = facts[self.column]
        if self.is_number:
            return column.astype("Float64").astype("float64")
        texts = column.map(_text, na_action=None).astype("string")
        return texts.where(texts.isin(self.levels))


_NONE = "(none)"
# A seed is a number without an order.
_SEEDS = fields_of_kind(FieldKind.SEED)
# Columns that a sweep can vary besides the `request.` columns.
_FURTHER_FIELDS: dict[str, str] = {
    "mode": "mode",
    "source_song_id": "parent_song_id",
    "gateway": "gateway",
}
# States in which a song may still arrive.
_OPEN = frozenset(str(state) for state in State if RULES[state].unsettled or state is State.INTENDED)


def facts_of(frame: pandas.DataFrame) -> pandas.DataFrame:
    """Add a float column for each of `OUTCOMES`, and `wait_seconds`, to rows of the manifest.

    Outcomes of a whole generation are set on one row only, the first of its newest submission: `failed` (the share of
    takes without a song), `wait_seconds` (from the POST to the end) and `cost` (the sum over its submissions that were
    or may have been billed).

    Args:
        frame: Rows of the manifest.
    """
    facts = frame.reset_index(drop=True).copy()
    newest = facts["submission"] == facts.groupby("key")["submission"].transform("max")
    one_row = newest & ~facts.duplicated(["key", "submission"])
    stored = facts["song_state"] == SongState.STORED.value
    for name in ("seconds", "rms_db", "tempo", "centroid_hz"):
        facts[name] = _floats(facts[name]).where(stored)
    facts["rating"] = _floats(facts["rating"]) if "rating" in facts else math.nan
    facts["crest_db"] = (_decibels(_floats(facts["peak"])) - facts["rms_db"]).where(stored)
    facts["failed"] = _failed(facts, stored).where(one_row)
    waited = (facts["settled_at"] - facts["sending_at"]).dt.total_seconds()
    facts["wait_seconds"] = _floats(waited).where(one_row & (facts["state"] == State.SUCCEEDED.value))
    billed = _floats(facts["price"]).where(facts["billed"] != "no", 0.0)
    billed = billed.where(~facts.duplicated(["key", "submission"]), 0.0)
    facts["cost"] = billed.groupby(facts["key"]).transform("sum").where(one_row)
    return facts


def _failed(facts: pandas.DataFrame, stored: pandas.Series[Any]) -> pandas.Series[Any]:
    """The share of takes without a song per submission; missing while songs may still arrive."""
    missing = (~stored).astype(float)
    waiting = facts["state"].isin(_OPEN) | (facts["song_state"] == SongState.ANNOUNCED.value)
    by_generation = [facts["key"], facts["submission"]]
    share = missing.groupby(by_generation).transform("mean")
    found: pandas.Series[Any] = share.where(~waiting.groupby(by_generation).transform("any"))
    return found


def _floats(column: pandas.Series[Any]) -> pandas.Series[Any]:
    return column.astype("Float64").astype("float64")


def _decibels(amplitude: pandas.Series[Any]) -> pandas.Series[Any]:
    import numpy as np

    found: pandas.Series[Any] = 20 * np.log10(amplitude.where(amplitude > 0))
    return found


def varied_fields(facts: pandas.DataFrame, names: Sequence[str] | None = None) -> tuple[VariedField, ...]:
    """Find the request fields that differ between rows, in the order of the manifest's columns.

    Args:
        facts: Rows from `facts_of`.
        names: Wire names of the fields to return instead, even if they have only one value.

    Raises:
        InputError: a name is not a request field.
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
        if _of_those_that_have(facts, name, column).nunique(dropna=False) > 1
    )
    # A seed per generation identifies it and explains nothing.
    return tuple(field for field in found if not (field.name in _SEEDS and field.hidden))


def _of_those_that_have(facts: pandas.DataFrame, name: str, column: str) -> pandas.Series[Any]:
    """A field's values in the rows whose models have it: that other models do not have it is no variation."""
    values = facts[column]
    if name not in request_fields():
        return values
    having = [model for model in facts["request.model_type"].unique() if has_field(str(model), name)]
    return values[facts["request.model_type"].isin(having)]


def _field(facts: pandas.DataFrame, name: str, column: str) -> VariedField:
    from pandas.api import types

    values = facts[column]
    is_number = types.is_numeric_dtype(values.dtype) and not types.is_bool_dtype(values.dtype)
    if is_number and name not in _SEEDS:
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
