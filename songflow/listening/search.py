"""Searching, filtering, sorting and paging the room's index: the words of an address, as SQL.

find=slow waltz      every word begins a word of the title, tags, lyrics, prompt, notes or ids
model=a&model=b      one of these values; "none" is a song without one
request.seed=7       the same, of a field of the request
seconds_from=30      a number from, and ..._to
order=rating         see ORDERS
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from songflow.errors import InputError
from songflow.listening.listed import NUMBERS, PARAMETERS, TEXTS, parameter_column, spaced

__all__ = ["FILTERS", "ORDERS", "Page", "Search", "cards_of"]


@dataclass(frozen=True, slots=True)
class Order:
    """An order of the list: by an expression, then newest first."""

    expression: str
    down: bool = False

    def sql(self, *, reverse: bool = False) -> str:
        """As SQL; the list from its end in reverse."""
        first = f"{self.expression}{' DESC' if self.down is not reverse else ''}"
        if self.expression == _PLACE:
            return first
        return f"{first}, {_PLACE}{' DESC' if reverse else ''}"


_PLACE = "listing.place"
ORDERS: Mapping[str, Order] = {
    "newest": Order(_PLACE),
    "oldest": Order(_PLACE, down=True),
    "title": Order("title"),
    "rating": Order("ifnull(rating, -1e300)", down=True),
    "longest": Order("ifnull(seconds, -1e300)", down=True),
    "shortest": Order("ifnull(seconds, 1e300)"),
    "loudest": Order("ifnull(loudness, -1e300)", down=True),
    "quietest": Order("ifnull(loudness, 1e300)"),
    "dearest": Order("ifnull(cost, -1e300)", down=True),
    "cheapest": Order("ifnull(cost, 1e300)"),
}
"""The orders of the list. Songs without the number that it goes by come last."""

FILTERS: Mapping[str, str] = {
    **{name: name for name in (*TEXTS, *NUMBERS)},
    **{f"request.{name}": parameter_column(name) for name in PARAMETERS},
}
"""What songs are filtered by, and its column of the index."""

_NONE = "none"
_WORD = re.compile(r"[^\W_]+")
_MOST = 500


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list: its songs' cards, and how many songs the search has found in all."""

    songs: list[dict[str, Any]]
    total: int


@dataclass(frozen=True, slots=True)
class Search:
    """One search: a condition and its values, the words to find, and the order.

    Raises:
        InputError: from `read`: a filter, an order or a value is none.
    """

    words: str
    condition: str
    values: tuple[Any, ...]
    order: str

    @classmethod
    def read(cls, given: Iterable[tuple[str, str]]) -> Search:
        """Read the parameters of an address."""
        chosen: dict[str, list[str]] = {}
        conditions: list[str] = []
        values: list[Any] = []
        find, order = "", "newest"
        for name, value in given:
            base, _, end = name.rpartition("_")
            if name == "find":
                find = value
            elif name == "order":
                order = value
            elif name in FILTERS:
                chosen.setdefault(name, []).append(value)
            elif base in FILTERS and end in {"from", "to"}:
                conditions.append(f"{FILTERS[base]} {'>=' if end == 'from' else '<='} ?")
                values.append(_bound(base, value, is_end=end == "to"))
            else:
                raise _refused(f"There is no filter {name!r}", f"one of {', '.join(FILTERS)}")
        if order not in ORDERS:
            raise _refused(f"There is no order {order!r}", f"one of {', '.join(ORDERS)}")
        for name, wanted in chosen.items():
            column, known = FILTERS[name], [_value(name, one) for one in wanted if one != _NONE]
            choices = [f"{column} IN ({', '.join('?' * len(known))})"] if known else []
            choices += [f"{column} IS NULL"] if _NONE in wanted else []
            conditions.append(f"({' OR '.join(choices)})")
            values += known
        words = " AND ".join(f'"{word}" *' for word in _WORD.findall(spaced(find)))
        return cls(words, " AND ".join(conditions), tuple(values), order)

    def page(self, database: sqlite3.Connection, start: int, count: int) -> Page:
        """The songs from one position on, `count` (500 at most) of them."""
        total = self.total(database)
        count = max(0, min(count, _MOST, total - start))
        if start > total // 2:  # from the nearer end: skipping rows takes time, too
            places = self._places(database, total - start - count, count, reverse=True)[::-1]
        else:
            places = self._places(database, start, count)
        return Page(cards_of(database, places), total)

    def total(self, database: sqlite3.Connection) -> int:
        """How many songs it finds."""
        if not self.condition and self.words:
            found = database.execute("SELECT count(*) FROM words WHERE words MATCH ?", (self.words,))
        else:
            found = database.execute(f"SELECT count(*) {self._from()}", self._values())
        (total,) = found.fetchone()
        return int(total)

    def position(self, database: sqlite3.Connection, song: int) -> int | None:
        """The position of a song in the list; None if the search does not find it."""
        place = database.execute(
            f"SELECT listing.place {self._from('song = ?')}", (*self._values(), song)
        ).fetchone()
        if place is None:
            return None
        order = ORDERS[self.order]
        expression, sign = order.expression, ">" if order.down else "<"
        if expression == _PLACE:
            before, values = f"{_PLACE} {sign} ?", place
        else:
            [value] = database.execute(f"SELECT {expression} FROM listing WHERE place = ?", place).fetchone()
            before = f"({expression} {sign} ? OR ({expression} = ? AND {_PLACE} < ?))"
            values = (value, value, *place)
        (count,) = database.execute(
            f"SELECT count(*) {self._from(before)}", (*self._values(), *values)
        ).fetchone()
        return int(count)

    def _places(
        self, database: sqlite3.Connection, start: int, count: int, *, reverse: bool = False
    ) -> list[int]:
        order = ORDERS[self.order]
        sql = order.sql(reverse=reverse)
        if self.words and not self.condition and order.expression == _PLACE:
            # The words' own rows are in the order of places: only as many are read as are asked for.
            selected = f"SELECT rowid FROM words WHERE words MATCH ? ORDER BY {sql.replace(_PLACE, 'rowid')}"
        else:
            selected = f"SELECT {_PLACE} {self._from()} ORDER BY {sql}"
        rows = database.execute(f"{selected} LIMIT ? OFFSET ?", (*self._values(), count, start))
        return [place for (place,) in rows]

    def _from(self, *more: str) -> str:
        """The tables and the condition; the words' value comes first."""
        source = "FROM words JOIN listing ON listing.place = words.rowid" if self.words else "FROM listing"
        conditions = [one for one in ("words MATCH ?" if self.words else "", self.condition, *more) if one]
        return f"{source} WHERE {' AND '.join(conditions)}" if conditions else source

    def _values(self) -> tuple[Any, ...]:
        return (self.words, *self.values) if self.words else self.values


def cards_of(database: sqlite3.Connection, places: Sequence[int]) -> list[dict[str, Any]]:
    """The cards at these places, in order, each with its parent if that is in the library."""
    marks = ", ".join("?" * len(places))
    found = dict(
        database.execute(f"SELECT place, card FROM cards WHERE place IN ({marks})", places).fetchall()
    )
    cards: list[dict[str, Any]] = [json.loads(found[place]) for place in places]
    parents = sorted({card["parent_song_id"] for card in cards} - {None})
    marks = ", ".join("?" * len(parents))
    rows = database.execute(
        f"SELECT song_id, card FROM listing JOIN cards USING (place) WHERE song_id IN ({marks}) ORDER BY song",
        parents,
    )
    known = {song_id: json.loads(card) for song_id, card in rows}
    for card in cards:
        parent = known.get(card["parent_song_id"])
        card["parent"] = None if parent is None else {"id": parent["id"], "title": parent["title"]}
    return cards


def _value(name: str, text: str) -> Any:
    """A wanted value as the index has it: a number where it is one."""
    if name in TEXTS:
        return text
    try:
        return float(text)
    except ValueError:
        if name in NUMBERS:
            raise _refused(f"{name} is {text!r}", "a number") from None
        return text


def _bound(name: str, text: str, *, is_end: bool) -> float:
    try:
        if name == "made" and "-" in text:
            day = datetime.fromisoformat(text)
            whole_day = timedelta(days=1) if is_end and len(text) == len("2026-01-31") else timedelta()
            return (day.replace(tzinfo=day.tzinfo or UTC) + whole_day).timestamp()
        return float(text)
    except (ValueError, OverflowError):  # the day after 9999-12-31 is none
        allowed = "a number, or a day such as 2026-01-31" if name == "made" else "a number"
        raise _refused(f"{name} is {text[:40]!r}", allowed) from None


def _refused(fault: str, allowed: str) -> InputError:
    return InputError(f"{fault}: allowed is {allowed}.", next="correct the page's address.")
