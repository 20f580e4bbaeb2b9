"""Plots of one field's effects, with a panel per outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from songflow.reports.effects import Effect, by_generation
from songflow.reports.facts import Outcome, VariedField
from songflow.reports.sheet import COLUMNS, MEAN, PANEL_HEIGHT, POINT, jitter, opacity, png, sheet, short

if TYPE_CHECKING:
    import numpy as np
    import pandas
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["draw_effects"]

_LEVEL_HEIGHT = 0.27


def draw_effects(facts: pandas.DataFrame, field: VariedField, effects: Sequence[Effect]) -> bytes:
    """Plot each effect of one field: generations as points, means with 95 % confidence intervals."""
    height = PANEL_HEIGHT if field.is_number else max(PANEL_HEIGHT, 1.2 + _LEVEL_HEIGHT * len(field.levels))
    more = (
        f" ({len(field.levels)} most frequent of {len(field.levels) + field.hidden})" if field.hidden else ""
    )
    with sheet(f"Effects of {field.name}{more}", len(effects), height=height) as (figure, panels):
        for number, (axes, effect) in enumerate(zip(panels, effects, strict=True)):
            table = by_generation(facts, field, effect.outcome)
            if field.is_number:
                _number_panel(axes, table, effect)
            else:
                _group_panel(axes, table, effect, labelled=number % COLUMNS == 0)
            axes.set_title(_title(effect))
        return png(figure)


def _title(effect: Effect) -> str:
    if effect.strength is None:
        return effect.outcome.label
    sign = {1: "+", -1: "\N{MINUS SIGN}", 0: ""}[effect.direction]
    kind = "\N{GREEK SMALL LETTER RHO}" if effect.direction else "\N{GREEK SMALL LETTER ETA}"
    return f"{effect.outcome.label}   {kind} = {sign}{effect.strength:.2f}"


def _number_panel(axes: Axes, table: pandas.DataFrame, effect: Effect) -> None:
    axes.scatter(table["x"], table["y"], s=12, color=POINT, alpha=opacity(len(table)), linewidths=0)
    at = [mean.at for mean in effect.means]
    axes.errorbar(
        at,
        [mean.mean for mean in effect.means],
        yerr=_errors(effect),
        fmt="o-",
        color=MEAN,
        markersize=4,
        linewidth=1.3,
        capsize=2.5,
    )
    axes.set_xlabel(effect.field.name)
    axes.locator_params(nbins=5)
    axes.margins(x=0.06, y=0.12)
    _bound_share(axes, effect.outcome, "y")


def _group_panel(axes: Axes, table: pandas.DataFrame, effect: Effect, *, labelled: bool) -> None:
    """Plot groups as rows, so that their names read from left to right."""
    import numpy as np

    levels = effect.field.levels
    place = {level: number for number, level in enumerate(levels)}
    y = table["x"].map(place).to_numpy(float) + jitter(len(table), 0.22)
    axes.scatter(table["y"], y, s=12, color=POINT, alpha=opacity(len(table)), linewidths=0)
    axes.errorbar(
        [mean.mean for mean in effect.means],
        [mean.at for mean in effect.means],
        xerr=_errors(effect),
        fmt="D",
        color=MEAN,
        markersize=4.5,
        linewidth=1.6,
        capsize=2.5,
    )
    axes.set_yticks(np.arange(len(levels)), [short(level) for level in levels] if labelled else [])
    axes.set_ylim(len(levels) - 0.4, -0.6)
    axes.margins(x=0.1)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(axis="y", visible=False)
    _bound_share(axes, effect.outcome, "x")


def _errors(effect: Effect) -> NDArray[np.float64]:
    """Distances from the means to the interval ends, of shape (2, means); zero for a single generation."""
    import numpy as np

    pairs = [(mean.mean - mean.low, mean.high - mean.mean) for mean in effect.means]
    return np.asarray(np.maximum(0.0, np.nan_to_num(np.array(pairs, dtype=float).T)))


def _bound_share(axes: Axes, outcome: Outcome, axis: str) -> None:
    if outcome.is_share:
        (axes.set_ylim if axis == "y" else axes.set_xlim)(-0.05, 1.05)
