"""The figure that every plot is drawn on: style, panels, and encoding as PNG.

Figures are created without pyplot, so none stays open, and equal facts give the same PNG byte for byte.
"""

from __future__ import annotations

import io
import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from songflow.documents.text import one_line

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
"""Panels per row."""

PANEL_HEIGHT = 2.6
"""Height of a panel in inches."""

# Colour-blind safe (Okabe and Ito), and a colour map that stays monotonic in greyscale.
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
    "text.parse_math": False,  # dollar signs in a prompt are not math
}
# rc_context changes the style of the whole process.
_drawing = threading.Lock()


@contextmanager
def sheet(
    title: str, panels: int, *, height: float = PANEL_HEIGHT, width: float | None = None
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Open a titled figure with panels in rows of `COLUMNS`.

    `height` is that of one panel and `width` that of the figure, both in inches.
    """
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
    """Encode a figure as PNG; call it inside the figure's `sheet` block."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image  # matplotlib's own dependency

    # `savefig` draws twice, and its PNG would be decoded again.
    canvas: Any = FigureCanvasAgg(figure)  # its methods have no types
    with warnings.catch_warnings():
        # A label in a writing that the font does not have has boxes; a line for each of them says no more.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")
        canvas.draw()
    picture = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba()).convert("RGB")
    file = io.BytesIO()
    # A palette image is a third of the size with no visible difference.
    picture.quantize(256, dither=Image.Dither.NONE).save(file, format="PNG", optimize=True)
    return file.getvalue()


def short(text: str, length: int = 26) -> str:
    """A value as a label on one line."""
    return one_line(text, length)


def number(value: float) -> str:
    """Format a number with four significant digits, avoiding exponents below 10 million."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.4g}"


def opacity(count: int) -> float:
    """The opacity of each of `count` markers, so that dense plots stay readable."""
    return max(0.12, min(0.75, 12 / math.sqrt(max(1, count))))


def jitter(count: int, width: float) -> NDArray[np.float64]:
    """Deterministic offsets within ±width that keep markers from hiding each other."""
    import numpy as np

    return np.random.default_rng(count).uniform(-width, width, count)
