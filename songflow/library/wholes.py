"""The whole songs of new parts that are stored already: made by the gateway, or joined here after all.

Each is written beside its new part, as a whole song that is joined while its part is stored; the part's row names it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from songflow.audio.id3 import Picture
from songflow.documents.text import joined_notes
from songflow.downloads.downloader import Downloaded, DownloadProblem
from songflow.ledger.rows import JOINED_BY_GATEWAY, JOINED_HERE, Song
from songflow.ledger.songs import Origin
from songflow.library.joining import check_whole, join_part, not_joined, only_new_part
from songflow.library.library import Library
from songflow.library.source_check import source_of
from songflow.library.storing import WHOLE_MARK, stem_of, store_whole, tag_and_store
from songflow.runtime.retry import persist

__all__ = ["join_stored", "part_of", "store_joined"]

_REMARK = "joined here, because the gateway did not: "
_NOT_JOINED = (only_new_part().note or "", not_joined("").note or "", _REMARK)
"""How the remarks of a part begin that the gateway has not joined."""


async def part_of(library: Library, whole: Song) -> Song:
    """The stored new part that the gateway made a whole song of.

    Raises:
        DownloadProblem: this library has not stored it yet.
    """
    part = await source_of(library, whole)
    if part is None or part.path is None:
        raise DownloadProblem("the new part that it belongs to is not stored yet")
    return part


async def store_joined(
    library: Library,
    origin: Origin,
    done: Downloaded,
    part: Song,
    *,
    uid: str,
    part_uid: str,
    cover: Picture | None,
) -> Song:
    """Store the verified download of a whole song that the gateway made, beside its new part.

    Args:
        origin: The take in which the gateway gave it.
        done: Its download.
        part: The new part.
        uid, part_uid: Short texts that are unique to the two takes.
        cover: Its cover.

    Returns:
        The take's row.

    Raises:
        OSError: the store failed.
    """
    found = await check_whole(library, part, done.part)
    name = f"{stem_of(library, part, part_uid)}{WHOLE_MARK}"
    file = await tag_and_store(library, origin, done, uid=uid, cover=cover, source=found, name=name)
    songs = library.ledger.songs
    await persist(
        lambda: songs.joined(
            part, file.path, JOINED_BY_GATEWAY, found, ends=_NOT_JOINED, whole=(origin.song, file)
        )
    )
    return await songs.get(origin.song.id)


async def join_stored(library: Library, song: Song, *, uid: str, why: str) -> Song:
    """Join a stored new part here, after the gateway has not done it. Never loses the part: a remark tells what failed.

    Args:
        song: The new part.
        uid: A short text that is unique to it.
        why: Why the gateway did not join it.
    """
    origin = await library.ledger.songs.origin(song.id)
    draft = library.store.parts / f"{uid}.whole"
    async with library.store.open_local(song.path or "") as file:
        joined = await join_part(library, origin, Path(file), draft)
    found, path = joined.found, None
    if joined.draft is not None:
        path = await store_whole(library, joined.draft, stem_of(library, song, uid))
        found = found if path is not None else not_joined("the whole song could not be stored")
    noted = replace(found, note=joined_notes(found.note, _REMARK + why.replace("; ", ", ")))
    if path is None:
        await library.ledger.songs.add_note(song, noted.note or "")
        return await library.ledger.songs.get(song.id)
    return await persist(
        lambda: library.ledger.songs.joined(song, path, JOINED_HERE, noted, ends=_NOT_JOINED)
    )
