"""Read YAML documents (recipes, sweeps) with line numbers, so that every fault can name its line.

document = read_document(text, "radio.yaml")
faults = [Fault("steps.2.take", "is 'best': allowed are first, longest", document.line_of(("steps", 2, "take")))]
refuse_faults("radio.yaml", faults)        # raises InvalidDocument with all of them
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from songflow.documents.scalars import difference, join_surrogates, tag_of
from songflow.documents.text import counted, decoded, line_feeds, one_line, sentence
from songflow.errors import InputError, InvalidDocument

__all__ = [
    "Document",
    "Fault",
    "Place",
    "read_document",
    "read_file",
    "read_source",
    "refuse_faults",
    "write_document",
]

MAX_BYTES = 4 * 1024 * 1024
_MAX_DEPTH = 50

Place = tuple[str | int, ...]
"""A path in a document: keys and list positions (from 0), from the top."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: its dotted place, a message, and its line (from 1) if known; an `only` one is the only one there."""

    place: str
    message: str
    line: int | None = None
    only: bool = False

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
        return Fault(_dotted(place), message, self.line_of(place))


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
    """Read YAML or JSON text; `name` is its name in messages.

    What YAML readers read differently (`010`, `12:30`, `yes`) is refused; JSON is read by JSON's rules.

    Args:
        twice: Receives the faults of duplicate keys and of values that readers read differently, for a caller that
            reports them with other faults; the last duplicate counts then. None: they are refused here.

    Raises:
        InvalidDocument: it is not valid YAML, a key is a duplicate, it refers to itself, or readers read a value of it
            differently.
    """
    walk = _Walk(is_json=(given := _as_json(text)) is not None)
    data = given
    try:
        loader = yaml.SafeLoader(text if given is None else text.replace("\t", " "))
        try:
            node = loader.get_single_node()
            if node is not None:
                walk.node(node, ())
            if node is not None and given is None and not walk.faults:
                data = loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Some JSON texts, with control characters, are no YAML: their faults have no lines.
        walk.twice += _twice_in_json(text) if given is not None else ()
        walk.faults += [_unreadable(error)] if given is None else ()
    if twice is not None:
        twice += walk.twice
    refuse_faults(name, [*walk.faults, *(walk.twice if twice is None else ())])
    return Document(name, data, walk.lines)


def _unreadable(error: Exception) -> Fault:
    if not isinstance(error, yaml.MarkedYAMLError):
        return Fault("", f"is not valid YAML: {error}")
    mark = error.problem_mark or error.context_mark
    return Fault("", f"is not valid YAML: {error.problem}", mark.line + 1 if mark else None)


def write_document(data: Any) -> str:
    """Plain data as YAML that every reader reads as these data."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that another reader would read as something else."""


def _text_node(dumper: _Dumper, text: str) -> yaml.Node:
    style = "'" if "\n" not in text and difference(text) is not None else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style=style)


_Dumper.add_multi_representer(str, _text_node)
_Dumper.add_representer(str, _text_node)


def _as_json(text: str) -> Any:
    """The data of a JSON text; None if it is none."""
    if not text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        return None
    try:
        return json.loads(text.removeprefix("\ufeff"), parse_constant=_no_json)
    except (ValueError, RecursionError):
        return None


def _twice_in_json(text: str) -> list[Fault]:
    """The duplicate keys of a JSON text."""
    found: list[Fault] = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        counts = Counter(name for name, _ in pairs)
        found.extend(Fault(name, "is a duplicate key") for name, count in counts.items() if count > 1)

    json.loads(text.removeprefix("\ufeff"), object_pairs_hook=look)
    return found


def _no_json(constant: str) -> Any:
    raise ValueError(constant)


def refuse_faults(name: str, faults: Sequence[Fault]) -> None:
    """Raise InvalidDocument with every fault, in the order of the text; do nothing without faults."""
    if not faults:
        return
    ordered = sorted(faults, key=lambda fault: (fault.line is None, fault.line or 0))
    raise InvalidDocument(
        sentence(f"{name} has {counted(len(faults), 'fault')}: {'; '.join(str(fault) for fault in ordered)}"),
        faults=tuple(str(fault) for fault in ordered),
        next="correct it and run again; nothing was sent.",
    )


class _Walk:
    """Finds the line of each part of a document, and in `twice` duplicate keys and values with two readings."""

    def __init__(self, *, is_json: bool) -> None:
        self.lines: dict[Place, int] = {}
        self.faults: list[Fault] = []
        self.twice: list[Fault] = []
        self._is_json = is_json

    def node(self, node: yaml.Node, place: Place) -> None:
        """Walk through a node at a place, and everything below it."""
        line = self.lines[place] = node.start_mark.line + 1
        if len(place) > _MAX_DEPTH:
            self.faults.append(Fault("", "is nested too deeply, or refers to itself", line))
        elif isinstance(node, yaml.MappingNode):
            self._mapping(node, place)
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                self.node(value, (*place, number))
        elif isinstance(node, yaml.ScalarNode):
            self._scalar(node, place, line)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> None:
        seen: set[str] = set()
        for key, value in node.value:
            name = str(getattr(key, "value", ""))
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                self._scalar(key, (*place, name), line)
            if name in seen and name != "<<":
                self.twice.append(Fault(_dotted((*place, name)), "is a duplicate key", line))
            seen.add(name)
            self.node(value, (*place, name))
            self.lines[(*place, name)] = line

    def _scalar(self, node: yaml.ScalarNode, place: Place, line: int) -> None:
        if self._is_json:
            return
        if node.style is not None:
            node.value = join_surrogates(node.value)
        elif node.tag == tag_of(node.value) and (differs := difference(node.value)) is not None:
            message = f"is {one_line(node.value)}, which YAML readers take for {one_line(differs, 100)}"
            self.twice.append(
                Fault(
                    _dotted(place), f"{message}: write it plainly, or in quotes for a text", line, only=True
                )
            )


def _dotted(place: Place) -> str:
    return ".".join(map(str, place))
