"""The lineage of songs, for a terminal and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text
from rich.tree import Tree

from cli.output import Output
from songflow.catalog.lineage import Node
from songflow.errors import InputError

__all__ = ["check_picture", "show_trees", "write_picture"]


def show_trees(output: Output, roots: Sequence[Node]) -> None:
    """Print each song under the one that it extends."""
    for root in roots:
        output.out.print(_branch(root, Tree(_label(root))))


def check_picture(target: Path) -> None:
    """Raise InputError unless the name ends in .png."""
    if target.suffix.lower() != ".png":
        raise InputError(f"--picture writes a PNG, and {target.name!r} is none.", next="name it FILE.png.")


def write_picture(target: Path, roots: Sequence[Node]) -> None:
    """Write the lineage as a PNG.

    Raises:
        InputError: the file cannot be written.
    """
    from songflow.catalog.lineage_picture import lineage_png

    picture = lineage_png(roots)
    try:
        target.write_bytes(picture)
    except OSError as error:
        raise InputError(
            f"{target} cannot be written: {error.strerror or error}.", next="choose another --picture."
        ) from None


def _branch(node: Node, branch: Tree) -> Tree:
    for child in node.children:
        _branch(child, branch.add(_label(child)))
    return branch


def _label(node: Node) -> Text:
    label = Text(node.title, style="bold" if node.known else "dim")
    label.append(f"  {node.text}" if node.text else "", style="not bold")
    return label.append(f"  {node.song_id}" if node.known and node.song_id else "", style="not bold dim")
