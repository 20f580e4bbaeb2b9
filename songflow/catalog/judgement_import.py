"""Take a file of judgements into the ledger: find its songs, and record what is new."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from songflow.catalog.judgement_file import JudgedSong, JudgementFile
from songflow.catalog.judging import are_one_song, checked_value
from songflow.ledger import schema
from songflow.ledger.engine import Connection
from songflow.ledger.judgements import Judgement, JudgementKind
from songflow.ledger.ledger import Ledger

__all__ = ["TakenIn", "take_in"]

_songs, _submissions = schema.songs, schema.submissions
_CHUNK = 500
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What became of the judgements of a file.

    Attributes:
        recorded: How many are new.
        known: How many the ledger had already.
        decided: The numbers of the rows of songs with a decision in the file, new or known: those in the trash that are
            no longer discarded are to be moved back.
        unknown: The songs that this library does not have, each once, with the number of judgements on it.
    """

    recorded: int
    known: int
    decided: frozenset[int] = frozenset()
    unknown: dict[str, int] = field(default_factory=dict)


async def take_in(ledger: Ledger, file: JudgementFile, *, by: str | None = None) -> TakenIn:
    """Record the judgements of a file; taken in twice, or again after a kill, they count once.

    Each transaction is short, so that nobody who pays meanwhile has to wait for it.

    Args:
        by: Whose they are where the file does not say.
    """
    wanted = {
        one for record in file.judgements for one in (record.song, record.other_song) if one is not None
    }
    async with ledger.database.read() as connection:
        found = await _Finder.of(connection, wanted)
    judgements: list[Judgement] = []
    unknown: dict[str, int] = {}
    for record in file.judgements:
        songs = found.rows_of(record.song)
        losers = found.rows_of(record.other_song) if record.other_song is not None else []
        missing = (
            record.song if not songs else record.other_song if record.other_song and not losers else None
        )
        if missing is not None:
            unknown[missing.name] = unknown.get(missing.name, 0) + 1
            continue
        value, who = checked_value(record.kind, record.value), record.by or file.by or by
        other = losers[0] if losers else None
        judgements += [
            Judgement(song, record.kind, value, other_song=other, by=who, at=record.at, id=record.id)
            for song in songs
        ]
    recorded: list[Judgement] = []
    for start in range(0, len(judgements), _AT_ONCE):
        recorded += await ledger.judgements.record(judgements[start : start + _AT_ONCE])
    new = {one.id for one in recorded}
    decided = frozenset(one.song for one in judgements if one.kind is JudgementKind.DECISION)
    return TakenIn(len(new), len({one.id for one in judgements}) - len(new), decided, unknown)


class _Finder:
    """The rows of the songs that a file names."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._by_audio: dict[str, list[Any]] = {}
        self._by_take: dict[tuple[str, int], list[Any]] = {}
        self._by_id: dict[tuple[str, str], list[Any]] = {}
        for row in {row.id: row for row in rows}.values():
            if row.audio_sha256 is not None:
                self._by_audio.setdefault(row.audio_sha256, []).append(row)
            self._by_take[row.submission_id, row.take] = [row]
            if row.song_id is not None:
                self._by_id.setdefault((row.gateway, row.song_id), []).append(row)

    @classmethod
    async def of(cls, connection: Connection, wanted: Iterable[JudgedSong]) -> _Finder:
        """Read the rows that any of the names may mean."""
        songs = list(wanted)
        rows: list[Any] = []
        for name, column in (
            ("audio_sha256", _songs.c.audio_sha256),
            ("submission", _songs.c.submission_id),
            ("song_id", _songs.c.song_id),
        ):
            values = sorted({getattr(one, name) for one in songs} - {None})
            for start in range(0, len(values), _CHUNK):
                statement = (
                    select(
                        _songs.c.id, _songs.c.submission_id, _songs.c.key, _songs.c.take, _songs.c.song_id,
                        _songs.c.path, _songs.c.audio_sha256, _submissions.c.gateway,
                    )
                    .join(_submissions, _submissions.c.id == _songs.c.submission_id)
                    .where(column.in_(values[start : start + _CHUNK]))
                    .order_by(_songs.c.id)
                )  # fmt: skip
                rows += (await connection.execute(statement)).all()
        return cls(rows)

    def rows_of(self, song: JudgedSong) -> list[int]:
        """The numbers of the rows of one song and its copies; none if it is unknown, or not one song."""
        for rows in self._candidates(song):
            stored = [row for row in rows if row.path is not None] or list(rows)
            if len({row.key for row in stored}) == 1:
                # One generation may give several takes the same id.
                stored = [row for row in stored if row.take == song.take] or stored
            if stored and (len(stored) == 1 or are_one_song(stored)):
                return [row.id for row in stored]
        return []

    def _candidates(self, song: JudgedSong) -> Iterable[Sequence[Any]]:
        same_audio = self._by_audio.get(song.audio_sha256 or "", [])
        yield [row for row in same_audio if row.song_id == song.song_id] or same_audio
        if song.submission is not None and song.take is not None:
            yield self._by_take.get((song.submission, song.take), [])
        if song.gateway is not None and song.song_id is not None:
            yield self._by_id.get((song.gateway, song.song_id), [])
