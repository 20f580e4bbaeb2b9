"""Variables of a recipe: `${prompt}` in any text is replaced by the given value or the default.

variables:
  prompt:            # no default: required
  lyrics: ""         # a text as the default: the value is a text
  seed: -1           # a number as the default: the value is read as a number
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from songflow.documents.scalars import read_scalar
from songflow.documents.validation import Reader
from songflow.documents.yaml_file import Place

__all__ = ["Values", "substituted"]

_REFERENCE = re.compile(r"\$(\$)?\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")

Values = Mapping[str, Any]
"""Given values by variable: texts (from a command line) or values of the default's type."""


def substituted(reader: Reader, given: Values) -> dict[str, Any]:
    """The document's entries without `variables`, with every reference replaced.

    A variable without a value is a fault and becomes its own name.
    """
    entries = dict(reader.document.data)
    declared = entries.pop("variables", None)
    values = _values(reader, {} if declared is None else declared, given)
    return {name: _replace(reader, (str(name),), value, values) for name, value in entries.items()}


def _values(reader: Reader, declared: Any, given: Values) -> dict[str, Any]:
    if not isinstance(declared, Mapping):
        reader.fault(("variables",), "must be a mapping of names to defaults")
        return {}
    values: dict[str, Any] = {}
    for name, default in declared.items():
        place = ("variables", str(name))
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            reader.fault(place, "is not a valid name of a variable (letters, digits and _, at most 32)")
        elif isinstance(default, Mapping | list):
            reader.fault(place, "must be a text, a number, true or false, or empty")
        elif name in given:
            values[name] = _typed(reader, place, given[name], default)
        elif default is None:
            reader.fault(place, f"is required (--set {name}=..., or a parameter)")
            values[name] = name
        else:
            values[name] = default
    for name in sorted(set(given) - set(declared)):
        known = ", ".join(map(str, declared)) or "none"
        reader.fault(("variables",), f"has no {name!r}, which was given (there are: {known})")
    return values


def _typed(reader: Reader, place: Place, value: Any, default: Any) -> Any:
    """Convert a given value to the type of its default: a text from a command line may mean a number."""
    if default is None or isinstance(default, str):
        if isinstance(value, str):
            return value
    else:
        try:
            read = read_scalar(value) if isinstance(value, str) else value
        except ValueError as differs:
            reader.fault(
                place, f"is given as {value!r}, which YAML readers take for {differs}: write it plainly"
            )
            return default
        number = isinstance(read, int | float) and not isinstance(read, bool)
        if number if not isinstance(default, bool) else isinstance(read, bool):
            return read
    kind = "a text" if default is None or isinstance(default, str) else "a number"
    kind = "true or false" if isinstance(default, bool) else kind
    reader.fault(place, f"is given as {value!r}: allowed is {kind}")
    return default if default is not None else ""


def _replace(reader: Reader, place: Place, value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return {name: _replace(reader, (*place, str(name)), entry, values) for name, entry in value.items()}
    if isinstance(value, list):
        return [_replace(reader, (*place, number), entry, values) for number, entry in enumerate(value)]
    if not isinstance(value, str):
        return value
    for escaped, name in _REFERENCE.findall(value):
        if not escaped and name not in values:
            known = ", ".join(values) or "none"
            reader.fault(place, f"uses the variable {name!r}, which is not declared (there are: {known})")
    whole = _REFERENCE.fullmatch(value)
    if whole is not None and not whole[1]:
        return values.get(whole[2], value)  # keeps a number a number

    def text(reference: re.Match[str]) -> str:
        return reference[0][1:] if reference[1] else str(values.get(reference[2], reference[0]))

    return _REFERENCE.sub(text, value)
