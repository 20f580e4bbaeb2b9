"""Read and validate the spec of a sweep.

    prompt: a slow waltz                 # fixed fields under their wire names, or the command line's (model, quality)
    grid:                                # every combination
      prompt_strength: [0.25, 0.5, 0.75]
      generation_quality: [0.75, 1]
    zip:                                 # in step
      lyrics: {files: lyrics/*.txt}
      negative_prompt: {lines: not.txt}
    list: [{seed: 1}, {seed: 2}]         # rows of fields, or {csv: rows.csv}
    sobol: {n: 64, seed: 7, fields: {clarity_strength: {from: 0, to: 1}}}    # also random and lhs
    replicates: 3
    constraints: ["prompt_strength + clarity_strength <= 1.2"]
    review: {discard: "loudness_lufs < -30 or seconds < 20", again: 1}

The parts multiply: each grid axis, the zip, the list and each sample is a factor. A field may be set in one
of them only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from songflow.documents.conditions import BadExpression, Condition, read_condition
from songflow.documents.validation import Reader
from songflow.documents.yaml_file import Document, Place, read_document, read_file
from songflow.errors import InputError
from songflow.families.family import Request
from songflow.families.registry import SHORT_NAMES, start_fields, wire_name
from songflow.library.review import Review, read_review
from songflow.sweeps.sampling import KINDS, MAX_SEED, Choices, draw
from songflow.sweeps.values import FIELDS, BadValue, Files, Range, read_range, value_fault

__all__ = [
    "MAX_CELLS",
    "Constraint",
    "Parents",
    "Row",
    "Source",
    "Sweep",
    "load_sweep",
    "name_of",
    "parse_sweep",
]

MAX_CELLS = 100_000
"""The most cells of a sweep. At the gateways' pace, more would take months: likely a typing error."""

_MAX_NAME = 60
_MAX_REPLICATES = 10_000
_PARTS = ("name", "grid", "zip", "list", *KINDS, "replicates", "constraints", "review")
_NEEDS_FIELDS = "needs fields with their values"

Row = Mapping[str, Any]
"""Values by field."""


@dataclass(frozen=True, slots=True)
class Source:
    """A song of the library that a sweep extends; without any of these, only the gateway knows it.

    Attributes:
        request: The request that made it.
        generation_id: The gateway's id of its generation.
        seconds: The length of its own file.
    """

    request: Request | None = None
    generation_id: str | None = None
    seconds: float | None = None


Parents = Mapping[str, Source]
"""The library songs that a sweep extends, by song id."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition that every cell must meet, and its place in the spec."""

    text: str
    holds: Condition
    place: Place


@dataclass(frozen=True, slots=True)
class Sweep:
    """A spec whose parts are valid; `songflow.sweeps.cells` validates their combinations.

    Attributes:
        document: The document it was read from, with line numbers.
        name: Its name for people.
        fixed: The fields that are the same in every cell.
        factors: The factors that multiply, each a list of rows.
        places: Where each field is set.
        replicates: Songs per cell.
        constraints: The conditions that every cell must meet.
        review: Which songs are discarded, and how often a cell is made again that has no others.
    """

    document: Document
    name: str
    fixed: Row
    factors: tuple[Sequence[Row], ...]
    places: Mapping[str, Place]
    replicates: int
    constraints: tuple[Constraint, ...]
    review: Review | None = None

    @property
    def axes(self) -> tuple[str, ...]:
        """The fields that differ between cells, in the order of the spec."""
        names = {name: None for factor in self.factors for row in factor for name in row}
        return tuple(names)

    @property
    def combinations(self) -> int:
        """The number of cells before constraints."""
        return math.prod(len(factor) for factor in self.factors) * self.replicates


def load_sweep(path: Path) -> Sweep:
    """Read a spec from a file; files that it names are relative to its folder.

    Raises:
        InputError: it cannot be read.
        InvalidDocument: with every fault and its line.
    """
    return _SpecReader(read_file(path), path.parent, path.stem).sweep()


def parse_sweep(given: str | Mapping[str, Any], folder: Path, name: str = "The sweep") -> Sweep:
    """Read a spec from YAML text, from plain data of the same form, or from a file by its absolute path.

    Raises:
        InputError: the file cannot be read.
        InvalidDocument: with every fault.
    """
    if not isinstance(given, str):
        return _SpecReader(Document(name, dict(given)), folder, name).sweep()
    document, name = _read(given, name)
    return _SpecReader(document, folder, name).sweep()


def name_of(given: str | Mapping[str, Any], name: str) -> str:
    """The name of a sweep that need not be valid; `name` if it has none of its own."""
    if isinstance(given, Mapping):
        own = given.get("name")
    else:
        try:
            document, name = _read(given, name)
        except InputError:
            return name
        own = document.data.get("name") if isinstance(document.data, Mapping) else None
    return own.strip()[:_MAX_NAME] if isinstance(own, str) and own.strip() else name


def _read(given: str, name: str) -> tuple[Document, str]:
    """The document of a text, or of the file that it names, and the name of a sweep that has none of its own."""
    if _is_file_name(given):
        path = Path(given)
        return read_file(path), path.stem
    return read_document(given, name), name


def _is_file_name(given: str) -> bool:
    return "\n" not in given and given.endswith((".yaml", ".yml", ".json")) and Path(given).is_absolute()


def with_wire_names(document: Document) -> Document:
    """A spec whose fields have their wire names, which may be written as on the command line (`model`, `quality`).

    A field that is written under both of its names keeps them, so that the second one is refused.
    """

    def renamed(place: Place) -> Place:
        return tuple(
            wire_name(part) if isinstance(part, str) and _names_a_field(place[:at]) else part
            for at, part in enumerate(place)
        )

    def rebuilt(given: Any, place: Place) -> Any:
        if isinstance(given, list):
            return [rebuilt(one, (*place, number)) for number, one in enumerate(given)]
        if not isinstance(given, Mapping):
            return given
        fields = _names_a_field(place)
        return {
            _free_name(name, given) if fields else name: rebuilt(one, (*place, name))
            for name, one in given.items()
        }

    lines = {renamed(place): line for place, line in document.lines.items()} | dict(document.lines)
    return Document(document.name, rebuilt(document.data, ()), lines)


def _names_a_field(place: Place) -> bool:
    """True if the keys of the mapping at a place are fields."""
    match place:
        case () | ("grid" | "zip",) | ("list", int()) | (_, "fields"):
            return place[-1:] != ("fields",) or place[0] in KINDS
    return False


def _free_name(name: Any, given: Mapping[Any, Any]) -> Any:
    """The wire name of a key, unless it is no field's or the mapping has that as well."""
    if not isinstance(name, str) or name in FIELDS:
        return name
    wire = wire_name(name)
    return wire if wire in FIELDS and wire not in given else name


class _SpecReader:
    """Reads one spec; every fault is collected."""

    def __init__(self, document: Document, folder: Path, name: str) -> None:
        document = with_wire_names(document)
        self._reader = Reader(document, synonyms=tuple(SHORT_NAMES))
        self._document = document
        self._name = name
        self._files = Files(folder)
        self._places: dict[str, Place] = {}
        self._factors: list[Sequence[Row]] = []

    def sweep(self) -> Sweep:
        known, expected = (*FIELDS, *_PARTS), "A sweep is a mapping of fields and axes"
        data = self._reader.mapping((), self._document.data, known, expected)
        fixed = self._fixed(data)
        for name, read in (("grid", self._grid), ("zip", self._zip), ("list", self._list)):
            if name in data:
                read((name,), data[name])
        for kind in KINDS:
            if kind in data:
                self._sample((kind,), data[kind])
        name = self._reader.text(("name",), data.get("name"), self._name)
        sweep = Sweep(
            document=self._document,
            name=name.strip()[:_MAX_NAME],
            fixed=fixed,
            factors=tuple(self._factors),
            places=self._places,
            replicates=self._reader.whole(("replicates",), data.get("replicates", 1), 1, _MAX_REPLICATES)
            or 1,
            constraints=self._constraints(data.get("constraints")),
            review=read_review(self._reader, ("review",), data.get("review")),
        )
        self._check_whole(sweep)
        self._reader.refuse()
        return sweep

    def _fixed(self, data: Mapping[str, Any]) -> dict[str, Any]:
        fields = {name: given for name, given in data.items() if name in FIELDS}
        for name in fields:
            self._claim(name, (name,))
        return {name: self._value(name, given, (name,)) for name, given in fields.items()}

    def _grid(self, place: Place, given: Any) -> None:
        for name, values in self._axes(place, given).items():
            self._factors.append([{name: value} for value in values])

    def _zip(self, place: Place, given: Any) -> None:
        axes = self._axes(place, given)
        lengths = {name: len(values) for name, values in axes.items()}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            self._reader.fault(place, f"needs as many values of each field ({counts})")
        elif axes:
            self._factors.append(
                [dict(zip(axes, row, strict=True)) for row in zip(*axes.values(), strict=True)]
            )

    def _axes(self, place: Place, given: Any) -> dict[str, list[Any]]:
        """The values of each field of a grid or a zip."""
        axes: dict[str, list[Any]] = {}
        for name, values in self._fields(place, given).items():
            try:
                axes[name] = self._values(name, values, (*place, name))
            except BadValue as error:
                self._reader.fault((*place, name), str(error))
        return axes

    def _fields(self, place: Place, given: Any) -> dict[str, Any]:
        """The entries of a mapping of fields, without those that another part sets."""
        fields = self._reader.mapping(place, given, FIELDS, _NEEDS_FIELDS)
        return {name: values for name, values in fields.items() if self._claim(name, (*place, name))}

    def _list(self, place: Place, given: Any) -> None:
        rows = self._rows(place, given)
        for name in {name: None for row in rows for name in row}:
            self._claim(name, place)
        if rows:
            self._factors.append(rows)

    def _rows(self, place: Place, given: Any) -> list[Row]:
        match given:
            case {"csv": str(name), **rest} if not rest:
                return self._csv_rows(place, name)
            case [_, *_]:
                return [self._row((*place, number), row) for number, row in enumerate(given)]
        self._reader.fault(place, "needs rows of fields, or {csv: F}")
        return []

    def _csv_rows(self, place: Place, name: str) -> list[Row]:
        try:
            rows = self._files.rows(name)
        except BadValue as error:
            self._reader.fault(place, str(error))
            return []
        if not rows:
            self._reader.fault(place, f"{name} has no rows")
        for number, row in enumerate(rows, start=1):
            for field, value in row.items():
                if fault := value_fault(field, value):
                    self._reader.fault(place, f"row {number} of {name}: {field} {fault}")
        return list(rows)

    def _row(self, place: Place, given: Any) -> Row:
        row = self._reader.mapping(place, given, FIELDS, "is not a row: write fields with their values")
        return {name: self._value(name, value, (*place, name)) for name, value in row.items()}

    def _sample(self, place: Place, given: Any) -> None:
        sample = self._reader.mapping(place, given, ("n", "seed", "fields"), "needs n, seed and fields")
        if not sample:
            return
        count = self._reader.whole((*place, "n"), sample.get("n"), 1, MAX_CELLS)
        seed = self._reader.whole((*place, "seed"), sample.get("seed", 0), 0, MAX_SEED)
        axes: dict[str, Range | Choices] = {}
        for name, values in self._fields((*place, "fields"), sample.get("fields")).items():
            try:
                axes[name] = self._sampled(name, values, (*place, "fields", name))
            except BadValue as error:
                self._reader.fault((*place, "fields", name), str(error))
        if axes and count is not None and seed is not None:
            self._factors.append(draw(str(place[0]), count, seed, axes))

    def _sampled(self, name: str, given: Any, place: Place) -> Range | Choices:
        if isinstance(given, dict) and "from" in given:
            return read_range(name, given)
        return Choices(self._values(name, given, place))

    def _values(self, name: str, given: Any, place: Place) -> list[Any]:
        """All values of an axis; an item of a list has a place of its own."""
        values = self._files.values(name, given)
        for number, value in enumerate(values):
            if fault := value_fault(name, value):
                self._reader.fault((*place, number) if isinstance(given, list) else place, fault)
        return values

    def _value(self, name: str, given: Any, place: Place) -> Any:
        try:
            value = self._files.one(given)
            if fault := value_fault(name, value):
                raise BadValue("has no value" if value is None else fault)
        except BadValue as error:
            self._reader.fault(place, str(error))
            return given
        return value

    def _claim(self, name: str, place: Place) -> bool:
        """Record where a field is set; False, and a fault, if another part sets it."""
        other = self._places.setdefault(name, place)
        if other == place:
            return True
        line = self._document.line_of(other)
        where = f"line {line}" if line is not None else ".".join(map(str, other))
        self._reader.fault(
            place, f"sets {name} again (also at {where}): a field may be set in one place only"
        )
        return False

    def _constraints(self, given: Any) -> tuple[Constraint, ...]:
        names = {name: name for name in FIELDS} | dict(SHORT_NAMES)
        constraints = []
        for number, text in enumerate(self._reader.items(("constraints",), given)):
            place = ("constraints", number)
            try:
                if not isinstance(text, str):
                    raise BadExpression("is not a text")
                constraints.append(Constraint(text, read_condition(text, names, called="field"), place))
            except BadExpression as error:
                self._reader.fault(place, f"({text}) {error}")
        return tuple(constraints)

    def _check_whole(self, sweep: Sweep) -> None:
        # An extension inherits its parent's prompt.
        if "prompt" not in self._places and "source_song_id" not in self._places:
            self._reader.fault((), "prompt is required: at the top, or in grid, zip, list or a sample")
        if "place" in self._places:
            for name in ("mode", *start_fields()):
                if name in self._places:
                    self._reader.fault(self._places[name], "is set by `place` already: leave one of them out")
        if sweep.combinations > MAX_CELLS:
            self._reader.fault((), f"makes {sweep.combinations} cells: {MAX_CELLS} is the most")
