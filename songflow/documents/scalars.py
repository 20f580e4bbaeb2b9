"""Plain YAML values that YAML 1.1 and YAML 1.2 read differently, such as `010`, `12:30`, `1_000` and `yes`.

PyYAML reads YAML 1.1 and most other readers YAML 1.2, so such a value is not what somebody meant: it is refused.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

__all__ = ["difference", "join_surrogates", "read_scalar", "tag_of"]

_PREFIX = "tag:yaml.org,2002:"
_NEW_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NEW_WHOLE = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_NEW_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_NEW_NULL = re.compile(r"null|Null|NULL|~|")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LEADING_ZEROS = re.compile(r"[-+]?0[0-9]+")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_BASES = {"0o": 8, "0x": 16}
_NAMES = {"timestamp": "a date", "merge": "a merge", "value": "a value"}


def tag_of(value: str) -> str:
    """The tag that a plain value has in YAML 1.1."""
    resolver: Any = _resolver
    return str(resolver.resolve(yaml.ScalarNode, value, (True, False)))


def difference(value: str) -> str | None:
    """How two YAML readers read a plain value, as "8 or 10"; None if all read the same."""
    kind = tag_of(value).removeprefix(_PREFIX)
    if kind == "merge":
        return None
    old, new = _old(kind, value), _new(value)
    if _LEADING_ZEROS.fullmatch(value):
        new = f"the text '{value}'" if old == new else new
    return None if old == new else f"{old} or {new}"


def read_scalar(text: str) -> Any:
    """A plain value as every YAML reader reads it; anything else is its text.

    Raises:
        ValueError: readers read it differently; the message says how, as "8 or 10".
    """
    plain = text.strip()
    if (differs := difference(plain)) is not None:
        raise ValueError(differs)
    try:
        found = yaml.safe_load(plain)
    except (yaml.YAMLError, ValueError):
        return text
    return text if isinstance(found, dict | list) else found


def join_surrogates(text: str) -> str:
    """A text in which JSON's escapes for one character beyond U+FFFF, a pair of surrogates, are that character."""
    return _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)


def _old(kind: str, value: str) -> str:
    """The value in YAML 1.1, as text."""
    if kind in ("int", "float", "bool", "null"):
        node = yaml.ScalarNode(f"{_PREFIX}{kind}", value)
        return _shown(_constructor.construct_object(node))
    return _NAMES.get(kind, f"the text '{value}'")


def _new(value: str) -> str:
    """The same in YAML 1.2."""
    if _NEW_NULL.fullmatch(value):
        return _shown(None)
    if _NEW_BOOL.fullmatch(value):
        return _shown(value.lower() == "true")
    if _NEW_WHOLE.fullmatch(value):
        base = _BASES.get(value[:2], 10)
        return _shown(int(value, base) if base != 10 else int(value))
    if _NEW_NUMBER.fullmatch(value):
        return _shown(float(value))
    if _NOT_FINITE.fullmatch(value):
        return _shown(float(value.replace(".", "")))
    return f"the text '{value}'"


def _shown(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case _:
            return str(value)


_resolver = yaml.resolver.Resolver()
_constructor = yaml.constructor.SafeConstructor()
