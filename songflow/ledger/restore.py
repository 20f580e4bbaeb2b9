"""Restore ledger rows from the metadata of song files; existing rows are never overwritten.

A restored submission has succeeded and was paid for, so its price is counted as spent (in total and on its day)
regardless of caps.
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
# A song file contains no fingerprint of a key.
_UNKNOWN_FINGERPRINT = "unknown"


@dataclass(frozen=True, slots=True)
class RestorableSong:
    """One stored song from its file's metadata: its request and the columns of its two rows.

    `submission` and `song` lack the columns that this module sets itself: states, leases and money.
    """

    key: str
    request: Request
    hash_version: int
    submission: Mapping[str, Any]
    song: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RestoreOutcome:
    """The outcome for one song: `added`, or already `known` as this row, or refused for a `reason`."""

    added: bool = False
    known: Song | None = None
    reason: str | None = None


class Restore:
    """The transactions of a rebuild; each may be repeated at any time, by any process."""

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
        """Add unknown songs in one transaction; returns one outcome per song, in order."""
        async with self._database.write("rebuilt") as connection:
            return [await _restore(connection, one) for one in found]

    async def adopt(self, song: Song, found: RestorableSong) -> bool:
        """Assign a file to an announced take that has no file yet; False if the take got one meanwhile."""
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
        """Record the new path of a moved file; False if the row has changed meanwhile."""
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
    """Why a file's metadata contradicts the ledger, or None."""
    generation = await one_generation(connection, one.key)
    if generation is not None:
        found = body_hash(one.request.body(), generation.hash_version)
        if found != generation.body_hash:
            return "its key belongs to another request in the ledger"
    found_id, ordinal = one.submission["id"], one.submission["ordinal"]
    of_place = (_submissions.c.key == one.key) & (_submissions.c.ordinal == ordinal)
    rows = await connection.execute(select(_submissions).where((_submissions.c.id == found_id) | of_place))
    for row in rows.mappings():
        known = Submission.from_row(dict(row))
        if known.state is not State.SUCCEEDED:
            return f"its generation is unfinished in the ledger (state '{known.state}')"
        place = place_of(one.submission["gateway"], one.submission["base_url"])
        same_place = known.place == place and known.key == one.key
        if not same_place or any(getattr(known, name) != one.submission[name] for name in _IDENTITY):
            return "its generation differs in the ledger"
    return None


_IDENTITY = ("id", "ordinal", "generation_id")


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
    columns = one.submission
    known = await connection.execute(select(_submissions.c.id).where(_submissions.c.id == columns["id"]))
    if known.first() is not None:
        return
    day = columns["intended_at"].date().isoformat()
    await connection.execute(
        insert(_submissions).values(
            **columns,
            key=one.key,
            state=State.SUCCEEDED,
            key_fingerprint=_UNKNOWN_FINGERPRINT,
            model_type=one.request.model_type,
            mode=one.request.mode.value,
            budget_day=day,
            **lease_columns(Lease.take(0.0)),
        )
    )
    await count_spent(connection, price=columns["price"], day=day)
