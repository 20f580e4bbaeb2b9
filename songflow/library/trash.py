"""The trash: discarded songs are moved to `trash/` of the store, and back.

A song there is as paid and as present as any: its row names the file, so that nothing is fetched or paid for again. A
file is copied to its new place before the row names that, and removed from the old one afterwards: a kill at any moment
leaves one file too many at most, which the next move of the song removes.
"""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from songflow.errors import InputError, LibraryError
from songflow.ledger.judgements import Decision
from songflow.ledger.rows import JOINED_HERE, Song
from songflow.library.audio_store import TRASH, AudioStore
from songflow.library.library import Library
from songflow.runtime.file_locks import try_lock

__all__ = ["require_trashable", "restore", "restore_undiscarded", "trash"]

_PAUSE = 0.05
_LONGEST_WAIT = 30.0


def require_trashable(library: Library, songs: Sequence[Song]) -> None:
    """Raise InputError if one of the songs is not stored in the library's own store."""
    for song in songs:
        if song.path is None:
            name = song.title or song.song_id or song.key
            raise InputError(f"{name!r} is not stored.", next="leave it out; nothing was changed.")
        if library.store.name_of(song.path) is None:
            raise InputError(
                f"{song.path} is not in this library's store: only its own files are moved to the trash.",
                next="discard it without --trash, and move the file yourself; nothing was changed.",
            )


async def trash(library: Library, song: Song) -> Song:
    """Move a discarded song's files to the trash; one that is there already stays, and one that is not discarded.

    Returns:
        The song's row.

    Raises:
        InputError: it is not stored in the library's own store.
        LibraryError: the store or the ledger failed; the song is where its row says.
    """
    require_trashable(library, [song])
    return await _move(library, song, to_trash=True)


async def restore(library: Library, song: Song) -> Song:
    """Move a song's files back from the trash; one that is not there stays.

    Raises:
        LibraryError: the store or the ledger failed, or it is in the trash of an earlier store; the song is where its
            row says.
    """
    if song.trashed_at is None:
        return song
    if song.path is not None and library.store.name_of(song.path) is None:
        raise LibraryError(
            f"{song.path} is in the trash of another store.",
            next="set SONGFLOW_AUDIO_URL to that store and keep the song once more; do not delete the file.",
        )
    return await _move(library, song, to_trash=False)


async def restore_undiscarded(library: Library, songs: Iterable[Song]) -> list[Song]:
    """Move songs that are not discarded back: call it after a decision, since only discarded ones are in the trash.

    Returns:
        The rows of all of the songs.

    Raises:
        LibraryError: the store or the ledger failed; the song is where its row says.
    """
    return [song if song.decision == Decision.DISCARD else await restore(library, song) for song in songs]


async def _move(library: Library, song: Song, *, to_trash: bool) -> Song:
    library.require_store()
    try:
        async with _alone(library), library.ledger.songs.moving(song):
            current = await library.ledger.songs.get(song.id)
            if to_trash and current.decision != Decision.DISCARD:
                return current
            moved = await _move_alone(library, current, to_trash)
            if not to_trash:
                return moved
            # Who decided otherwise during the copy saw a song that was not in the trash, and left it there.
            current = await library.ledger.songs.get(song.id)
            if current.decision == Decision.DISCARD:
                return current
            return await _move_alone(library, current, to_trash=False)
    except OSError as error:
        raise LibraryError(
            f"{song.path} could not be moved: {error.strerror or error}.",
            next="correct that and run it again; the song is where it was, or in both places.",
        ) from None


async def _move_alone(library: Library, song: Song, to_trash: bool) -> Song:
    store, moves = library.store, {}
    beside = [] if await library.ledger.songs.shares_cover(song) else [song.cover_path]
    if song.joined_by == JOINED_HERE:  # what a gateway joined is a song of its own
        beside.append(song.whole_path)
    # A cover that somebody deleted keeps no song where it is.
    there = [path for path in beside if path is not None and await store.has_file(path, None)]
    for path in (song.path, *there):
        if path is not None:
            moves[path] = await _copied(store, path, to_trash)
    moved = await library.ledger.songs.moved(song, moves, to_trash=to_trash)
    for new in set(moves.values()):
        # Also what was left by a move that was cut off after its commit.
        if (old := _address(store, new, not to_trash)) is not None and old != new:
            await store.remove(old)
    return moved


def _address(store: AudioStore, path: str, in_trash: bool) -> str | None:
    """Where a file of the store is in the trash, or outside of it; None for a file that is elsewhere."""
    name = store.name_of(path)
    if name is None:
        return None
    bare = name.removeprefix(f"{TRASH}/")
    return store.address(f"{TRASH}/{bare}" if in_trash else bare)


async def _copied(store: AudioStore, path: str, to_trash: bool) -> str:
    """Copy a file to its place in the trash, or outside of it; returns the new address."""
    target = _address(store, path, to_trash)
    if target is None or target == path:
        return path
    part = store.parts / f"moved-{uuid.uuid4().hex}"
    try:
        async with store.open_local(path) as file:
            await asyncio.to_thread(shutil.copyfile, file, part)
        return await store.put(part, store.name_of(target) or "")
    finally:
        part.unlink(missing_ok=True)


@asynccontextmanager
async def _alone(library: Library) -> AsyncIterator[None]:
    """Take turns with other moves on this machine: one must not remove what another has just put in its place."""
    with (library.store.parts / "moving.lock").open("w") as file:
        for _ in range(round(_LONGEST_WAIT / _PAUSE)):
            if try_lock(file.fileno()):
                break
            await asyncio.sleep(_PAUSE)
        else:
            raise LibraryError("Another process is moving songs.", next="run it again when it has ended.")
        yield
