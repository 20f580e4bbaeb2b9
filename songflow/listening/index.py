"""The room's index: what is needed to search, filter, sort and page the songs, in a SQLite file of its own.

The ledger is the truth, and its paid step writes nothing for the room. The index is made from the ledger while the
room is open, newest songs first, and follows it by `songs.changed_at`; so it is the same for a ledger in SQLite and in
PostgreSQL. It lies beside the ledger, so that the next room finds it, and may be deleted at any time. Where the
library's folder may not be written, it lies in a temporary one.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, true

from songflow.errors import LibraryError
from songflow.ledger import schema
from songflow.ledger.engine import refuse_network_file_system
from songflow.ledger.ledger import Ledger
from songflow.listening.facets import facets
from songflow.listening.index_file import FILE_NAME, connected, emptied, prepared, write
from songflow.listening.listed import Listed, listed, songs_to_list
from songflow.listening.search import cards_of

__all__ = ["Index"]

log = logging.getLogger(__name__)

_BATCH = 1000
_LOOK_SECONDS = 0.5
_TRY_AGAIN_SECONDS = 1.0
# Songs that were changed last, which tell whether the ledger has been restored from a backup.
_COMPARED = 100
_NEVER = datetime.min.replace(tzinfo=UTC)
# Clocks of machines differ, and a transaction becomes visible a moment after its time.
_OVERLAP = timedelta(seconds=60)
_songs, _measures = schema.songs, schema.measures


class Index:
    """An open index, for one event loop; an async context manager.

    Several rooms of a library share its file. `database` is a connection that reads.
    """

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self._ledger = ledger
        self._folder = folder
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._turn = asyncio.Lock()
        self._counting = asyncio.Lock()
        self._facets: tuple[int, list[dict[str, Any]]] | None = None
        self._looked = 0.0
        self._low: int | None = None  # songs from this row on are in the index, or all (None)
        self._filling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Index:
        """Open it; the newest songs are in it, and the others follow."""
        self._path, self._writer = await asyncio.to_thread(self._opened)
        self.database = connected(self._path)
        if not await self._belongs():
            await asyncio.to_thread(emptied, self._writer)
        self._low = await self._lowest()
        await self.follow()
        if self._low is not None:
            await self._fill_once()
        if self._low is not None:
            self._filling = asyncio.create_task(self._fill())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._filling is not None:
            self._filling.cancel()
            try:
                await self._filling
            except asyncio.CancelledError:
                pass
            except sqlite3.Error as error:  # such as of a full disk
                log.warning("The room's index is incomplete, the next room goes on with it: %s", error)
        async with self._turn:
            self.database.close()
            self._writer.close()
            if self._temporary is not None:
                self._temporary.cleanup()

    @property
    def is_complete(self) -> bool:
        """False while older songs are still to be taken in."""
        return self._low is None

    @property
    def number(self) -> int:
        """It grows with each change of the songs in it, whichever room has written it."""
        (number,) = self.database.execute("SELECT value FROM state WHERE name = 'number'").fetchone()
        return int(number)

    @property
    def path(self) -> Path:
        """Its file."""
        return self._path

    async def filled(self) -> None:
        """Wait until all songs are in it."""
        if self._filling is not None:
            await self._filling

    def size(self) -> int:
        """How many songs are in it."""
        (count,) = self.database.execute("SELECT count(*) FROM listing").fetchone()
        return int(count)

    async def follow(self) -> None:
        """Take in what has changed in the ledger since it was last looked at, half a second ago at least."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        async with self._turn:
            if time.monotonic() - self._looked < _LOOK_SECONDS:
                return
            await self._take_in_changes()
            self._looked = time.monotonic()

    async def refresh(self, *songs: int) -> None:
        """Take in songs that have just been changed here."""
        async with self._turn:
            await self._take_in(_songs.c.id.in_(songs))

    def cards(self, songs: Sequence[int]) -> list[dict[str, Any]]:
        """The cards of songs by their rows, newest first; without those that are not in the index."""
        marks = ", ".join("?" * len(songs))
        rows = self.database.execute(
            f"SELECT place FROM listing WHERE song IN ({marks}) ORDER BY place", songs
        ).fetchall()
        return cards_of(self.database, [place for (place,) in rows])

    async def facets(self) -> list[dict[str, Any]]:
        """The choices of the filters, see `songflow.listening.facets`."""
        async with self._counting:
            number = self.number
            if self._facets is None or self._facets[0] != number:
                self._facets = (number, await asyncio.to_thread(facets, self._path))
            return self._facets[1]

    async def _take_in_changes(self) -> None:
        state = dict(self._writer.execute("SELECT name, value FROM state"))
        now = datetime.now(UTC)
        if state.get("seen") is None:
            condition: ColumnElement[bool] | None = None
        else:
            since = datetime.fromisoformat(state["seen"]) - _OVERLAP
            changed = select(_songs.c.submission_id).where(
                or_(
                    _songs.c.changed_at >= since,
                    _songs.c.id > int(state["newest"]),
                    _songs.c.id.in_(select(_measures.c.song).where(_measures.c.measured_at >= since)),
                )
            )
            condition = _songs.c.submission_id.in_(changed)
        if condition is not None:
            await self._take_in(condition)
        await self._remember(seen=now.isoformat())

    async def _take_in(self, condition: ColumnElement[bool]) -> None:
        """Take in songs in batches, newest first, and leave those that are the same in it."""
        below: int | None = None
        while True:
            bound = true() if below is None else _songs.c.id < below
            found = await self._read(condition & bound)
            if found:
                new = [one for one in found if not self._has(one)]
                if new:
                    await asyncio.to_thread(self._write, new)
                below = min(one.song for one in found)
            if len(found) < _BATCH:
                return

    def _has(self, one: Listed) -> bool:
        row = self._writer.execute(
            "SELECT 1 FROM cards JOIN listing USING (place) WHERE place = ? AND song = ? AND card = ? "
            "AND changed IS ?",
            (one.place, one.song, one.card, one.changed),
        ).fetchone()
        return row is not None

    async def _fill(self) -> None:
        while self._low is not None:
            pause = 0.0
            try:
                await self._fill_once()
            except LibraryError:  # the ledger is busy or down: the next turn tries again
                pause = _TRY_AGAIN_SECONDS
            await asyncio.sleep(pause)

    async def _fill_once(self) -> None:
        """Take in the next older songs."""
        async with self._turn:
            assert self._low is not None
            found = await self._read(_songs.c.id < self._low)
            if found:
                await asyncio.to_thread(self._write, found)
            self._low = min(one.song for one in found) if len(found) == _BATCH else None
            await self._remember(low=str(self._low or ""))

    async def _lowest(self) -> int | None:
        """The row from which on songs are in the index, as it was left; the end of the songs if it is empty."""
        state = dict(self._writer.execute("SELECT name, value FROM state"))
        if "low" in state:
            return int(state["low"]) if state["low"] else None
        async with self._ledger.database.read() as connection:
            newest = (await connection.execute(select(func.max(_songs.c.id)))).scalar() or 0
        await self._remember(newest=str(newest), low=str(newest + 1))
        return int(newest) + 1

    async def _belongs(self) -> bool:
        """Whether the index is of this ledger: of another one its newest song would be another.

        A restored backup has taken back what was changed last, so there the songs that were changed last are older.
        """
        name = dict(self.database.execute("SELECT name, value FROM state")).get("ledger")
        if name != self._ledger.database.name:
            return False
        noted = self.database.execute(
            "SELECT song, submission_id, changed FROM listing WHERE song = (SELECT max(song) FROM listing) "
            "OR song IN (SELECT song FROM listing ORDER BY changed DESC LIMIT ?)",
            (_COMPARED,),
        ).fetchall()
        statement = select(_songs.c.id, _songs.c.submission_id, _songs.c.changed_at).where(
            _songs.c.id.in_([song for song, *_ in noted])
        )
        async with self._ledger.database.read() as connection:
            found = {song: (of, changed) for song, of, changed in await connection.execute(statement)}
        return all(
            song in found
            and found[song][0] == submission
            and (changed is None or (found[song][1] or _NEVER) >= datetime.fromisoformat(changed))
            for song, submission, changed in noted
        )

    async def _read(self, condition: ColumnElement[bool]) -> list[Listed]:
        async with self._ledger.database.read() as connection:
            rows = (await connection.execute(songs_to_list(condition, _BATCH))).mappings().all()
        return await asyncio.to_thread(listed, [dict(row) for row in rows])

    def _write(self, songs: Sequence[Listed]) -> None:
        self._in_transaction(lambda: write(self._writer, songs))

    async def _remember(self, **state: str) -> None:
        rows = [*state.items(), ("ledger", self._ledger.database.name)]
        self._in_transaction(
            lambda: self._writer.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", rows)
        )

    def _in_transaction(self, work: Callable[[], Any]) -> None:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            work()
            self._writer.execute("COMMIT")
        except BaseException:
            self._writer.execute("ROLLBACK")
            raise

    def _opened(self) -> tuple[Path, sqlite3.Connection]:
        """The file and a connection that writes; in a temporary folder where the library's cannot be used."""
        beside = self._folder / FILE_NAME
        try:
            refuse_network_file_system(beside)
            return beside, prepared(beside)
        except (sqlite3.Error, OSError, LibraryError):
            self._temporary = tempfile.TemporaryDirectory(prefix="songflow-room-")
            elsewhere = Path(self._temporary.name) / FILE_NAME
            return elsewhere, prepared(elsewhere)
