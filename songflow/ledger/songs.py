"""Songs: the takes that a finished generation announced, and their storage."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, insert, or_, select, update

from songflow.documents.text import PATH_SIGNS, joined_notes, short_name
from songflow.ledger import schema
from songflow.ledger.answers import store_answer
from songflow.ledger.engine import Connection, Database
from songflow.ledger.money import COUNTED, settle_money
from songflow.ledger.queries import is_one_of, lock_name, one_submission
from songflow.ledger.rows import (
    Generation,
    Song,
    SourceFound,
    StoredFile,
    Submission,
    Timing,
    clean_text,
    json_list,
)
from songflow.ledger.states import SongState, State, sources_of
from songflow.runtime.records import plain

__all__ = ["AnnouncedTake", "Lineage", "Origin", "Songs", "payload_text", "songs_where"]

_songs, _submissions, _generations = schema.songs, schema.submissions, schema.generations
_ONLY_GENERATION = ("body", "body_hash", "hash_version", "created_at")

_ALL_BUT_PAYLOAD = select(*(column for column in _songs.c if column.name != "payload")).order_by(_songs.c.id)
_WHERE = {
    name: _ALL_BUT_PAYLOAD.where(_songs.c[name] == bindparam("wanted"))
    for name in ("id", "key", "submission_id", "song_id", "path")
}
# Songs and submissions have names in common.
_OF_SONG = {f"song_{column.name}": column.name for column in _songs.c}
_ORIGIN = (
    select(
        *_submissions.c,
        *(_generations.c[name] for name in _ONLY_GENERATION),
        *(_songs.c[name].label(label) for label, name in _OF_SONG.items()),
    )
    .join_from(_songs, _submissions, _submissions.c.id == _songs.c.submission_id)
    .join(_generations, _generations.c.key == _submissions.c.key)
    .where(_songs.c.id == bindparam("wanted"))
)
_LOCK_SUBMISSION = select(_submissions.c.id).where(_submissions.c.id == bindparam("wanted")).with_for_update()
_END = {
    state: update(_submissions)
    .where(_submissions.c.id == bindparam("which"), is_one_of(_submissions.c.state, sources_of(state)))
    .returning(*COUNTED)
    for state in (State.SUCCEEDED, State.FAILED)
}
_NEW_SONGS = insert(_songs)
_SET_SONG = update(_songs).where(_songs.c.id == bindparam("which"))
# Another process may have stored it since its row was read.
_SET_WAITING_SONG = _SET_SONG.where(_songs.c.state != SongState.STORED)


@dataclass(frozen=True, slots=True)
class AnnouncedTake:
    """One take as announced by a gateway; `error` is the gateway's reason if the take failed.

    `complete`: there is nothing to fetch, so it is stored with this row.
    """

    song_id: str | None
    title: str | None
    tags: tuple[str, ...]
    lyrics: str | None
    seconds: float | None
    song_url: str | None
    image_url: str | None
    error: str | None
    payload: str
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Lineage:
    """The request's mode and the song it extends, if any."""

    mode: str
    parent_song_id: str | None


@dataclass(frozen=True, slots=True)
class Origin:
    """A song with its submission, its generation and the gateway's raw payload."""

    song: Song
    submission: Submission
    generation: Generation
    payload: str


class Songs:
    """Transactions on songs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ended(
        self,
        submission_id: str,
        key: str,
        lineage: Lineage,
        takes: Sequence[AnnouncedTake],
        payload: Mapping[str, Any],
        failure: str | None = None,
        refund: bool = False,
        timing: Timing | None = None,
    ) -> list[Song]:
        """Commit the end of a generation in one transaction: its state, the raw payload and a row per take.

        A second call (a late take, a fresh URL) updates known takes and adds new ones.

        Args:
            submission_id: The submission.
            key: Its request key.
            lineage: The request's mode and source.
            takes: The announced takes, in order.
            payload: The gateway's raw answer.
            failure: The reason if the generation failed as a whole.
            refund: Whether the gateway refunds a failure.
            timing: The observed duration, if it was waited for.
        """
        state = State.SUCCEEDED if failure is None else State.FAILED
        async with self._database.write(str(state)) as connection:
            if not self._database.is_sqlite:
                # Serialize processes that see the same end, so that no take gets two rows.
                await connection.execute(_LOCK_SUBMISSION, {"wanted": submission_id})
            moved = await connection.execute(
                _END[state],
                {
                    "which": submission_id,
                    "state": state,
                    "error": clean_text(failure),
                    "written_off_at": None,  # written off too early: its songs are collected after all
                    **_ending(timing),
                },
            )
            row = moved.mappings().one_or_none()
            if row is not None:
                await settle_money(connection, row, state, refund=refund)
            await store_answer(connection, submission_id, "fetch", payload)
            known = await songs_where(connection, "submission_id", submission_id)
            common = {
                "submission_id": submission_id,
                "key": key,
                "mode": lineage.mode,
                "parent_song_id": lineage.parent_song_id,
                **await _descent(connection, submission_id, lineage.parent_song_id),
            }
            new: list[dict[str, Any]] = []
            for take, song in zip(takes, _match(known, takes), strict=True):
                if song is None:
                    new.append(_new_row(take, len(known) + len(new), common))
                elif song.state is not SongState.STORED:
                    await connection.execute(
                        _SET_WAITING_SONG, {"which": song.id, **_announced_columns(take)}
                    )
            if new:
                await connection.execute(_NEW_SONGS, new)
            return await songs_where(connection, "submission_id", submission_id)

    async def stored(self, song: Song, file: StoredFile, source: SourceFound | None = None) -> Song:
        """Record that a take is stored; `source` describes how an extension contains its source."""
        found = source or SourceFound()
        return await self._update(
            "song stored",
            song,
            {
                **plain(file),
                **plain(found),
                "note": joined_notes(found.note, file.note),
                "state": SongState.STORED,
                "error": None,
            },
        )

    async def joined(
        self,
        part: Song,
        path: str,
        by: str,
        found: SourceFound,
        *,
        ends: tuple[str, ...],
        whole: tuple[Song, StoredFile] | None = None,
    ) -> Song:
        """Record the whole song that an extension's new part was joined into.

        Args:
            part: The new part.
            path: Where the whole song is.
            by: Who joined it.
            found: How it contains its source.
            ends: How the remarks begin that are not true any more.
            whole: The take in which the gateway gave it, and its file; recorded as stored in the same transaction.
        """
        async with self._database.write("song stored") as connection:
            if whole is not None:
                song, file = whole
                row = {**plain(file), **plain(found), "note": joined_notes(found.note, file.note)}
                await connection.execute(
                    _SET_SONG, {"which": song.id, **row, "state": SongState.STORED, "error": None}
                )
            [current] = await songs_where(connection, "id", part.id)
            notes = [one for one in (current.note or "").split("; ") if one and not one.startswith(ends)]
            await connection.execute(
                _SET_SONG,
                {
                    "which": part.id,
                    **plain(found),
                    "note": joined_notes(*notes, found.note),
                    "whole_path": path,
                    "joined_by": by,
                },
            )
            return (await songs_where(connection, "id", part.id))[0]

    async def problem(self, song: Song, error: str) -> Song:
        """Record why a take could not be stored; it stays announced and is tried again later."""
        async with self._database.write("song problem") as connection:
            await connection.execute(_SET_WAITING_SONG, {"which": song.id, "error": clean_text(error)})
            return (await songs_where(connection, "id", song.id))[0]

    @asynccontextmanager
    async def moving(self, song: Song) -> AsyncIterator[None]:
        """Take turns with the moves of a song's files on other machines; SQLite has only this one."""
        if self._database.is_sqlite:
            yield
            return
        async with self._database.read() as connection:
            await lock_name(connection, f"move {song.id}")
            yield

    async def moved(self, song: Song, places: Mapping[str, str], *, to_trash: bool) -> Song:
        """Record that files of a song were moved: in its row, and in that of the new part that it is the whole of.

        Args:
            song: The song.
            places: The new address of each file by its old one.
            to_trash: Whether they are in the trash now.
        """
        async with self._database.write("song moved") as connection:
            [current] = await songs_where(connection, "id", song.id)
            files = {name: getattr(current, name) for name in ("path", "cover_path", "whole_path")}
            values: dict[str, Any] = {name: places.get(path or "", path) for name, path in files.items()}
            values["trashed_at"] = (current.trashed_at or datetime.now(UTC)) if to_trash else None
            await connection.execute(_SET_SONG, {"which": song.id, **values})
            if current.parent_song_id is not None and current.path is not None:
                part = (_songs.c.song_id == current.parent_song_id) & (_songs.c.whole_path == current.path)
                await connection.execute(update(_songs).where(part).values(whole_path=values["path"]))
            return replace(current, **values)

    async def shares_cover(self, song: Song) -> bool:
        """True if another song has the same cover file."""
        async with self._database.read() as connection:
            others = select(_songs.c.id).where(_songs.c.cover_path == song.cover_path, _songs.c.id != song.id)
            return (await connection.execute(others.limit(1))).first() is not None

    async def add_note(self, song: Song, note: str) -> None:
        """Append a remark to a song's note, unless the note contains it."""
        async with self._database.write("song noted") as connection:
            [current] = await songs_where(connection, "id", song.id)
            notes = [*(current.note.split("; ") if current.note else ()), clean_text(note)]
            note_text = "; ".join(dict.fromkeys(one for one in notes if one))
            await connection.execute(update(_songs).where(_songs.c.id == song.id).values(note=note_text))

    async def get(self, row_id: int) -> Song:
        """The current row of a song."""
        async with self._database.read() as connection:
            return (await songs_where(connection, "id", row_id))[0]

    async def origin(self, row_id: int) -> Origin:
        """A song with everything that its file's metadata contains."""
        async with self._database.read() as connection:
            rows = await connection.execute(_ORIGIN, {"wanted": row_id})
            row = dict(rows.mappings().one())
        generation = Generation(row["key"], **{name: row[name] for name in _ONLY_GENERATION})
        song = {name: row[label] for label, name in _OF_SONG.items()}
        return Origin(Song.from_row(song), Submission.from_row(row), generation, song["payload"])

    async def of_key(self, key: str) -> list[Song]:
        """Every take of a request key, over all its submissions, in order."""
        async with self._database.read() as connection:
            return await songs_where(connection, "key", key)

    async def of_keys(self, keys: Sequence[str]) -> dict[str, list[Song]]:
        """Every take of each of these request keys (1,000 at most), in order; keys without takes are left out."""
        async with self._database.read() as connection:
            rows = await connection.execute(_ALL_BUT_PAYLOAD.where(_songs.c.key.in_(keys)))
            songs = [Song.from_row(dict(row)) for row in rows.mappings()]
        found: dict[str, list[Song]] = {}
        for song in songs:
            found.setdefault(song.key, []).append(song)
        return found

    async def of_rows(self, row_ids: Sequence[int]) -> list[Song]:
        """The songs of these rows (1,000 at most), in order."""
        async with self._database.read() as connection:
            rows = await connection.execute(_ALL_BUT_PAYLOAD.where(_songs.c.id.in_(row_ids)))
            return [Song.from_row(dict(row)) for row in rows.mappings()]

    async def of_submission(self, submission_id: str) -> list[Song]:
        """Every take of one submission, in order."""
        async with self._database.read() as connection:
            return await songs_where(connection, "submission_id", submission_id)

    async def by_song_id(self, song_id: str) -> list[Song]:
        """The songs with this gateway id (ids of two gateways may coincide), newest last."""
        async with self._database.read() as connection:
            return await songs_where(connection, "song_id", song_id)

    async def titles_by_prefix(self, prefix: str) -> dict[str, str | None]:
        """The gateway ids that begin with a text, or whose file name does, in order, each with the title of a song."""
        prefix, columns = clean_text(prefix) or "", (_songs.c.song_id, _songs.c.title)
        begins = _songs.c.song_id.startswith(prefix, autoescape=True)
        inside = (_songs.c.song_id.contains(f"{sign}{prefix}", autoescape=True) for sign in PATH_SIGNS)
        async with self._database.read() as connection:
            rows = await connection.execute(select(*columns).where(or_(begins, *inside)).order_by(*columns))
            # SQLite's LIKE takes capitals for small letters.
            return {
                song_id: title
                for song_id, title in rows
                if song_id.startswith(prefix) or short_name(song_id).startswith(prefix)
            }

    async def find(self, row_id: int) -> Song | None:
        """One song by the number of its row, or None."""
        async with self._database.read() as connection:
            return next(iter(await songs_where(connection, "id", row_id)), None)

    async def at_path(self, path: str) -> list[Song]:
        """The song stored at an absolute path or URL."""
        async with self._database.read() as connection:
            return await songs_where(connection, "path", path)

    async def _update(self, act: str, song: Song, values: Mapping[str, Any]) -> Song:
        async with self._database.write(act) as connection:
            await connection.execute(_SET_SONG, {"which": song.id, **values})
        return replace(song, **values)


def _ending(timing: Timing | None) -> dict[str, Any]:
    """The columns of a generation's end. An earlier `pending_at` stays if this wait has none."""
    if timing is None:
        return {"settled_at": datetime.now(UTC)}
    pending = {} if timing.pending_at is None else {"pending_at": timing.pending_at}
    settled_at = timing.finished_at or datetime.now(UTC)
    return {"settled_at": settled_at, "ran_seconds": timing.ran_seconds, **pending}


def _match(known: Sequence[Song], takes: Sequence[AnnouncedTake]) -> list[Song | None]:
    """The existing row of each take, matched by song id, each row once (ids can be duplicated)."""
    free = list(known)
    matched: list[Song | None] = []
    for take in takes:
        song = next((one for one in free if one.song_id == clean_text(take.song_id)), None)
        if song is not None:
            free.remove(song)
        matched.append(song)
    return matched


def _new_row(take: AnnouncedTake, number: int, common: Mapping[str, Any]) -> dict[str, Any]:
    root = common["root_song_id"] or clean_text(take.song_id)
    announced = _announced_columns(take)
    return {**common, **announced, "root_song_id": root, "take": number, "announced_at": datetime.now(UTC)}


def _announced_columns(take: AnnouncedTake) -> dict[str, Any]:
    failed = take.error is not None
    return {
        "song_id": clean_text(take.song_id),
        "state": SongState.FAILED if failed else SongState.STORED if take.complete else SongState.ANNOUNCED,
        "stored_at": datetime.now(UTC) if take.complete and not failed else None,
        "title": clean_text(take.title),
        "tags": json_list(take.tags),
        "lyrics": clean_text(take.lyrics),
        "announced_seconds": take.seconds,
        "song_url": clean_text(take.song_url),
        "image_url": clean_text(take.image_url),
        "error": clean_text(take.error),
        "payload": clean_text(take.payload),
    }


async def _descent(connection: Connection, submission_id: str, parent_song_id: str | None) -> dict[str, Any]:
    """Root and depth below a parent; a parent unknown at this gateway is itself the root."""
    if parent_song_id is None:
        return {"root_song_id": None, "depth": 0}
    place = (await one_submission(connection, submission_id)).place
    parents = [
        song
        for song in await songs_where(connection, "song_id", parent_song_id)
        if (await one_submission(connection, song.submission_id)).place == place
    ]
    if not parents:
        return {"root_song_id": parent_song_id, "depth": 1}
    parent = parents[-1]
    return {"root_song_id": parent.root_song_id or parent_song_id, "depth": parent.depth + 1}


async def songs_where(connection: Connection, column: str, wanted: str | int) -> list[Song]:
    """The songs whose column has a value, in the order of their rows."""
    if isinstance(wanted, str):
        wanted = clean_text(wanted) or ""  # as it would be stored
    rows = await connection.execute(_WHERE[column], {"wanted": wanted})
    return [Song.from_row(dict(row)) for row in rows.mappings()]


def payload_text(payload: Mapping[str, Any]) -> str:
    """A take's complete payload as JSON text, including unknown fields."""
    return json.dumps(payload, ensure_ascii=False, default=str)
