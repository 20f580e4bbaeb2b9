"""A parallel-coordinates plot of all fields and outcomes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from songflow.reports.facts import Outcome, VariedField
from songflow.reports.sheet import SCALE, jitter, number, png, sheet, short

if TYPE_CHECKING:
    import numpy as np
    import pandas
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["draw_parallel"]

_MOST_LINES = 1500


def draw_parallel(
    facts: pandas.DataFrame, fields: Sequence[VariedField], outcomes: Sequence[Outcome], colour: Outcome
) -> bytes:
    """Plot one line per song across all fields and outcomes, coloured by one outcome, highest values on top."""
    import numpy as np
    from matplotlib.collections import LineCollection

    axes_of = [_scale_field(facts, field) for field in fields]
    axes_of += [_scale_outcome(facts, outcome) for outcome in outcomes]
    heights = np.column_stack([axis.heights for axis in axes_of])
    value = facts.groupby("key")[colour.name].transform("mean").fillna(facts[colour.name]).to_numpy(float)
    shown = np.flatnonzero((~np.isnan(heights)).sum(axis=1) > 1)
    shown = shown[np.linspace(0, len(shown) - 1, min(len(shown), _MOST_LINES)).astype(int)]
    shown = shown[np.argsort(np.nan_to_num(value[shown], nan=-np.inf), kind="stable")]
    width = max(7.0, 1.45 * len(axes_of))
    with sheet(f"Every song, coloured by {colour.title}", 1, height=4.2, width=width) as (figure, panels):
        axes = panels[0]
        lines = [_line(heights[row]) for row in shown]
        drawn = LineCollection(
            lines, cmap=SCALE, linewidths=1.0, alpha=max(0.15, min(0.8, 9 / math.sqrt(len(shown) + 1)))
        )
        drawn.set_array(np.ma.masked_invalid(value[shown]))
        axes.add_collection(drawn)
        figure.colorbar(drawn, ax=axes, pad=0.06, label=colour.label).solids.set_alpha(1)  # type: ignore[union-attr]  # drawn just now
        _parallel_axes(axes, axes_of)
        return png(figure)


class _Scaled:
    """One axis: the height of each row, 0..1 (NaN for none), and ticks as (height, label)."""

    def __init__(self, title: str, heights: NDArray[np.float64], ticks: Sequence[tuple[float, str]]) -> None:
        self.title = title
        self.heights = heights
        self.ticks = ticks


def _scale_field(facts: pandas.DataFrame, field: VariedField) -> _Scaled:
    if field.is_number:
        return _scale(field.name, field.values(facts).to_numpy(float))
    step = 1 / max(1, len(field.levels) - 1)
    place = {level: 1 - number * step for number, level in enumerate(field.levels)}
    heights = field.values(facts).map(place).astype("Float64").to_numpy(float, na_value=math.nan)
    ticks = [(height, short(level, 20)) for level, height in place.items()]
    # Jitter shows how many lines pass through a group.
    return _Scaled(field.name, heights + jitter(len(heights), min(0.03, 0.2 * step)), ticks)


def _scale_outcome(facts: pandas.DataFrame, outcome: Outcome) -> _Scaled:
    """Scale an outcome; a value set on one row of a generation applies to each of its takes."""
    whole = facts[outcome.name].fillna(facts.groupby("key")[outcome.name].transform("mean"))
    return _scale(outcome.label.replace(" (", "\n("), whole.to_numpy(float))


def _scale(title: str, values: NDArray[np.float64]) -> _Scaled:
    import numpy as np

    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    span = high - low or 1.0
    ticks = [(share, number(float(f"{low + share * span:.3g}"))) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return _Scaled(title, (values - low) / span, ticks if high > low else [(0.0, f"{low:.3g}")])


def _line(heights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points of a song's line, skipping axes without a value."""
    import numpy as np

    at = np.flatnonzero(~np.isnan(heights))
    return np.column_stack([at, heights[at]])


def _parallel_axes(axes: Axes, axes_of: Sequence[_Scaled]) -> None:
    axes.set_xlim(-0.25, len(axes_of) - 0.75)
    axes.set_ylim(-0.06, 1.06)
    axes.set_yticks([])
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xticks(range(len(axes_of)), [axis.title for axis in axes_of])
    axes.tick_params(axis="x", length=0, pad=6)
    for place, axis in enumerate(axes_of):
        axes.axvline(place, color="#444444", linewidth=0.9, zorder=3)
        for height, label in axis.ticks:
            box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
            axes.text(place + 0.03, height, label, fontsize=7, va="center", zorder=4, bbox=box)
