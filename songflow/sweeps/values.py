"""Read the values of a sweep's fields: lists, ranges of numbers, or files in the spec's folder.

[0.25, 0.5]                          a list of values
{from: 0, to: 1, steps: 5}           evenly spaced numbers, including both ends
{lines: prompts.txt}                 a value for each line that is not blank
{files: lyrics/*.txt}                a value for each file: its whole text
{csv: table.csv, column: prompt}     a value for each row (without `column`: the column named like the field)
{file: words.txt}                    instead of one value: the whole text of a file

Texts from files are read as `songflow.documents.text` says, so an editor's marks and blanks make no other cells.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from songflow.documents.text import decoded, line_feeds, plain_lines, plain_text
from songflow.families.field_types import FieldKind
from songflow.families.registry import field_fault, fields_of_kind, place_names, request_fields, wire_name

__all__ = ["FIELDS", "BadValue", "Files", "Range", "as_read_before", "read_range", "value_fault"]

PLACE = "place"
FIELDS = (*request_fields(), PLACE)
"""The fields of a sweep: the request's, and `place` (intro, front, back, outro) for mode and section start."""

_TEXT_FIELDS = fields_of_kind(FieldKind.TEXT, FieldKind.CHOICE) | {PLACE}
_RANGED = fields_of_kind(FieldKind.NUMBER, FieldKind.WHOLE, FieldKind.SEED)
_WHOLE = fields_of_kind(FieldKind.WHOLE, FieldKind.SEED)
# Sampled numbers are part of the body and the key: rounded, so that they are the same on every machine.
DIGITS = 6
# Numbers as every reader of CSV reads them: Python alone takes 1_000 for one.
_WHOLE_CELL = re.compile(r"[-+]?[0-9]{1,30}")
_NUMBER_CELL = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[-+]?[0-9]+)?")
# pandas writes whole numbers so where some are missing.
_WHOLE_AS_FLOAT = re.compile(r"([-+]?[0-9]{1,15})\.0*")
MAX_VALUES = 100_000
MAX_FILE_BYTES = 16 * 1024 * 1024


class BadValue(ValueError):
    """A fault of a value, as the end of a sentence that begins with its place."""


class _CleanedText(str):
    """A text from a file, with what earlier versions read instead: songs may be paid for under that."""

    __slots__ = ("before",)
    before: str


def _cleaned(text: str, before: str) -> str:
    if text == before:
        return text
    cleaned = _CleanedText(text)
    cleaned.before = before
    return cleaned


def as_read_before(value: Any) -> Any:
    """A value as versions read it that left byte-order marks and blanks at line ends in the texts of files."""
    return value.before if isinstance(value, _CleanedText) else value


class Range:
    """A range of numbers of one field, `low` to `high`; whole numbers for a field that has no others."""

    def __init__(self, field: str, low: float, high: float) -> None:
        self._whole = field in _WHOLE
        self.low, self.high = low, high

    def at(self, share: float) -> float:
        """The number at a fraction (0..1) of the range."""
        if self._whole:
            return min(int(self.low + share * (self.high - self.low + 1)), int(self.high))
        return round(self.low + share * (self.high - self.low), DIGITS)

    def steps(self, count: int) -> list[float]:
        """`count` evenly spaced numbers, including both ends."""
        spaced = [self.low + (self.high - self.low) * number / (count - 1) for number in range(count)]
        return [round(one) if self._whole else round(one, DIGITS) for one in spaced]


def read_range(field: str, given: Mapping[str, Any], *, extra: frozenset[str] = frozenset()) -> Range:
    """Read a range such as `{from: 0, to: 1}`; `extra` are other allowed keys.

    Raises:
        BadValue: it is not a range, or its ends are not valid for the field.
    """
    if unknown := sorted(map(str, given.keys() - {"from", "to"} - extra)):
        raise BadValue(
            f"has {', '.join(map(repr, unknown))}: a range has from, to{''.join(f', {one}' for one in extra)}"
        )
    if field not in _RANGED:
        raise BadValue("cannot be a range: give a list of values")
    low, high = given.get("from"), given.get("to")
    for name, end in (("from", low), ("to", high)):
        if isinstance(end, bool) or not isinstance(end, int | float):
            raise BadValue(f"needs a number for `{name}`")
        if fault := field_fault(field, end):
            raise BadValue(f"{name} {fault}")
    assert low is not None, "it is a number"
    assert high is not None, "it is a number"
    if not low < high:
        raise BadValue(f"goes from {low:g} to {high:g}: `from` must be below `to`")
    return Range(field, low, high)


def value_fault(field: str, value: Any) -> str | None:
    """The fault of a single value of a field, or None."""
    if field == PLACE:
        return None if value in place_names() else f"is {value!r}: allowed are {', '.join(place_names())}"
    if isinstance(value, list):
        return "is a list: several values belong under grid, zip or list"
    return field_fault(field, value)


class Files:
    """Reads the files that a spec names, relative to its folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def values(self, field: str, given: Any) -> list[Any]:
        """All values of an axis.

        Raises:
            BadValue: they cannot be read, or there are none.
        """
        found = self._values(field, given)
        if not found:
            raise BadValue("has no values")
        return found

    def _values(self, field: str, given: Any) -> list[Any]:
        match given:
            case list():
                return [self.one(value) for value in given]
            case {"lines": str(name), **rest} if not rest:
                return self._lines(name)
            case {"files": str(pattern), **rest} if not rest:
                return [self.text(name) for name in self._matching(pattern)]
            case {"csv": str(name), **rest} if not rest.keys() - {"column"}:
                column = str(rest.get("column", field))
                return _column_of(name, column, self.rows(name, {column: field}))
            case {"from": _}:
                return self._steps(field, given)
            case _:
                raise BadValue(
                    "is not a list of values: write [..], {from, to, steps}, {lines: F}, {files: F} or "
                    "{csv: F, column: C}"
                )

    def _steps(self, field: str, given: Mapping[str, Any]) -> list[Any]:
        ends = read_range(field, given, extra=frozenset({"steps"}))
        steps = given.get("steps", ends.high - ends.low + 1 if field in _WHOLE else None)
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 2:
            raise BadValue("needs a whole number from 2 for `steps`")
        if steps > MAX_VALUES:
            raise BadValue(
                f"has {steps} values: {MAX_VALUES} is the most (give fewer `steps`, or sample them)"
            )
        if field in _WHOLE and steps > ends.high - ends.low + 1:
            raise BadValue(f"has {steps} steps for {ends.high - ends.low + 1} whole numbers")
        return ends.steps(steps)

    def one(self, given: Any) -> Any:
        """One value: `{file: F}` becomes the text of the file, any other value is unchanged."""
        match given:
            case {"file": str(name), **rest} if not rest:
                return self.text(name)
        return given

    def rows(self, name: str, columns: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Read the rows of a CSV file, with values in their fields' types and without empty cells.

        `columns` maps columns to fields (None: columns are named like fields).

        Raises:
            BadValue: it cannot be read, or a column is missing or not a field.
        """
        # Spreadsheets write a byte-order mark.
        reader = csv.DictReader(io.StringIO(self._raw(name).removeprefix("\ufeff"), newline=""), strict=True)
        try:
            heads = [head.strip() for head in reader.fieldnames or ()]
            wanted = columns or {
                head: wire_name(head) if wire_name(head) in FIELDS else head for head in heads
            }
            if twice := [head for head, count in Counter(heads).items() if count > 1 and head in wanted]:
                raise BadValue(f"{name} has the column {twice[0]!r} twice: rename or remove one of them")
            if unknown := [head for head, field in wanted.items() if field not in FIELDS]:
                raise BadValue(f"{name} has the column {unknown[0]!r}, which is not a field")
            if missing := [head for head in wanted if head not in heads]:
                raise BadValue(f"{name} has no column {missing[0]!r} (there are: {', '.join(heads)})")
            reader.fieldnames = heads
            found = []
            for row in reader:
                if None in row:
                    raise BadValue(
                        f"{name}:{reader.line_num} has more cells than columns (quote a text with commas)"
                    )
                if not any(plain_text(cell or "").strip() for cell in row.values()):
                    continue  # a line of nothing but commas
                found.append(
                    {
                        (head if columns else field): _typed(field, row[head])
                        for head, field in wanted.items()
                        if plain_text(row[head] or "").strip()
                    }
                )
            return found
        except csv.Error as error:
            raise BadValue(f"{name} cannot be read as CSV ({error})") from None

    def text(self, name: str) -> str:
        """Read the text of a file that the spec names.

        Raises:
            BadValue: it cannot be read, or is blank.
        """
        raw = self._raw(name)
        text = plain_text(raw)
        if not text.strip():
            raise BadValue(f"{name} is blank: write a text into it, or leave it out")
        return _cleaned(text, raw)

    def _lines(self, name: str) -> list[str]:
        lines = self._raw(name).splitlines()
        return [_cleaned(text, line) for line in lines for text in plain_lines(line)]

    def _raw(self, name: str) -> str:
        """The text of a file with line feeds, as it is otherwise."""
        path = self._folder / name
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise BadValue(f"{name} is larger than {MAX_FILE_BYTES >> 20} MiB")
            return line_feeds(decoded(path.read_bytes()))
        except (OSError, ValueError) as error:
            if isinstance(error, BadValue):
                raise
            reason = getattr(error, "strerror", None) or error
            raise BadValue(f"{name} cannot be read: {reason}") from None

    def _matching(self, pattern: str) -> list[str]:
        try:
            found = sorted(self._folder.glob(pattern))
        except (OSError, ValueError, NotImplementedError) as error:
            raise BadValue(f"{pattern} is not a file pattern ({error})") from None
        names = [str(path) for path in found if path.is_file()]
        if not names:
            raise BadValue(f"{pattern} matches no file")
        return names


def _column_of(name: str, column: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """A column's values. It may be shorter than others, but has no gap: with another column it would be out of step."""
    values = [row[column] for row in rows if column in row]
    gap = next((number for number, row in enumerate(rows[: len(values)], start=1) if column not in row), None)
    if gap is not None:
        raise BadValue(
            f"{name} has no value for {column} in row {gap}, and has some below: fill it, or use the rows as they are "
            f"with list: {{csv: {name}}}"
        )
    return values


def _typed(field: str, text: str) -> Any:
    """Convert a CSV cell to its field's type; other text stays text, and the field refuses it."""
    if field in _TEXT_FIELDS:
        return _cleaned(plain_text(text), text)
    plain = text.strip().lower()
    if plain in ("true", "false"):
        return plain == "true"
    if _WHOLE_CELL.fullmatch(plain):
        return int(plain)
    if field in _WHOLE and (whole := _WHOLE_AS_FLOAT.fullmatch(plain)):
        return int(whole[1])
    return float(plain) if _NUMBER_CELL.fullmatch(plain) else text
