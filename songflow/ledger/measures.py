"""Measures of stored songs: which songs have none yet, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime

from sqlalchemy import or_, select

from songflow.audio.measures import MEASURES_VERSION, Measures
from songflow.ledger import schema
from songflow.ledger.engine import Database
from songflow.ledger.states import SongState
from songflow.ledger.upsert import upsert

__all__ = ["SongMeasures", "Unmeasured"]

_songs, _measures = schema.songs, schema.measures
_NAMES = tuple(one.name for one in fields(Measures))
_NOTHING = dict.fromkeys(_NAMES)


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """A stored song that has no measures of this version.

    Attributes:
        id: The number of its row.
        path: Its file.
        seconds: Its length; None if it could not be decoded when it was stored.
    """

    id: int
    path: str
    seconds: float | None


class SongMeasures:
    """Measures by the songs' rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def may_write(self) -> bool:
        """False if nothing can be recorded."""
        return self._database.may_write

    async def missing(
        self, *, keys: Sequence[str] | None = None, after: int = 0, limit: int = 1000
    ) -> list[Unmeasured]:
        """Stored songs without measures of this version, in the order of their rows.

        Args:
            keys: Only the takes of these request keys (1,000 at most).
            after: Only rows behind this one.
            limit: The most rows.
        """
        wanted = (
            select(_songs.c.id, _songs.c.path, _songs.c.seconds)
            .join(_measures, _measures.c.song == _songs.c.id, isouter=True)
            .where(
                _songs.c.id > after,
                _songs.c.state == SongState.STORED,
                _songs.c.path.is_not(None),
                _songs.c.trashed_at.is_(None),
                or_(_measures.c.version.is_(None), _measures.c.version < MEASURES_VERSION),
            )
            .order_by(_songs.c.id)
            .limit(limit)
        )
        if keys is not None:
            wanted = wanted.where(_songs.c.key.in_(keys))
        async with self._database.read() as connection:
            return [Unmeasured(*row) for row in await connection.execute(wanted)]

    async def record(self, measured: Mapping[int, Measures | None]) -> None:
        """Write the measures of songs, by their rows, in one transaction; None for a file that cannot be decoded."""
        now = datetime.now(UTC)
        rows = [
            {
                "song": song,
                "version": MEASURES_VERSION,
                "measured_at": now,
                **(_NOTHING if found is None else asdict(found)),
            }
            for song, found in measured.items()
        ]
        if not rows:
            return
        async with self._database.write("songs measured") as connection:
            await upsert(connection, _measures, rows, replace=("version", "measured_at", *_NAMES))

    async def of_songs(self, rows: Sequence[int]) -> dict[int, Measures]:
        """The measures of songs by their rows; songs without measures are left out."""
        wanted = select(_measures.c.song, *(_measures.c[name] for name in _NAMES)).where(
            _measures.c.song.in_(rows), _measures.c.silence_start.is_not(None)
        )
        async with self._database.read() as connection:
            return {song: Measures(*values) for song, *values in await connection.execute(wanted)}
