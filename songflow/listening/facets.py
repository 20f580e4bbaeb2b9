"""The choices of the room's filters: which values the library's songs have, how often, and the ranges of numbers."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from songflow.families.field_types import FieldKind
from songflow.listening.index_file import connected
from songflow.listening.listed import PARAMETERS
from songflow.listening.search import FILTERS

__all__ = ["facets"]

_MOST = 40
_CHOSEN = ("model", "gateway", "family", "mode", "state", "decision", "rating", "run", "depth")
_RANGED = ("seconds", "cost", "loudness", "tempo", "brightness", "made")
_COUNTED = frozenset({FieldKind.CHOICE, FieldKind.SWITCH, FieldKind.LEVEL})


def facets(path: Path) -> list[dict[str, Any]]:
    """Each filter by which songs of an index differ: `name`, and `values` with counts or the range `from`, `to`.

    It reads every song, so it is made in a thread and kept until songs change.
    """
    with closing(connected(path)) as database:
        database.execute("BEGIN")
        found = [_values(database, name) for name in _CHOSEN]
        found += [_range(database, name) for name in _RANGED]
        for name, kind in PARAMETERS.items():
            full = f"request.{name}"
            few = kind in _COUNTED or _distinct(database, full) <= _MOST
            found.append(_values(database, full) if few else _range(database, full))
        return [one for one in found if one is not None]


def _distinct(database: sqlite3.Connection, name: str) -> int:
    column = FILTERS[name]
    (count,) = database.execute(
        f"SELECT count(*) FROM (SELECT DISTINCT {column} FROM listing WHERE {column} IS NOT NULL LIMIT {_MOST + 1})"
    ).fetchone()
    return int(count)


def _values(database: sqlite3.Connection, name: str) -> dict[str, Any] | None:
    column = FILTERS[name]
    rows = database.execute(
        f"SELECT {column}, count(*) FROM listing GROUP BY {column} ORDER BY count(*) DESC LIMIT {_MOST}"
    ).fetchall()
    known = [row for row in rows if row[0] is not None]
    if not known or (len(rows) < 2 and name not in {"decision", "rating"}):
        return None
    return {"name": name, "values": [{"value": value, "songs": count} for value, count in rows]}


def _range(database: sqlite3.Connection, name: str) -> dict[str, Any] | None:
    column = FILTERS[name]
    least, most = database.execute(
        f"SELECT min({column}), max({column}) FROM listing WHERE typeof({column}) IN ('integer', 'real')"
    ).fetchone()
    return None if least is None or least == most else {"name": name, "from": least, "to": most}
