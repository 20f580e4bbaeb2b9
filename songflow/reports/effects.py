"""Statistics behind the plots: means with confidence intervals, and the strength of each field's effect.

Takes of one generation are not independent, so they are averaged first; the sample size of every interval and test is
the number of generations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from songflow.reports.facts import Outcome, VariedField

if TYPE_CHECKING:
    import numpy as np
    import pandas
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Effect", "Mean", "by_generation", "effect_of", "interval"]

_CONFIDENCE = 0.95
_MOST_BINS = 8
_LEAST_IN_A_BIN = 3


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of an outcome over the generations with one value, or a range of values, of a field.

    Attributes:
        label: The group's value, or the range of a numeric field.
        at: The position on the axis: the mean value of a numeric field, the index of a group.
        low, high: The 95 % confidence interval, within what is possible for the outcome; NaN for a single generation.
        count: The number of generations.
    """

    label: str
    at: float
    mean: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Effect:
    """The effect of one field on one outcome.

    Attributes:
        means: One mean per value or range of the field, in the field's order.
        strength: 0..1: the absolute value of Spearman's rank correlation for a numeric field, the correlation ratio
            (the square root of the share of variance between groups) for groups. None if nothing varies.
        direction: 1 if the outcome grows with a numeric field, -1 if it falls, 0 for groups.
        p_value: For no effect (Spearman; Kruskal-Wallis), not corrected for the number of tests in the report.
        count: The number of generations.
    """

    field: VariedField
    outcome: Outcome
    means: tuple[Mean, ...]
    strength: float | None
    direction: int
    p_value: float | None
    count: int


def effect_of(facts: pandas.DataFrame, field: VariedField, outcome: Outcome) -> Effect | None:
    """The effect of a field on an outcome; None if no row has both."""
    table = by_generation(facts, field, outcome)
    if table.empty:
        return None
    means = _bins(table, outcome) if field.is_number else _groups(table, field, outcome)
    strength, direction, p_value = _strength(table, field)
    return Effect(field, outcome, tuple(means), strength, direction, p_value, len(table))


def by_generation(facts: pandas.DataFrame, field: VariedField, outcome: Outcome) -> pandas.DataFrame:
    """One row per generation that has both: `x`, the field's value, and `y`, the outcome's mean over its takes."""
    import pandas

    table = pandas.DataFrame({"key": facts["key"], "x": field.values(facts), "y": facts[outcome.name]})
    table = table[table["x"].notna() & table["y"].notna()]
    return table.groupby(["key", "x"], sort=False, observed=True)["y"].mean().reset_index()


def _groups(table: pandas.DataFrame, field: VariedField, outcome: Outcome) -> list[Mean]:
    found = {str(level): group["y"].to_numpy() for level, group in table.groupby("x", sort=False)}
    return [
        _mean(level, float(place), found[level], outcome)
        for place, level in enumerate(field.levels)
        if level in found
    ]


def _bins(table: pandas.DataFrame, outcome: Outcome) -> list[Mean]:
    """One mean per value if there are few, otherwise per quantile range."""
    import numpy as np

    x, y = table["x"].to_numpy(float), table["y"].to_numpy(float)
    values = np.unique(x)
    if len(values) <= _MOST_BINS:
        return [_mean(f"{value:g}", float(value), y[x == value], outcome) for value in values]
    bins = max(2, min(_MOST_BINS, len(x) // _LEAST_IN_A_BIN))
    edges = np.unique(np.quantile(x, np.linspace(0, 1, bins + 1)))
    number = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    return [
        _mean(f"{x[inside].min():.3g} to {x[inside].max():.3g}", float(x[inside].mean()), y[inside], outcome)
        for one in range(len(edges) - 1)
        if (inside := number == one).any()
    ]


def _mean(label: str, at: float, values: Floats, outcome: Outcome) -> Mean:
    mean, (low, high) = float(values.mean()), interval(values, is_share=outcome.is_share)
    if not math.isnan(low):
        low, high = min(mean, max(low, outcome.low)), max(mean, min(high, outcome.high))
    return Mean(label, at, mean, low, high, len(values))


def interval(values: Sequence[float] | Floats, *, is_share: bool = False) -> tuple[float, float]:
    """The 95 % confidence interval of a mean; NaN for fewer than two values.

    Student's t interval; for shares Wilson's, which does not collapse at 0 and 1.
    """
    import numpy as np
    from scipy import special

    found = np.asarray(values, dtype=float)
    count = len(found)
    if count < 2:
        return math.nan, math.nan
    mean = float(found.mean())
    if is_share:
        z = float(special.ndtri(0.5 + _CONFIDENCE / 2))
        centre = (mean + z**2 / (2 * count)) / (1 + z**2 / count)
        half = z / (1 + z**2 / count) * math.sqrt(mean * (1 - mean) / count + z**2 / (4 * count**2))
        # Rounded, because at a share of 0 the difference is not exactly zero.
        return max(0.0, round(centre - half, 12)), min(1.0, round(centre + half, 12))
    t = float(special.stdtrit(count - 1, 0.5 + _CONFIDENCE / 2))
    half = t * float(found.std(ddof=1)) / math.sqrt(count)
    return mean - half, mean + half


def _strength(table: pandas.DataFrame, field: VariedField) -> tuple[float | None, int, float | None]:
    """Strength, direction and p-value."""
    from scipy import stats

    if table["x"].nunique() < 2 or table["y"].nunique() < 2:
        return None, 0, None
    if field.is_number:
        rank = stats.spearmanr(table["x"], table["y"])
        rho: Any = rank.statistic
        return abs(float(rho)), 1 if rho > 0 else -1, _probability(rank.pvalue)
    groups = [group["y"].to_numpy() for _, group in table.groupby("x", sort=False)]
    total = float(((table["y"] - table["y"].mean()) ** 2).sum())
    between = sum(len(group) * (group.mean() - table["y"].mean()) ** 2 for group in groups)
    test = stats.kruskal(*groups)
    return math.sqrt(min(1.0, float(between) / total)), 0, _probability(test.pvalue)


def _probability(value: Any) -> float | None:
    return None if math.isnan(value) else float(value)
