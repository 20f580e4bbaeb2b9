"""The lineage of songs as trees built from the manifest, for terminals, pictures and pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from songflow.audio.alignment import HOLDS
from songflow.documents.text import one_line
from songflow.families.registry import place_at, returns_new_part, start_field
from songflow.gateways import place_of
from songflow.ledger.rows import JOINED_BY_GATEWAY

if TYPE_CHECKING:
    import pandas

__all__ = ["Node", "families", "family_of", "trees"]

REGULAR = "regular"


@dataclass
class Node:
    """A song, or a generation without one, and its extensions.

    Attributes:
        song_id: The gateway's id of the song, if it has one.
        title: The title on one line; the prompt of a generation without a song.
        place: For an extension, its placement: `intro`, `outro`, or mode and position.
        seconds: The length, as decoded or else as announced.
        remark: Why there is no song, or whether the extension contains its source.
        known: False for a source that is not in this library.
        extendable: True for a song of this library that has an id and has not failed.
        children: The song's extensions.
    """

    song_id: str | None
    title: str
    place: str = ""
    seconds: float | None = None
    remark: str = ""
    known: bool = True
    extendable: bool = False
    children: list[Node] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Placement, length and remark on one line."""
        length = f"{self.seconds:.1f} s" if self.seconds is not None else ""
        return ", ".join(part for part in (self.place, length, self.remark) if part)

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Node]]:
        """Yield this node and its descendants with their depth, depth first."""
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
    """Build the trees of a manifest, oldest first. A source that is not in the manifest gets a placeholder node."""
    return _grown(_plain(row) for row in frame.to_dict("records"))


def families(found: Sequence[Node]) -> list[Node]:
    """The trees with more than one song."""
    return [root for root in found if root.children]


def family_of(found: Sequence[Node], song_ids: Iterable[str | None]) -> list[Node]:
    """The trees that contain any of these songs."""
    wanted = {song_id for song_id in song_ids if song_id is not None}
    return [root for root in found if any(node.song_id in wanted for _, node in root.walk())]


def _grown(rows: Iterable[Mapping[str, Any]]) -> list[Node]:
    roots: list[Node] = []
    by_id: dict[tuple[Any, ...], Node] = {}
    waiting: list[tuple[Mapping[str, Any], Node]] = []
    for row in rows:
        node = _node(row)
        # Song ids may repeat, also across gateways: the first one at a gateway is taken as the source.
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
    """Whether `node` is in the tree of `root`: attaching `root` to it would close a cycle (malformed ids could)."""
    return any(one is node for _, one in root.walk())


def _address(row: Mapping[str, Any], song_id: str | None) -> tuple[Any, ...]:
    if song_id is None:
        return (id(row),)  # no song can extend one without an id
    return (*place_of(row["gateway"], row["base_url"]), song_id)


def _node(row: Mapping[str, Any]) -> Node:
    seconds = row["seconds"] if row["seconds"] is not None else row["announced_seconds"]
    return Node(
        song_id=row["song_id"],
        title=one_line(row["title"] or row["song_id"] or f"(no song) {row['request.prompt'] or row['key']}"),
        place=_place(row),
        seconds=seconds,
        remark=_remark(row),
        extendable=row["song_id"] is not None and row["song_state"] != "failed",
    )


def _place(row: Mapping[str, Any]) -> str:
    mode, model = row["mode"], row["request.model_type"]
    if mode == REGULAR:
        return ""
    start = row.get(f"request.{start_field(model)}")
    name = place_at(model, mode, start)
    return name or (f"{mode} at {start:g}" if start is not None else mode)


def _remark(row: Mapping[str, Any]) -> str:
    if row["song_id"] is None or row["song_state"] == "failed":
        return one_line(
            f"{row['song_state'] or row['state']}: {row['error']}" if row["error"] else row["state"]
        )
    if row["song_state"] != "stored":
        return "not stored"
    if row["mode"] != REGULAR and returns_new_part(row["request.model_type"]):
        whole = row.get("whole_path")
        if not whole:
            return "new part, not joined"
        by = " by the gateway" if row.get("joined_by") == JOINED_BY_GATEWAY else ""
        return f"new part, joined{by}: {one_line(PurePath(whole).name)}"
    if row["source_score"] is not None:
        if row["source_score"] >= HOLDS:
            return f"holds its source from {row['source_at'] or 0:.1f} s"
        return f"source found: {row['source_score']:.0%}"
    return ""


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row of the manifest with None for missing values."""
    import pandas

    return {str(name): None if pandas.isna(value) else value for name, value in row.items()}
