"""Where songs come from, as trees: read from the manifest, for terminals, pictures and pages."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from songflow.audio.alignment import HOLDS
from songflow.families.registry import place_at

if TYPE_CHECKING:
    import pandas

__all__ = ["Node", "families", "family_of", "one_line", "trees"]

REGULAR = "regular"
_FAMILY_KEY = ("gateway", "base_url")


@dataclass
class Node:
    """A song (or what should have become one) and what extends it.

    `place` is that of an extension, as a person would say it; `seconds` its length; `known` is False for a source that
    this library does not have.
    """

    song_id: str | None
    title: str
    place: str = ""
    seconds: float | None = None
    remark: str = ""
    known: bool = True
    children: list[Node] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What is to be said of it in one line, without its title."""
        length = f"{self.seconds:.1f} s" if self.seconds is not None else ""
        return ", ".join(part for part in (self.place, length, self.remark) if part)

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Node]]:
        """Itself and all below it, each with its depth."""
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "song_id": self.song_id,
            "title": self.title,
            "place": self.place,
            "seconds": self.seconds,
            "remark": self.remark,
            "known": self.known,
            "children": [child.as_dict() for child in self.children],
        }


def trees(frame: pandas.DataFrame) -> list[Node]:
    """The songs of a manifest as trees, oldest first; a row whose source is not in it hangs below a stand-in."""
    return _grown(_plain(row) for row in frame.to_dict("records"))


def families(found: Sequence[Node]) -> list[Node]:
    """The trees that are more than a single song."""
    return [root for root in found if root.children]


def family_of(found: Sequence[Node], song_ids: Iterable[str | None]) -> list[Node]:
    """The trees in which any of these songs stands."""
    wanted = {song_id for song_id in song_ids if song_id is not None}
    return [root for root in found if any(node.song_id in wanted for _, node in root.walk())]


def one_line(text: object, length: int = 60) -> str:
    """A foreign text as one line without control characters or marks that reorder it."""
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in str(text))
    line = " ".join(visible.split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _grown(rows: Iterable[Mapping[str, Any]]) -> list[Node]:
    roots: list[Node] = []
    by_id: dict[tuple[Any, ...], Node] = {}
    waiting: list[tuple[Mapping[str, Any], Node]] = []
    for row in rows:
        node = _node(row)
        # Ids may be doubled, and those of two gateways may meet: the first at a gateway is the one that was extended.
        by_id.setdefault(_address(row, row["song_id"]), node)
        waiting.append((row, node))
    for row, node in waiting:
        parent_id = row["parent_song_id"]
        if parent_id is None:
            roots.append(node)
            continue
        parent = by_id.get(_address(row, parent_id))
        if parent is None or _is_below(node, parent):
            parent = by_id[_address(row, parent_id)] = Node(
                parent_id, f"song {parent_id}", remark="not in this library", known=False
            )
            roots.append(parent)
        parent.children.append(node)
    return roots


def _is_below(root: Node, node: Node) -> bool:
    """True where hanging `root` below `node` would close a circle, as a gateway's odd ids could."""
    return any(one is node for _, one in root.walk())


def _address(row: Mapping[str, Any], song_id: str | None) -> tuple[Any, ...]:
    if song_id is None:
        return (id(row),)  # nothing can extend what has no id
    return (*(row[name] for name in _FAMILY_KEY), song_id)


def _node(row: Mapping[str, Any]) -> Node:
    seconds = row["seconds"] if row["seconds"] is not None else row["announced_seconds"]
    return Node(
        song_id=row["song_id"],
        title=one_line(row["title"] or row["song_id"] or f"generation {row['generation_id'] or row['key']}"),
        place=_place(row),
        seconds=seconds,
        remark=_remark(row),
    )


def _place(row: Mapping[str, Any]) -> str:
    mode, start = row["mode"], row["request.song_section_start"]
    if mode == REGULAR:
        return ""
    name = place_at(row["request.model_type"], mode, start)
    return name or (f"{mode} at {start:g}" if start is not None else mode)


def _remark(row: Mapping[str, Any]) -> str:
    if row["song_id"] is None or row["song_state"] == "failed":
        return one_line(
            f"{row['song_state'] or row['state']}: {row['error']}" if row["error"] else row["state"]
        )
    if row["song_state"] != "stored":
        return "not stored"
    if row["source_score"] is not None:
        if row["source_score"] >= HOLDS:
            return f"holds its source from {row['source_at'] or 0:.1f} s"
        return f"source found: {row['source_score']:.0%}"
    return ""


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A manifest's row with None for what is missing."""
    import pandas

    return {str(name): None if pandas.isna(value) else value for name, value in row.items()}
