"""Judgements: what people say of songs. Each is a row, and a song's own row has what stands now.

Of the judgements of one kind on a song that nobody has undone, the newest stands; of two at the same time, the one with
the larger id. So the result is the same in whichever order they arrive, and however often. One judgement may be on
several rows: on each copy of a song.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from songflow.ledger import schema
from songflow.ledger.engine import Connection, Database
from songflow.ledger.rows import clean_text

__all__ = ["Decision", "Judgement", "JudgementKind", "Judgements", "new_id"]

_songs, _judgements = schema.songs, schema.judgements
_CHUNK = 500
_TICK = timedelta(microseconds=1)


class JudgementKind(StrEnum):
    """What a judgement is about. WINNER: the song was preferred to another one."""

    RATING = "rating"
    DECISION = "decision"
    NOTES = "notes"
    WINNER = "winner"


class Decision(StrEnum):
    """Whether a person wants to keep a song."""

    KEEP = "keep"
    DISCARD = "discard"


_STANDING = {
    JudgementKind.RATING: ("rating", "rated_at", "rated_by"),
    JudgementKind.DECISION: ("decision", "decided_at", "decided_by"),
    JudgementKind.NOTES: ("notes", "noted_at", "noted_by"),
}
"""The columns of a song's row for each kind: the value that stands, when and by whom it was given."""

_Subject = tuple[int, JudgementKind]


def new_id() -> str:
    """An id for a new judgement."""
    return uuid.uuid4().hex


@dataclass(frozen=True, slots=True)
class Judgement:
    """A person's judgement of a song.

    Attributes:
        song: The number of the song's row.
        kind: What it is about.
        value: A rating (0..5), a decision, or notes; None takes the value away. A winner has none.
        other_song: The row of the song that a winner was preferred to.
        by: The person's name (None: unknown).
        at: When it was made (None: now, and after all others of its kind on this song).
        id: Its id. On copies of a song, the same judgement has the same id.
        before: The value that it replaced when it was recorded.
        undone_at: When it was undone.
    """

    song: int
    kind: JudgementKind
    value: float | str | None = None
    other_song: int | None = None
    by: str | None = None
    at: datetime | None = None
    id: str = field(default_factory=new_id)
    before: float | str | None = None
    undone_at: datetime | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Judgement:
        """A judgement from its table row."""
        kind = JudgementKind(row["kind"])
        read = {name: _value(kind, row[name]) for name in ("value", "before")}
        return cls(**{**{name: row[name] for name in cls.__slots__}, **read, "kind": kind})

    def as_row(self) -> dict[str, Any]:
        """The columns of its row."""
        return {
            **{name: getattr(self, name) for name in self.__slots__},
            "kind": self.kind.value,
            "value": _text(self.value),
            "before": _text(self.before),
        }


class Judgements:
    """Transactions on judgements."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, judgements: Iterable[Judgement]) -> list[Judgement]:
        """Record judgements and update their songs, in one transaction. One whose id a song has already is left out.

        Returns:
            Those that were new, as they are recorded.
        """
        given = {(one.id, one.song): _clean(one) for one in judgements}
        async with self._database.write("judged") as connection:
            history = await self._history(connection, {one.song for one in given.values()})
            known = {(one.id, one.song) for one in history}
            new = _dated([one for place, one in given.items() if place not in known], history)
            standing = _by_subject([*history, *new])
            recorded = [replace(one, before=_before(one, standing)) for one in new]
            if recorded:
                await connection.execute(insert(_judgements), [one.as_row() for one in recorded])
                await _update_songs(connection, _subjects(recorded), standing)
        return recorded

    async def undo(self, judgement_id: str) -> list[Judgement]:
        """Undo a judgement, on every copy of its song: what stood before stands again, unless a newer one does.

        Returns:
            What was undone: nothing if there is no such judgement, or if it was undone before.
        """
        undone_at = datetime.now(UTC)
        async with self._database.write("judged") as connection:
            rows = await connection.execute(
                select(_judgements.c.song).where(_judgements.c.id == judgement_id)
            )
            history = await self._history(connection, set(rows.scalars()))
            undone = [one for one in history if one.id == judgement_id and one.undone_at is None]
            await connection.execute(
                update(_judgements)
                .where(_judgements.c.id == judgement_id, _judgements.c.undone_at.is_(None))
                .values(undone_at=undone_at)
            )
            left = [one for one in history if one not in undone]
            await _update_songs(connection, _subjects(undone), _by_subject(left))
        return [replace(one, undone_at=undone_at) for one in undone]

    async def of_song(self, row_id: int) -> list[Judgement]:
        """Every judgement of a song, undone ones too, oldest first; by the number of the song's row."""
        async with self._database.read() as connection:
            return await _of_songs(connection, [row_id])

    async def standing(self, row_id: int, kind: JudgementKind) -> Judgement | None:
        """The judgement of a kind that stands on a song; None without one."""
        found = [one for one in await self.of_song(row_id) if one.kind is kind and one.undone_at is None]
        return found[-1] if found else None

    async def _history(self, connection: Connection, songs: set[int]) -> list[Judgement]:
        """Every judgement of these songs, oldest first; until the transaction ends, nobody else judges them."""
        found = []
        for chunk in _chunks(sorted(songs)):
            if not self._database.is_sqlite:
                await connection.execute(
                    select(_songs.c.id).where(_songs.c.id.in_(chunk)).order_by(_songs.c.id).with_for_update()
                )
            found += await _of_songs(connection, chunk)
        return found


async def _of_songs(connection: Connection, songs: Sequence[int]) -> list[Judgement]:
    rows = await connection.execute(select(_judgements).where(_judgements.c.song.in_(songs)))
    return sorted((Judgement.from_row(dict(row)) for row in rows.mappings()), key=_order)


def _dated(new: Iterable[Judgement], history: Iterable[Judgement]) -> list[Judgement]:
    """Judgements with their times: those of now come after all others, also where a clock was set back."""
    newest: dict[_Subject, datetime] = {}
    for one in history:
        if one.at is not None:
            newest[one.song, one.kind] = max(one.at, newest.get((one.song, one.kind), one.at))
    dated = []
    for one in new:
        subject = (one.song, one.kind)
        if one.at is None:
            now = datetime.now(UTC)
            one = replace(one, at=max(now, newest[subject] + _TICK) if subject in newest else now)
        assert one.at is not None
        newest[subject] = max(one.at, newest.get(subject, one.at))
        dated.append(one)
    return dated


def _by_subject(judgements: Iterable[Judgement]) -> dict[_Subject, list[Judgement]]:
    """The judgements that are not undone, by song and kind, oldest first."""
    found: dict[_Subject, list[Judgement]] = {}
    for one in sorted(judgements, key=_order):
        if one.undone_at is None:
            found.setdefault((one.song, one.kind), []).append(one)
    return found


def _before(one: Judgement, standing: Mapping[_Subject, Sequence[Judgement]]) -> float | str | None:
    line = standing[one.song, one.kind]
    at = line.index(one)
    return line[at - 1].value if at else None


def _subjects(judgements: Iterable[Judgement]) -> set[_Subject]:
    return {(one.song, one.kind) for one in judgements if one.kind in _STANDING}


async def _update_songs(
    connection: Connection, subjects: set[_Subject], standing: Mapping[_Subject, Sequence[Judgement]]
) -> None:
    """Write what stands now into the rows of songs; without a value, nobody gave one."""
    for kind, columns in _STANDING.items():
        rows = []
        for song in sorted(song for song, other in subjects if other is kind):
            line = standing.get((song, kind))
            last = line[-1] if line and line[-1].value is not None else None
            values = (None, None, None) if last is None else (last.value, last.at, last.by)
            rows.append({"which": song, **dict(zip(columns, values, strict=True))})
        if rows:
            statement = update(_songs).where(_songs.c.id == bindparam("which"))
            await connection.execute(statement.values({name: bindparam(name) for name in columns}), rows)


def _order(one: Judgement) -> tuple[datetime | None, str]:
    return one.at, one.id


def _clean(one: Judgement) -> Judgement:
    """A judgement as databases take it; the row of its song gets the same."""
    value = clean_text(one.value) if isinstance(one.value, str) else one.value
    return replace(one, value=value, by=clean_text(one.by))


def _text(value: float | str | None) -> str | None:
    return None if value is None else str(value)


def _value(kind: JudgementKind, text: str | None) -> float | str | None:
    return float(text) if kind is JudgementKind.RATING and text is not None else text


def _chunks(songs: Sequence[int]) -> Iterable[Sequence[int]]:
    return (songs[start : start + _CHUNK] for start in range(0, len(songs), _CHUNK))
