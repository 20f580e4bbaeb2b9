"""Draw lineage trees as a PNG: one box per song, extensions to the right of their source."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from songflow.catalog.lineage import Node
from songflow.documents.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MOST_SONGS", "lineage_png"]

MOST_SONGS = 200
"""Maximum number of songs in a picture; more would be unreadable."""

# In inches. A box is narrower than its column, which leaves room for the connecting lines.
_COLUMN, _ROW, _BOX, _MARGIN = 2.9, 0.72, (2.2, 0.52), 0.35
_TITLE_LENGTH, _TEXT_LENGTH = 30, 46
_DPI = 110
_COLOURS = {"new": "#dbe9f6", "extension": "#e3f1df", "stand-in": "#eeeeee"}
_EDGE = "#5b6770"


@dataclass(frozen=True)
class _Box:
    node: Node
    x: float
    y: float


def lineage_png(roots: Sequence[Node], most: int = MOST_SONGS) -> bytes:
    """Draw the trees as a PNG of at most so many songs, some 8 kB each. Titles are literal, without math or markup."""
    # pyplot would keep the figure alive and is slower to import.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown, left_out = _laid_out(roots, most)
    width = _MARGIN * 2 + (max((box.x for box, _ in shown), default=0) * _COLUMN) + _BOX[0]
    height = _MARGIN * 2 + (max((box.y for box, _ in shown), default=0) + 1) * _ROW
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)  # registers itself with the figure
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, width), ylim=(height, 0))
    for box, parent in shown:
        if parent is not None:
            _join(axes, parent, box)
        _draw(axes, box)
    if left_out:
        axes.text(_MARGIN, height - 0.1, f"and {left_out} more songs", fontsize=7, color=_EDGE)
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*[Gg]lyph.*"
        )  # a title in a script without an installed font
        figure.savefig(target, format="png")
    return target.getvalue()


def _laid_out(roots: Sequence[Node], most: int) -> tuple[list[tuple[_Box, _Box | None]], int]:
    """Lay out boxes in columns by depth, each centred on its children; also return the number of omitted songs."""
    kept, room = _cut(roots, most)
    boxes: list[tuple[_Box, _Box | None]] = []
    row = 0.0
    for root in kept:
        placed, row = _placed(root, 0, row)
        boxes += _with_parents(placed)
    total = sum(1 for root in roots for _ in root.walk()) if room == 0 else len(boxes)
    return boxes, total - len(boxes)


def _cut(nodes: Sequence[Node], room: int) -> tuple[list[Node], int]:
    """Copy the first `room` nodes in depth-first order; also return the room that is left."""
    kept: list[Node] = []
    for node in nodes:
        if room == 0:
            break
        children, room = _cut(node.children, room - 1)
        kept.append(replace(node, children=children))
    return kept, room


def _placed(node: Node, depth: int, row: float) -> tuple[list[tuple[_Box, int]], float]:
    """The boxes of a node and its descendants, depth first, with their depth; and the next free row."""
    below: list[tuple[_Box, int]] = []
    tops: list[float] = []
    for child in node.children:
        boxes, row = _placed(child, depth + 1, row)
        tops.append(boxes[0][0].y)
        below += boxes
    if not tops:
        tops, row = [row], row + 1
    return [(_Box(node, depth, (tops[0] + tops[-1]) / 2), depth), *below], row


def _with_parents(placed: Sequence[tuple[_Box, int]]) -> list[tuple[_Box, _Box | None]]:
    path: list[_Box] = []
    found: list[tuple[_Box, _Box | None]] = []
    for box, depth in placed:
        del path[depth:]
        found.append((box, path[-1] if path else None))
        path.append(box)
    return found


def _corner(box: _Box) -> tuple[float, float]:
    return _MARGIN + box.x * _COLUMN, _MARGIN + box.y * _ROW


def _draw(axes: Axes, box: _Box) -> None:
    from matplotlib.patches import FancyBboxPatch

    node, (x, y), (width, height) = box.node, _corner(box), _BOX
    kind = "stand-in" if not node.known else "extension" if node.place else "new"
    style: dict[str, Any] = {"facecolor": _COLOURS[kind], "edgecolor": _EDGE, "linewidth": 0.8}
    axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.07", **style))
    middle = x + width / 2
    plain: dict[str, Any] = {"ha": "center", "va": "center", "parse_math": False}
    axes.text(middle, y + 0.18, one_line(node.title, _TITLE_LENGTH), fontsize=8, weight="bold", **plain)
    axes.text(middle, y + 0.37, one_line(node.text, _TEXT_LENGTH), fontsize=6.5, color=_EDGE, **plain)


def _join(axes: Axes, parent: _Box, child: _Box) -> None:
    """Draw a curve from parent to child that is horizontal at both ends."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    (x, y), (to_x, to_y) = _corner(parent), _corner(child)
    start, end = (x + _BOX[0], y + _BOX[1] / 2), (to_x, to_y + _BOX[1] / 2)
    middle = (start[0] + end[0]) / 2
    points = [start, (middle, start[1]), (middle, end[1]), end]
    path = Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor=_EDGE, linewidth=1.0))
