"""Songs as a table and as a tree that fit a terminal: what a person chooses by is never cut away.

A pipe, and `--wide`, get every column in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size
from rich.table import Table
from rich.text import Text

from cli.lines import nearby, printable
from songflow.documents.text import one_line, short_name
from songflow.settings import number_text

if TYPE_CHECKING:
    import pandas

    from songflow.catalog.lineage import Node

__all__ = [
    "TreeLine",
    "cut",
    "id_length",
    "manifest_table",
    "squeezed",
    "table_of",
    "tree_lines",
]

SHORT_ID = 8
"""Characters of a short id; more if several songs begin alike."""

_GAP = 2
_LONGEST_TITLE = 60
_LONGEST_LINE = 1_000
_NARROWEST_TITLE = 12
_NARROWEST_FIELD = 8

Row = Mapping[str, Any]
_Columns = dict[str, list[str]]


def manifest_table(frame: pandas.DataFrame, width: int | None) -> Table:
    """The manifest as a table for people, at most `width` cells wide; None: every column in full.

    Title, length, model, rating, state and a short id are always there; the title is cut to make room for them. The
    others are there if they fit whole: decisions and the file first.
    """
    rows = [_plain(row) for row in frame.to_dict("records")]
    columns = _every_column(rows) if width is None else _fitting_columns(rows, width)
    return table_of(columns)


def table_of(columns: Mapping[str, Sequence[str]]) -> Table:
    """A table with these headings and cells, to be printed with room for them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in columns:
        table.add_column(Text(heading), no_wrap=True, overflow="ignore")
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, cells))
    return table


@dataclass(frozen=True, slots=True)
class TreeLine:
    """One song of a tree: the lines that lead to it, and what is known of it."""

    branch: str
    title: str
    text: str
    song_id: str
    known: bool


def tree_lines(root: Node, width: int | None, id_length: int) -> list[TreeLine]:
    """One line for each song of a tree.

    Args:
        root: The tree.
        width: The width to fit them into; the remark and the title are cut (None: nothing is).
        id_length: Characters of an id to show if they have to fit.
    """
    return [_tree_line(branch, node, width, id_length) for branch, node in _branches(root)]


def squeezed(columns: Mapping[str, Sequence[str]], width: int | None, fixed: Sequence[str]) -> _Columns:
    """Columns that fit a width: the widest are cut first, the last are left out if that is not enough.

    Args:
        columns: The cells of each heading.
        width: The cells of a line (None: any number).
        fixed: The headings of columns that stay whole.
    """
    shown = {heading: list(cells) for heading, cells in columns.items()}
    if width is None:
        return shown
    widths = {heading: _width({heading: cells}) for heading, cells in shown.items()}
    free = [heading for heading in shown if heading not in fixed]
    while free and sum(widths.values()) + _GAP * (len(widths) - 1) > width:
        widest = max(free, key=lambda heading: widths[heading])
        if widths[widest] > _NARROWEST_FIELD:
            widths[widest] -= 1
        else:
            del widths[free.pop()]
    return {cut(name, widths[name]): [cut(cell, widths[name]) for cell in shown[name]] for name in widths}


def cut(text: str, width: int) -> str:
    """A text of at most so many cells, its end marked if it is cut."""
    return text if cell_len(text) <= width else f"{set_cell_size(text, max(0, width - 1)).rstrip()}…"


def id_length(ids: Iterable[Any]) -> int:
    """Characters that tell ids apart (of paths, the file names), at least those of a short one."""
    whole = {short_name(one) for one in ids if isinstance(one, str)}
    longest = max(map(len, whole), default=SHORT_ID)
    return next(
        (length for length in range(SHORT_ID, longest) if len({one[:length] for one in whole}) == len(whole)),
        max(SHORT_ID, longest),
    )


def _fitting_columns(rows: Sequence[Row], width: int) -> _Columns:
    short = id_length(row["song_id"] for row in rows)
    titles = [_title(row) for row in rows]
    fixed: _Columns = {
        "length": [_seconds(row["seconds"]) for row in rows],
        "model": _of(rows, "request.model_type"),
        "rating": [_number(row["rating"]) for row in rows],
        "state": [_state(row) for row in rows],
        "id": [short_name(row["song_id"] or "")[:short] for row in rows],
    }
    room = width - _width(fixed) - _GAP
    wanted = min(_LONGEST_TITLE, max(map(cell_len, ["title", *titles])))
    title_width = max(_NARROWEST_TITLE, min(wanted, room))
    columns = {"title": [cut(title, title_width) for title in titles], **fixed}
    for heading, cells in _optional_columns(rows).items():
        if _width(columns | {heading: cells}) <= width:
            columns[heading] = cells
    return columns


def _optional_columns(rows: Sequence[Row]) -> _Columns:
    """The columns that are shown if there is room, the most useful first."""
    return {
        **_decisions(rows),
        "file": ["" if row["path"] is None else nearby(row["path"]) for row in rows],
        "mode": _of(rows, "mode"),
        "price": [_number(row["price"]) for row in rows],
        "gateway": _of(rows, "gateway"),
    }


def _decisions(rows: Sequence[Row]) -> _Columns:
    """What people decided, if they did."""
    decisions = _of(rows, "decision")
    return {"decision": decisions} if any(decisions) else {}


def _every_column(rows: Sequence[Row]) -> _Columns:
    return {
        "title": [_title(row) for row in rows],
        "mode": _of(rows, "mode"),
        "depth": _of(rows, "depth"),
        "length": ["" if row["seconds"] is None else f"{row['seconds']:.2f}" for row in rows],
        "state": [_state(row) for row in rows],
        "gateway": _of(rows, "gateway"),
        "price": [_number(row["price"]) for row in rows],
        "model": _of(rows, "request.model_type"),
        "rating": [_number(row["rating"]) for row in rows],
        **_decisions(rows),
        "song id": _of(rows, "song_id"),
        "file": _of(rows, "path"),
    }


def _width(columns: _Columns) -> int:
    widths = [max(map(cell_len, [heading, *cells])) for heading, cells in columns.items()]
    return sum(widths) + _GAP * (len(widths) - 1)


def _of(rows: Sequence[Row], name: str) -> list[str]:
    return ["" if row[name] is None else printable(str(row[name])) for row in rows]


def _title(row: Row) -> str:
    """The title; a generation without songs is named by its prompt."""
    prompt = row["request.prompt"] or row["key"]
    return one_line(row["title"] or row["song_id"] or f"(no song) {prompt}", _LONGEST_LINE)


def _state(row: Row) -> str:
    """The generation's state, or that of a take that is not stored."""
    taken = row["song_state"]
    return str(row["state"] if taken in (None, "stored") else taken)


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def _number(value: float | None) -> str:
    return "" if value is None else number_text(value)


def _plain(row: Mapping[Any, Any]) -> Row:
    """A row of the manifest with None for missing values."""
    import pandas

    return {str(name): None if pandas.isna(value) else value for name, value in row.items()}


def _branches(node: Node, lead: str = "", branch: str = "") -> Iterable[tuple[str, Node]]:
    """Each node of a tree with the lines that lead to it."""
    yield lead + branch, node
    below = lead + {"": "", "├── ": "│   ", "└── ": "    "}[branch]
    for child in node.children:
        yield from _branches(child, below, "└── " if child is node.children[-1] else "├── ")


def _tree_line(branch: str, node: Node, width: int | None, id_length: int) -> TreeLine:
    song_id = (node.song_id or "") if node.known else ""
    title, text = printable(node.title), printable(node.text)
    if width is not None:
        song_id = short_name(song_id)[:id_length]
        room = width - cell_len(branch) - sum(_GAP + cell_len(part) for part in (text, song_id) if part)
        title_width = max(_NARROWEST_TITLE, room)
        text = cut(text, cell_len(text) + min(0, room - min(cell_len(title), title_width)))
        title = cut(title, title_width)
    return TreeLine(branch, title, text, song_id, node.known)
