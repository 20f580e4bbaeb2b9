"""Heat maps of two fields, with a panel per outcome and a cell per pair of values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from songflow.reports.facts import Outcome, VariedField
from songflow.reports.sheet import COLUMNS, PANEL_HEIGHT, SCALE, png, sheet, short

if TYPE_CHECKING:
    import numpy as np
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["draw_heat_map"]

# Numeric fields with more values are divided into ranges.
_MOST_VALUES, _RANGES = 8, 6
_MOST_TEXTS, _MOST_LETTERS = 64, 32


def draw_heat_map(
    facts: pandas.DataFrame, across: VariedField, down: VariedField, outcomes: Sequence[Outcome]
) -> bytes:
    """Plot the mean of each outcome over the songs of each pair of values.

    The field with the longer labels goes on the vertical axis.
    """
    columns, lines = _axis_of(facts, across), _axis_of(facts, down)
    if max(map(len, columns.labels), default=0) > max(map(len, lines.labels), default=0):
        across, down, columns, lines = down, across, lines, columns
    height = max(PANEL_HEIGHT, 1.5 + 0.33 * len(lines.labels))
    with sheet(f"{down.name} and {across.name}", len(outcomes), height=height) as (figure, panels):
        for number, (axes, outcome) in enumerate(zip(panels, outcomes, strict=True)):
            _heat_panel(figure, axes, columns, lines, facts[outcome.name].to_numpy(float))
            axes.set_title(outcome.label)
            axes.set_xlabel(across.name)
            if number % COLUMNS == 0:
                axes.set_ylabel(down.name)
            else:
                axes.set_yticklabels([])
        return png(figure)


class _Ticks:
    """An axis of a heat map: the labels of its cells, and the cell index of each row (-1 for none)."""

    def __init__(self, labels: Sequence[str], cells: NDArray[np.int64]) -> None:
        self.labels = labels
        self.cells = cells


def _axis_of(facts: pandas.DataFrame, field: VariedField) -> _Ticks:
    import numpy as np

    values = field.values(facts)
    if not field.is_number:
        place = {level: number for number, level in enumerate(field.levels)}
        numbers = values.map(place).astype("Float64").to_numpy(float, na_value=-1)
        return _Ticks([short(level, 18) for level in field.levels], np.asarray(numbers, dtype=np.int64))
    x = values.to_numpy(float)
    present = ~np.isnan(x)
    distinct = np.unique(x[present])
    if len(distinct) <= _MOST_VALUES:
        places = np.searchsorted(distinct, x)
        return _Ticks([f"{value:g}" for value in distinct], np.where(present, places, -1))
    edges = np.linspace(distinct[0], distinct[-1], _RANGES + 1)
    places = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    labels = [f"{low:.2g}-{high:.2g}" for low, high in itertools.pairwise(edges)]
    return _Ticks(labels, np.where(present, places, -1))


def _heat_panel(
    figure: Figure, axes: Axes, columns: _Ticks, lines: _Ticks, values: NDArray[np.float64]
) -> None:
    import numpy as np

    shape = (len(lines.labels), len(columns.labels))
    known = (lines.cells >= 0) & (columns.cells >= 0) & ~np.isnan(values)
    flat = lines.cells[known] * shape[1] + columns.cells[known]
    counts = np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)
    sums = np.bincount(flat, weights=values[known], minlength=shape[0] * shape[1]).reshape(shape)
    means = np.ma.masked_invalid(np.divide(sums, counts, out=np.full(shape, np.nan), where=counts > 0))
    if not means.count():
        axes.text(0.5, 0.5, "no song has both", ha="center", va="center", transform=axes.transAxes)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    image = axes.imshow(means, cmap=SCALE, aspect="auto")
    figure.colorbar(image, ax=axes, pad=0.02, shrink=0.9).outline.set_visible(False)
    axes.grid(visible=False)
    slanted = sum(map(len, columns.labels)) > _MOST_LETTERS
    turn: Any = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks(np.arange(shape[1]), columns.labels, **turn)
    axes.set_yticks(np.arange(shape[0]), lines.labels)
    if shape[0] * shape[1] <= _MOST_TEXTS:
        _write_cells(axes, means, image.norm)


def _write_cells(axes: Axes, means: Any, norm: Any) -> None:
    spread = float(means.max() - means.min())
    # Enough decimals to distinguish the cells.
    decimals = 0 if spread <= 0 else min(6, max(0, 1 - math.floor(math.log10(spread))))
    for (line, column), mean in _cells(means):
        dark = float(norm(mean)) < 0.6
        text = f"{mean:.{decimals}f}"
        axes.text(
            column,
            line,
            text,
            ha="center",
            va="center",
            fontsize=7 if len(text) < 6 else 6,
            color="white" if dark else "black",
        )


def _cells(means: Any) -> list[tuple[tuple[int, int], float]]:
    import numpy as np

    return [
        ((int(line), int(column)), float(means[line, column]))
        for line, column in np.argwhere(~np.ma.getmaskarray(means))
    ]
