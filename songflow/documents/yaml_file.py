"""Read YAML documents (recipes, sweeps) with line numbers, so that every fault can name its line.

document = read_document(text, "radio.yaml")
faults = [Fault("steps.2.take", "is 'best': allowed are first, longest", document.line_of(("steps", 2, "take")))]
refuse_faults("radio.yaml", faults)        # raises InvalidDocument with all of them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from songflow.documents.text import decoded, line_feeds
from songflow.errors import InputError, InvalidDocument

__all__ = ["Document", "Fault", "Place", "read_document", "read_file", "read_source", "refuse_faults"]

MAX_BYTES = 4 * 1024 * 1024
_MAX_DEPTH = 50

Place = tuple[str | int, ...]
"""A path in a document: keys and list positions (from 0), from the top."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: its dotted place, a message, and its line (from 1) if known."""

    place: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        return f"{where}{self.place} {self.message}" if self.place else f"{where}{self.message}"


@dataclass(frozen=True, slots=True)
class Document:
    """The plain data of a YAML text, and the line of each part."""

    name: str
    data: Any
    lines: Mapping[Place, int] = field(default_factory=dict, repr=False)

    def line_of(self, place: Place) -> int | None:
        """The line (from 1) of a place; of the nearest enclosing part if the place is not in the text."""
        for length in range(len(place), -1, -1):
            if (line := self.lines.get(place[:length])) is not None:
                return line
        return None

    def fault(self, place: Place, message: str) -> Fault:
        """A fault at a place of this document."""
        return Fault(".".join(map(str, place)), message, self.line_of(place))


def read_file(path: Path, *, twice: list[Fault] | None = None) -> Document:
    """Read a YAML file; `twice` as for `read_document`.

    Raises:
        InputError: it cannot be read.
        InvalidDocument: as `read_document`.
    """
    return read_document(read_source(path), str(path), twice=twice)


def read_source(path: Path) -> str:
    """The text of a YAML file, for this process or to send to another.

    Raises:
        InputError: it cannot be read, is not UTF-8, or is larger than `MAX_BYTES`.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise InputError(f"{path} is larger than {MAX_BYTES >> 20} MiB.", next="give a smaller file.")
        return line_feeds(decoded(raw).removeprefix("\ufeff"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path} cannot be read: {reason}.", next="correct the path; nothing was sent."
        ) from None


def read_document(text: str, name: str, *, twice: list[Fault] | None = None) -> Document:
    """Read YAML text; `name` is its name in messages.

    Args:
        twice: Receives the faults of duplicate keys, for a caller that reports them with other faults; the last
            duplicate counts then. None: they are refused here.

    Raises:
        InvalidDocument: it is not valid YAML, a key is a duplicate, or it refers to itself.
    """
    lines: dict[Place, int] = {}
    faults: list[Fault] = []
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                _walk(node, (), lines, faults, faults if twice is None else twice)
            data = loader.construct_document(node) if node is not None and not faults else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        faults.append(Fault("", f"is not valid YAML: {error.problem}", mark.line + 1 if mark else None))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        faults.append(Fault("", f"is not valid YAML: {error}"))
    refuse_faults(name, faults)
    return Document(name, data, lines)


def refuse_faults(name: str, faults: Sequence[Fault]) -> None:
    """Raise InvalidDocument with every fault, in the order of the text; do nothing without faults."""
    if not faults:
        return
    ordered = sorted(faults, key=lambda fault: (fault.line is None, fault.line or 0))
    raise InvalidDocument(
        f"{name} has {len(faults)} {'fault' if len(faults) == 1 else 'faults'}: "
        + "; ".join(str(fault) for fault in ordered)
        + ".",
        faults=tuple(str(fault) for fault in ordered),
        next="correct it and run again; nothing was sent.",
    )


def _walk(
    node: yaml.Node, place: Place, lines: dict[Place, int], faults: list[Fault], twice: list[Fault]
) -> None:
    lines[place] = node.start_mark.line + 1
    if len(place) > _MAX_DEPTH:
        faults.append(Fault("", "is nested too deeply, or refers to itself", lines[place]))
        return
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(getattr(key, "value", ""))
            lines[(*place, name)] = key.start_mark.line + 1
            if name in seen and name != "<<":
                twice.append(
                    Fault(".".join(map(str, (*place, name))), "is a duplicate key", key.start_mark.line + 1)
                )
            seen.add(name)
            _walk(value, (*place, name), lines, faults, twice)
            lines[(*place, name)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            _walk(value, (*place, number), lines, faults, twice)
