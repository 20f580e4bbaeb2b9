"""The sheet that every picture is drawn on: its look, its panels, and its PNG.

Figures are made without pyplot: nothing stays open, and the same facts give the same picture, byte for byte.
"""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = [
    "COLUMNS",
    "MEAN",
    "PANEL_HEIGHT",
    "POINT",
    "SCALE",
    "jitter",
    "number",
    "opacity",
    "png",
    "sheet",
    "short",
]

COLUMNS = 3
"""Panels beside each other."""

PANEL_HEIGHT = 2.6
"""Inches."""

# Two colours that everybody can tell apart (Okabe and Ito), and a scale that does not lie in grey.
POINT, MEAN = "#56B4E9", "#B1440E"
SCALE = "viridis"

_DPI = 100
_PANEL_WIDTH = 3.5
_STYLE: Any = {
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#e6e6e6",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "text.parse_math": False,  # a prompt with dollar signs is no formula
}
# The style is the whole process's while a figure is drawn.
_drawing = threading.Lock()


@contextmanager
def sheet(
    title: str, panels: int, *, height: float = PANEL_HEIGHT, width: float | None = None
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A titled figure with panels in rows of `COLUMNS`; sizes are in inches, the height that of a panel."""
    import matplotlib
    from matplotlib.figure import Figure

    rows, columns = math.ceil(panels / COLUMNS), min(COLUMNS, panels)
    size = (width or max(5.0, _PANEL_WIDTH * columns), height * rows + 0.45)
    with _drawing, matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, weight="bold")
        axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
        for left_over in axes[panels:]:
            left_over.set_visible(False)
        yield figure, axes[:panels]


def png(figure: Figure) -> bytes:
    """The picture of a figure, while its sheet is open."""
    from PIL import Image  # matplotlib's own dependency

    drawn, file = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    picture = Image.open(drawn).convert("RGB")
    # A palette is a third of the size, and nobody sees the difference in a plot.
    picture.quantize(256, dither=Image.Dither.NONE).save(file, format="PNG", optimize=True)
    return file.getvalue()


def short(text: str, length: int = 26) -> str:
    """A value as a label: one line."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def number(value: float) -> str:
    """A figure for people: four digits that count, and no powers of ten where there are few digits more."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"


def opacity(count: int) -> float:
    """Of each of so many marks: where many lie upon each other, each is fainter."""
    return max(0.12, min(0.75, 12 / math.sqrt(max(1, count))))


def jitter(count: int, width: float) -> NDArray[np.float64]:
    """Small shifts within ±width that keep marks from hiding each other; the same for the same count."""
    import numpy as np

    return np.random.default_rng(count).uniform(-width, width, count)
