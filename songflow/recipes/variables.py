"""Variables of a recipe: `${prompt}` in any text is replaced by the given value, or by its default.

variables:
  prompt:            # no default: required
  lyrics: ""         # a default; given values are text
  seed: -1           # a numeric default: given values are read as numbers
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from songflow.documents.yaml_file import Document, Fault, Place

__all__ = ["Values", "substituted"]

_REFERENCE = re.compile(r"\$(\$)?\{([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")

Values = Mapping[str, Any]
"""Given values by variable: texts (from a command line) or values of the default's type."""


def substituted(document: Document, given: Values, faults: list[Fault]) -> dict[str, Any]:
    """The document's parts without `variables`, with every reference replaced.

    Faults are added to `faults`; a variable without a value is then replaced by its name.
    """
    data = dict(document.data)
    declared = data.pop("variables", None)
    values = _values(document, {} if declared is None else declared, given, faults)
    return {name: _replace(document, (name,), value, values, faults) for name, value in data.items()}


def _values(document: Document, declared: Any, given: Values, faults: list[Fault]) -> dict[str, Any]:
    if not isinstance(declared, Mapping):
        faults.append(document.fault(("variables",), "must be a mapping of names to defaults"))
        return {}
    values: dict[str, Any] = {}
    for name, default in declared.items():
        place = ("variables", str(name))
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            faults.append(
                document.fault(place, "is no name for a variable (letters, digits and _, at most 32)")
            )
        elif isinstance(default, Mapping | list):
            faults.append(document.fault(place, "must be a text, a number, true or false, or empty"))
        elif name in given:
            values[name] = _typed(document, place, given[name], default, faults)
        elif default is None:
            faults.append(document.fault(place, f"has to be given (--set {name}=..., or a parameter)"))
            values[name] = name
        else:
            values[name] = default
    for name in sorted(set(given) - set(declared)):
        there = ", ".join(map(str, declared)) or "none"
        faults.append(
            document.fault(("variables",), f"has no {name!r}, which was given (there are: {there})")
        )
    return values


def _typed(document: Document, place: Place, value: Any, default: Any, faults: list[Fault]) -> Any:
    """A given value in the type of its default: a text from a command line may be a number."""
    if default is None or isinstance(default, str):
        if isinstance(value, str):
            return value
    else:
        try:
            read = yaml.safe_load(value) if isinstance(value, str) else value
        except yaml.YAMLError:
            read = None
        number = isinstance(read, int | float) and not isinstance(read, bool)
        if number if not isinstance(default, bool) else isinstance(read, bool):
            return read
    kind = "a text" if default is None or isinstance(default, str) else "a number"
    kind = "true or false" if isinstance(default, bool) else kind
    faults.append(document.fault(place, f"is given as {value!r}: allowed is {kind}"))
    return default if default is not None else ""


def _replace(
    document: Document, place: Place, value: Any, values: Mapping[str, Any], faults: list[Fault]
) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _replace(document, (*place, str(name)), entry, values, faults)
            for name, entry in value.items()
        }
    if isinstance(value, list):
        return [
            _replace(document, (*place, number), entry, values, faults) for number, entry in enumerate(value)
        ]
    if not isinstance(value, str):
        return value
    for escaped, name in _REFERENCE.findall(value):
        if not escaped and name not in values:
            there = ", ".join(values) or "none"
            faults.append(
                document.fault(place, f"names the variable {name!r}, which is not there (there are: {there})")
            )
    whole = _REFERENCE.fullmatch(value)
    if whole is not None and not whole[1]:
        return values.get(whole[2], value)  # keeps a number a number

    def text(reference: re.Match[str]) -> str:
        return reference[0][1:] if reference[1] else str(values.get(reference[2], reference[0]))

    return _REFERENCE.sub(text, value)
