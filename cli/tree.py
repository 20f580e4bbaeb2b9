"""The lineage of songs, for a terminal and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from cli.output import Output
from cli.tables import TreeLine, id_length, tree_lines
from songflow.catalog.lineage import Node
from songflow.errors import InputError

__all__ = ["check_picture", "show_trees", "write_picture"]


def show_trees(output: Output, roots: Sequence[Node], *, wide: bool = False) -> None:
    """Print each song under the one that it extends, on lines that fit the terminal unless they are to be `wide`."""
    width = None if wide else output.width
    length = id_length(node.song_id for root in roots for _, node in root.walk())
    for root in roots:
        for line in tree_lines(root, width, length):
            output.out.print(_styled(line))


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


def _styled(line: TreeLine) -> Text:
    label = Text(line.branch).append(line.title, style="bold" if line.known else "dim")
    label.append(f"  {line.text}" if line.text else "")
    return label.append(f"  {line.song_id}" if line.song_id else "", style="dim")
