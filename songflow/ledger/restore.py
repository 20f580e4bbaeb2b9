"""Rows made from songs' own stories: added where the ledger knows nothing, never over what it knows.

A rebuilt submission has succeeded and was paid for, so its price is counted as spent (in all and on its day)
without asking any cap: that money is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update

from songflow.families.family import Request
from songflow.families.registry import body_hash
from songflow.gateways import place_of
from songflow.ledger import schema
from songflow.ledger.engine import Connection, Database
from songflow.ledger.lease import Lease
from songflow.ledger.money import count_spent
from songflow.ledger.queries import one_generation
from songflow.ledger.rows import Song, Submission, lease_columns
from songflow.ledger.songs import songs_where
from songflow.ledger.states import SongState, State
from songflow.ledger.upsert import upsert

__all__ = ["RestorableSong", "Restore", "RestoreOutcome"]

_generations, _submissions, _songs = schema.generations, schema.submissions, schema.songs
# No fingerprint of a key is in a song's file.
_UNKNOWN_FINGERPRINT = "unknown"


@dataclass(frozen=True, slots=True)
class RestorableSong:
    """One stored song as its story tells it: what was asked for, and the columns of its two rows.

    `submission` and `song` hold what this module does not know itself: states, leases and money are its own.
    """

    key: str
    request: Request
    hash_version: int
    submission: Mapping[str, Any]
    song: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """What became of it: `added`, or `known` already by this row, or refused for a `reason`."""

    added: bool = False
    known: Song | None = None
    reason: str | None = None


class Restore:
    """The transactions of a rebuild; each may be repeated by anybody at any time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def places(self) -> set[tuple[str, str]]:
        """The gateways that this ledger's submissions went to, as (adapter, base URL)."""
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(_submissions.c.gateway, _submissions.c.base_url).distinct()
            )
            return {(row.gateway, row.base_url) for row in rows}

    async def add(self, found: Sequence[RestorableSong]) -> list[RestoreOutcome]:
        """Add what the ledger does not know, in one transaction; an outcome for each, in order."""
        async with self._database.write("rebuilt") as connection:
            return [await _restore(connection, one) for one in found]

    async def adopt(self, song: Song, found: RestorableSong) -> bool:
        """A file whose row was never written is the take that still waits for one; False where it no longer waits."""
        async with self._database.write("rebuilt") as connection:
            if await songs_where(connection, "path", found.song["path"]):
                return False
            result = await connection.execute(
                update(_songs)
                .where(_songs.c.id == song.id, _songs.c.state == SongState.ANNOUNCED)
                .values(**found.song, state=SongState.STORED, error=None)
            )
            return result.rowcount == 1

    async def move(self, song: Song, path: str, cover_path: str | None) -> bool:
        """The very same file lies elsewhere now; False where the row has moved meanwhile."""
        async with self._database.write("rebuilt") as connection:
            if await songs_where(connection, "path", path):
                return False
            result = await connection.execute(
                update(_songs)
                .where(_songs.c.id == song.id, _songs.c.path == song.path)
                .values(path=path, cover_path=cover_path)
            )
            return result.rowcount == 1


async def _restore(connection: Connection, one: RestorableSong) -> RestoreOutcome:
    reason = await _contradiction(connection, one)
    if reason is not None:
        return RestoreOutcome(reason=reason)
    submission_id, take = one.submission["id"], one.song["take"]
    for song in await songs_where(connection, "submission_id", submission_id):
        if song.take != take:
            continue
        if song.song_id == one.song["song_id"]:
            return RestoreOutcome(known=song)
        return RestoreOutcome(reason=f"the ledger knows this take as the song {song.song_id}")
    if await songs_where(connection, "path", one.song["path"]):
        return RestoreOutcome(reason="the ledger knows this path as another song's")
    await _add_generation(connection, one)
    await _add_submission(connection, one)
    await connection.execute(
        insert(_songs).values(
            **one.song,
            submission_id=submission_id,
            key=one.key,
            state=SongState.STORED,
            mode=one.request.mode.value,
            parent_song_id=one.request.source_song_id,
        )
    )
    return RestoreOutcome(added=True)


async def _contradiction(connection: Connection, one: RestorableSong) -> str | None:
    """Why a story cannot stand beside what the ledger knows, or None."""
    generation = await one_generation(connection, one.key)
    if generation is not None:
        told = body_hash(one.request.body(), generation.hash_version)
        if told != generation.body_hash:
            return "its key stands for another request in the ledger"
    told_id, ordinal = one.submission["id"], one.submission["ordinal"]
    of_place = (_submissions.c.key == one.key) & (_submissions.c.ordinal == ordinal)
    rows = await connection.execute(select(_submissions).where((_submissions.c.id == told_id) | of_place))
    for row in rows.mappings():
        known = Submission.from_row(dict(row))
        if known.state is not State.SUCCEEDED:
            return f"the ledger still looks after its generation (state '{known.state}')"
        place = place_of(one.submission["gateway"], one.submission["base_url"])
        same_place = known.place == place and known.key == one.key
        if not same_place or any(getattr(known, name) != one.submission[name] for name in _TELL_APART):
            return "the ledger knows its generation otherwise"
    return None


_TELL_APART = ("id", "ordinal", "generation_id")


async def _add_generation(connection: Connection, one: RestorableSong) -> None:
    await upsert(
        connection,
        _generations,
        {
            "key": one.key,
            "body": one.request.canonical(),
            "body_hash": body_hash(one.request.body(), one.hash_version),
            "hash_version": one.hash_version,
            "created_at": one.submission["intended_at"],
        },
    )


async def _add_submission(connection: Connection, one: RestorableSong) -> None:
    told = one.submission
    known = await connection.execute(select(_submissions.c.id).where(_submissions.c.id == told["id"]))
    if known.first() is not None:
        return
    day = told["intended_at"].date().isoformat()
    await connection.execute(
        insert(_submissions).values(
            **told,
            key=one.key,
            state=State.SUCCEEDED,
            key_fingerprint=_UNKNOWN_FINGERPRINT,
            model_type=one.request.model_type,
            mode=one.request.mode.value,
            budget_day=day,
            **lease_columns(Lease.take(0.0)),
        )
    )
    await count_spent(connection, price=told["price"], day=day)
