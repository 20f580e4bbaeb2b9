"""A sweep as a person writes it, checked whole: every fault is told with its line, and nothing is sent.

    prompt: a slow waltz                 # fixed fields under their wire names
    grid:                                # every combination
      prompt_strength: [0.25, 0.5, 0.75]
      model_type: [udio32-v1.5, udio130-v1.5]
    zip:                                 # in step
      lyrics: {files: lyrics/*.txt}
      negative_prompt: {lines: not.txt}
    list: [{seed: 1}, {seed: 2}]         # rows of fields, or {csv: rows.csv}
    sobol: {n: 64, seed: 7, fields: {clarity_strength: {from: 0, to: 1}}}    # so are random and lhs
    replicates: 3
    constraints: ["prompt_strength + clarity_strength <= 1.2"]

The parts multiply: each grid axis, zip, list and sample is a factor, and a field stands in one of them only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from songflow.documents.conditions import BadExpression, Condition, read_condition
from songflow.documents.yaml_file import Document, Fault, Place, read_document, read_file, refuse_faults
from songflow.families.family import Request
from songflow.families.registry import start_fields
from songflow.sweeps.sampling import KINDS, MAX_SEED, Choices, draw
from songflow.sweeps.values import FIELDS, BadValue, Files, Range, read_range, value_fault

__all__ = ["MAX_CELLS", "Constraint", "Parents", "Sweep", "load_sweep", "parse_sweep"]

MAX_CELLS = 100_000
"""More is a slip of the pen: at the gateways' pace it would take months."""

_NAME, _REPLICATES, _CONSTRAINTS = "name", "replicates", "constraints"
_MAX_NAME = 60
_MAX_REPLICATES = 10_000

Row = Mapping[str, Any]
"""Values by field."""

Parents = Mapping[str, Request]
"""The request that made each song of the library that a sweep extends, by the song's id."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A condition that each cell must fulfil, and where it stands."""

    text: str
    holds: Condition
    place: Place


@dataclass(frozen=True, slots=True)
class Sweep:
    """A spec that is right as far as it can be told without its combinations.

    Attributes:
        document: What was read, with its lines.
        name: What people call it.
        fixed: The fields that are the same in every cell.
        factors: What multiplies: each a list of rows.
        places: Where each field is set.
        replicates: How many songs of each cell.
        constraints: What each cell must fulfil.
    """

    document: Document
    name: str
    fixed: Row
    factors: tuple[Sequence[Row], ...]
    places: Mapping[str, Place]
    replicates: int
    constraints: tuple[Constraint, ...]

    @property
    def axes(self) -> tuple[str, ...]:
        """The fields that differ between cells, in the order of the spec."""
        names = {name: None for factor in self.factors for row in factor for name in row}
        return tuple(names)

    @property
    def combinations(self) -> int:
        """How many cells there are before constraints."""
        return math.prod(len(factor) for factor in self.factors) * self.replicates


def load_sweep(path: Path) -> Sweep:
    """Read a spec's file; the files that it names are looked for beside it.

    Raises:
        InputError: it cannot be read.
        InvalidDocument: it has faults; every one is named with its line.
    """
    return _Reader(read_file(path), path.parent).sweep()


def parse_sweep(given: str | Mapping[str, Any], folder: Path, name: str = "The sweep") -> Sweep:
    """A sweep from YAML text, or from plain data of the same form.

    Raises:
        InvalidDocument: it has faults; every one is named.
    """
    document = read_document(given, name) if isinstance(given, str) else Document(name, dict(given))
    return _Reader(document, folder).sweep()


class _Reader:
    """Reads one document and gathers its faults."""

    def __init__(self, document: Document, folder: Path) -> None:
        self._document = document
        self._files = Files(folder)
        self._faults: list[Fault] = []
        self._places: dict[str, Place] = {}
        self._factors: list[Sequence[Row]] = []

    def sweep(self) -> Sweep:
        data = self._document.data
        if not isinstance(data, dict):
            self._fault((), "A sweep is a mapping of fields and axes")
            data = {}
        fixed = self._fixed(data)
        for name, factors in (("grid", self._grid), ("zip", self._zip), ("list", self._list)):
            if name in data:
                factors((name,), data[name])
        for kind in KINDS:
            if kind in data:
                self._sample((kind,), data[kind])
        sweep = Sweep(
            document=self._document,
            name=self._name(data),
            fixed=fixed,
            factors=tuple(self._factors),
            places=self._places,
            replicates=self._replicates(data),
            constraints=self._constraints(data),
        )
        self._check_whole(sweep)
        refuse_faults(self._document.name, self._faults)
        return sweep

    def _fault(self, place: Place, message: str) -> None:
        self._faults.append(self._document.fault(place, message))

    def _fixed(self, data: Mapping[str, Any]) -> dict[str, Any]:
        fixed: dict[str, Any] = {}
        for name, given in data.items():
            if name in _PARTS:
                continue
            if name not in FIELDS:
                known = (*FIELDS, *_PARTS)
                self._fault((name,), f"is neither a field nor a part of a sweep{_meant(name, known)}")
                continue
            self._claim(name, (name,))
            if given is not None or value_fault(name, None) is None:
                fixed[name] = self._value(name, given, (name,))
            else:
                self._fault((name,), "has no value")
        return fixed

    def _grid(self, place: Place, given: Any) -> None:
        for name, values in self._axes(place, given).items():
            self._factors.append([{name: value} for value in values])

    def _zip(self, place: Place, given: Any) -> None:
        axes = self._axes(place, given)
        lengths = {name: len(values) for name, values in axes.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            self._fault(place, f"needs as many values of each field ({told})")
        elif axes:
            self._factors.append(
                [dict(zip(axes, row, strict=True)) for row in zip(*axes.values(), strict=True)]
            )

    def _axes(self, place: Place, given: Any) -> dict[str, list[Any]]:
        """The values of each field below a grid or a zip."""
        axes: dict[str, list[Any]] = {}
        for name, values in self._fields(place, given).items():
            try:
                found = self._files.values(name, values)
            except BadValue as error:
                self._fault((*place, name), str(error))
                continue
            written = isinstance(values, list)
            for number, value in enumerate(found):
                self._check(name, value, (*place, name, number) if written else (*place, name))
            axes[name] = found
        return axes

    def _fields(self, place: Place, given: Any) -> dict[str, Any]:
        """The entries of a mapping of fields; each field is claimed for it."""
        if not isinstance(given, dict) or not given:
            self._fault(place, "needs fields with their values")
            return {}
        known = {}
        for name, values in given.items():
            if name not in FIELDS:
                self._fault((*place, name), f"is no field{_meant(name, FIELDS)}")
            elif self._claim(name, (*place, name)):
                known[name] = values
        return known

    def _list(self, place: Place, given: Any) -> None:
        rows = self._rows(place, given)
        if not rows:
            return
        for name in {name: None for row in rows for name in row}:
            self._claim(name, place)
        self._factors.append(rows)

    def _rows(self, place: Place, given: Any) -> list[Row]:
        match given:
            case {"csv": str(name), **rest} if not rest:
                try:
                    rows = self._files.rows(name)
                except BadValue as error:
                    self._fault(place, str(error))
                    return []
                for number, row in enumerate(rows):
                    for field, value in row.items():
                        if fault := value_fault(field, value):
                            self._fault(place, f"row {number + 1} of {name}: {field} {fault}")
                if not rows:
                    self._fault(place, f"{name} has no rows")
                return list(rows)
            case [_, *_]:
                return [self._row((*place, number), row) for number, row in enumerate(given)]
            case _:
                self._fault(place, "needs rows of fields, or {csv: F}")
                return []

    def _row(self, place: Place, given: Any) -> Row:
        if not isinstance(given, dict) or not given:
            self._fault(place, "is no row: write fields with their values")
            return {}
        row = {}
        for name, value in given.items():
            if name in FIELDS:
                row[name] = self._value(name, value, (*place, name))
            else:
                self._fault((*place, name), f"is no field{_meant(name, FIELDS)}")
        return row

    def _sample(self, place: Place, given: Any) -> None:
        if not isinstance(given, dict):
            self._fault(place, "needs n, seed and fields")
            return
        for name in given.keys() - {"n", "seed", "fields"}:
            self._fault((*place, name), "is not known: a sample has n, seed and fields")
        count = self._whole((*place, "n"), given.get("n"), 1, MAX_CELLS)
        seed = self._whole((*place, "seed"), given.get("seed", 0), 0, MAX_SEED)
        axes: dict[str, Range | Choices] = {}
        for name, values in self._fields((*place, "fields"), given.get("fields")).items():
            try:
                axes[name] = self._sampled(name, values, (*place, "fields", name))
            except BadValue as error:
                self._fault((*place, "fields", name), str(error))
        if axes and count is not None and seed is not None:
            self._factors.append(draw(str(place[0]), count, seed, axes))

    def _sampled(self, name: str, given: Any, place: Place) -> Range | Choices:
        if isinstance(given, dict) and "from" in given:
            return read_range(name, given)
        values = self._files.values(name, given)
        for number, value in enumerate(values):
            self._check(name, value, (*place, number) if isinstance(given, list) else place)
        return Choices(values)

    def _claim(self, name: str, place: Place) -> bool:
        """A field stands in one part of a spec only."""
        if name in self._places:
            other = self._places[name]
            line = self._document.line_of(other)
            where = f"line {line}" if line is not None else ".".join(map(str, other))
            self._fault(place, f"sets {name} again (also at {where}): a field stands in one place")
            return False
        self._places[name] = place
        return True

    def _value(self, name: str, given: Any, place: Place) -> Any:
        try:
            value = self._files.one(given)
        except BadValue as error:
            self._fault(place, str(error))
            return given
        self._check(name, value, place)
        return value

    def _check(self, name: str, value: Any, place: Place) -> None:
        if fault := value_fault(name, value):
            self._fault(place, fault)

    def _whole(self, place: Place, given: Any, least: int, most: int) -> int | None:
        if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
            said = "is missing" if given is None else f"is {given!r}"
            self._fault(place, f"{said}: allowed is a whole number from {least} to {most}")
            return None
        return given

    def _name(self, data: Mapping[str, Any]) -> str:
        given = data.get(_NAME, Path(self._document.name).stem)
        if not isinstance(given, str) or not given.strip():
            self._fault((_NAME,), "is no text")
            return ""
        return given.strip()[:_MAX_NAME]

    def _replicates(self, data: Mapping[str, Any]) -> int:
        return self._whole((_REPLICATES,), data.get(_REPLICATES, 1), 1, _MAX_REPLICATES) or 1

    def _constraints(self, data: Mapping[str, Any]) -> tuple[Constraint, ...]:
        given = data.get(_CONSTRAINTS, [])
        if not isinstance(given, list):
            self._fault((_CONSTRAINTS,), "needs a list of conditions")
            return ()
        names = {name: name for name in FIELDS}
        constraints = []
        for number, text in enumerate(given):
            place = (_CONSTRAINTS, number)
            try:
                if not isinstance(text, str):
                    raise BadExpression("is no text")
                constraints.append(Constraint(text, read_condition(text, names, called="field"), place))
            except BadExpression as error:
                self._fault(place, f"({text}) {error}")
        return tuple(constraints)

    def _check_whole(self, sweep: Sweep) -> None:
        # An extension inherits its parent's.
        if "prompt" not in self._places and "source_song_id" not in self._places:
            self._fault((), "prompt is required: at the top, or in grid, zip, list or a sample")
        if "place" in self._places:
            for name in ("mode", *start_fields()):
                if name in self._places:
                    self._fault(self._places[name], "is said by `place` already: leave one of them out")
        if sweep.combinations > MAX_CELLS:
            self._fault((), f"makes {sweep.combinations} cells: {MAX_CELLS} is the most")


def _meant(name: object, known: Sequence[str]) -> str:
    """What a slip of the pen was probably to be; else all that there is."""
    close = get_close_matches(str(name), known, n=1)
    return f": did you mean {close[0]}?" if close else f" (there are: {', '.join(known)})"


_PARTS = (_NAME, "grid", "zip", "list", *KINDS, _REPLICATES, _CONSTRAINTS)
