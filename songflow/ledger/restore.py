"""Restore ledger rows from the metadata of song files, and from the spool; existing rows are never overwritten.

A song's submission has succeeded and was paid for, so its price is counted as spent (in total and on its day)
regardless of caps. So is one that the spool knows as accepted, and the ledger not; it is collected next.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update

from songflow.errors import InvalidRequest
from songflow.families.family import Request
from songflow.families.registry import body_hash, request_of
from songflow.gateways import place_of
from songflow.ledger import schema
from songflow.ledger.answers import store_answer
from songflow.ledger.engine import Connection, Database
from songflow.ledger.lease import Lease
from songflow.ledger.money import count_reserved, count_spent, release_held
from songflow.ledger.queries import lock_name, one_generation, submissions_of
from songflow.ledger.rows import Song, Submission, clean_text, json_list, lease_columns
from songflow.ledger.songs import songs_where
from songflow.ledger.spool import SpooledIntent, SpoolEntry
from songflow.ledger.states import RULES, Billed, SongState, State
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
    """The transactions of a rebuild, and of a ledger that is older than its spool; each may be repeated at any time."""

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

    async def move(self, song: Song, path: str, columns: Mapping[str, Any]) -> bool:
        """Record the new path of a moved file, and what else has changed; False if the row has changed meanwhile."""
        async with self._database.write("rebuilt") as connection:
            if await songs_where(connection, "path", path):
                return False
            result = await connection.execute(
                update(_songs)
                .where(_songs.c.id == song.id, _songs.c.path == song.path)
                .values(path=path, **columns)
            )
            return result.rowcount == 1

    async def missing(self, entries: Sequence[SpoolEntry]) -> list[SpoolEntry]:
        """Of each submission that was or may be billed by the spool, its entry, if the ledger does not know of it.

        The ledger does not know if it has no row, or one that says that nothing was billed: it was restored from a
        backup that is older than the answer.
        """
        paid: dict[str, SpoolEntry] = {}
        for entry in entries:
            known = paid.get(entry.submission_id)
            if entry.may_be_paid and (known is None or entry.is_accepted or not known.is_accepted):
                paid[entry.submission_id] = entry
        ids = list(paid)
        async with self._database.read() as connection:
            for start in range(0, len(ids), _CHUNK):
                chunk = ids[start : start + _CHUNK]
                rows = await connection.execute(_STATES.where(_submissions.c.id.in_(chunk)))
                for row in rows:
                    if RULES[State(row.state)].billed is not Billed.NO:
                        del paid[row.id]
        return list(paid.values())

    async def take_in(self, entry: SpoolEntry) -> str | None:
        """Add the rows of a spool's entry; returns the reason why it cannot be done, or None.

        It becomes `accepted`, or `unknown` where the spool knows no more, under a lease that has ended.
        """
        try:
            columns = _spooled_columns(entry)
        except (InvalidRequest, TypeError, ValueError, AttributeError, KeyError):
            columns = None
        if columns is None or entry.intent is None:
            return "the spool does not have its request"
        async with self._database.write("rebuilt") as connection:
            # Two rescues at once would count its price twice.
            await lock_name(connection, f"restore {entry.submission_id}")
            rows = await connection.execute(
                select(_submissions).where(_submissions.c.id == entry.submission_id)
            )
            row = rows.mappings().one_or_none()
            if row is not None:
                reason = await _correct(connection, Submission.from_row(dict(row)), columns)
                if reason is None and entry.answer is not None:
                    await store_answer(connection, entry.submission_id, "submit", entry.answer)
                return reason
            generation = await one_generation(connection, entry.key)
            if generation is None:
                await _add_spooled_generation(connection, entry.key, entry.intent)
            elif body_hash(json.loads(entry.intent.body), generation.hash_version) != generation.body_hash:
                return "its key belongs to another request in the ledger"
            known = await submissions_of(connection, entry.key)
            if entry.generation_id and any(one.generation_id == entry.generation_id for one in known):
                return "the ledger has its id under another submission of this key"
            ordinals = {one.ordinal for one in known}
            if columns["ordinal"] in ordinals:
                columns["ordinal"] = max(ordinals) + 1
            await connection.execute(insert(_submissions).values(columns))
            await _count(connection, columns)
            if entry.answer is not None:
                await store_answer(connection, entry.submission_id, "submit", entry.answer)
        return None


_CHUNK = 1000
_STATES = select(_submissions.c.id, _submissions.c.state)


def _spooled_columns(entry: SpoolEntry) -> dict[str, Any] | None:
    """The row of an entry's submission; None without an intent."""
    intent = entry.intent
    if intent is None:
        return None
    request_of(json.loads(intent.body))  # it may be damaged, or of a later version
    answered_at = datetime.fromisoformat(entry.accepted_at)
    price = float(intent.price)
    return {
        "id": entry.submission_id,
        "key": entry.key,
        "ordinal": int(intent.ordinal),
        "state": State.ACCEPTED if entry.is_accepted else State.UNKNOWN,
        "gateway": entry.gateway,
        "dialect": intent.dialect,
        "base_url": entry.base_url,
        "account": entry.account,
        "key_fingerprint": intent.key_fingerprint,
        "price": price,
        "held": 0.0 if entry.is_accepted else price,
        "generation_id": clean_text(entry.generation_id),
        "track_ids": json_list(entry.track_ids),
        "error": None if entry.is_accepted else clean_text(entry.reason or "its answer was lost"),
        "model_type": intent.model_type,
        "mode": intent.mode,
        "budget_day": intent.budget_day,
        "budget_run": intent.budget_run,
        "flow_run_id": intent.flow_run_id,
        "root_flow_run_id": intent.root_flow_run_id,
        "task_run_id": intent.task_run_id,
        "intended_at": datetime.fromisoformat(intent.intended_at),
        "sending_at": answered_at,
        "answered_at": answered_at if entry.is_accepted else None,
        "settled_at": None if entry.is_accepted else answered_at,
        **lease_columns(Lease.take(0.0)),
    }


async def _correct(connection: Connection, current: Submission, columns: Mapping[str, Any]) -> str | None:
    """Correct a row from before the answer, which says that nothing was billed."""
    if RULES[current.state].billed is not Billed.NO:
        return None
    if not current.lease.is_dead():
        return "another process is about to send it"
    await release_held(connection, current.id)
    changed = {name: value for name, value in columns.items() if name not in ("id", "key", "ordinal")}
    await connection.execute(update(_submissions).where(_submissions.c.id == current.id).values(changed))
    await _count(connection, columns)
    return None


async def _count(connection: Connection, columns: Mapping[str, Any]) -> None:
    price, day, run = columns["price"], columns["budget_day"], columns["budget_run"]
    if columns["held"]:
        await count_reserved(connection, price=price, day=day, run=run)
    else:
        await count_spent(connection, price=price, day=day, run=run)


async def _add_spooled_generation(connection: Connection, key: str, intent: SpooledIntent) -> None:
    await upsert(
        connection,
        _generations,
        {
            "key": key,
            "body": intent.body,
            "body_hash": intent.body_hash,
            "hash_version": intent.hash_version,
            "created_at": datetime.fromisoformat(intent.intended_at),
        },
    )


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
