"""`songflow rate`, `keep` and `discard`: what a person says of songs, for searches, reports and exports."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from cli.options import Common
from cli.output import Output
from songflow.catalog.judging import checked_value, find_songs, judge, undo_last
from songflow.errors import InputError
from songflow.ledger.judgements import Decision, JudgementKind
from songflow.ledger.rows import Song
from songflow.library.library import Library
from songflow.library.trash import require_trashable, restore_undiscarded
from songflow.library.trash import trash as move_to_trash
from songflow.settings import LibrarySettings, person

__all__ = ["discard", "keep", "rate"]

Switch = Annotated[bool, Parameter(negative="")]


def rate(
    song: str,
    rating: float | None = None,
    /,
    *,
    notes: str | None = None,
    clear: Switch = False,
    undo: Switch = False,
    common: Common = Common(),
) -> None:
    """Rate a song from 0 (bad) to 5 (best), or write notes on it; new ones replace the old ones.

    Parameters
    ----------
    song
        The song's id or its beginning, or its file.
    rating
        A number from 0 to 5.
    notes
        Notes of your own on the song; an empty text removes them.
    clear
        Remove the rating.
    undo
        Take the last rating back: the one before stands again.
    """
    if rating is not None and clear:
        raise InputError("A rating and --clear were both given.", next=_RATE)
    if undo and (rating is not None or clear or notes is not None):
        raise InputError("--undo takes back a rating and gives none.", next=_RATE)
    if rating is None and notes is None and not (clear or undo):
        raise InputError("The rating is missing.", next=_RATE)
    if notes is not None:
        checked_value(JudgementKind.NOTES, notes)  # before the rating is recorded

    async def rated(library: Library) -> list[Song]:
        ledger = library.ledger
        songs: list[Song] = []
        if undo:
            return await undo_last(ledger, [song], JudgementKind.RATING, folder=Path.cwd())
        if rating is not None or clear:
            songs = await judge(ledger, [song], JudgementKind.RATING, rating, by=person(), folder=Path.cwd())
        if notes is not None:
            songs = await judge(ledger, [song], JudgementKind.NOTES, notes, by=person(), folder=Path.cwd())
        return songs

    output = Output(as_json=common.json, quiet=common.quiet)
    [first, *_] = asyncio.run(_in_library(common.existing_library(), rated))
    if output.as_json:
        output.object(_facts(first))
    else:
        opinion = "no rating" if first.rating is None else f"{first.rating:g} of 5"
        output.line(f"{first.title or first.song_id}: {opinion}{', with notes' if first.notes else ''}")


def keep(*songs: str, undo: Switch = False, common: Common = Common()) -> None:
    """Mark songs as ones to keep; files come back from the trash.

    Parameters
    ----------
    songs
        The songs' ids or their beginnings, or their files.
    undo
        Take the last decision on them back: the one before stands again.
    """
    _decide(songs, Decision.KEEP, undo, common)


def discard(*songs: str, trash: Switch = False, undo: Switch = False, common: Common = Common()) -> None:
    """Mark songs as ones that you do not want; they stay where they are, unless they are to be moved to the trash.

    Parameters
    ----------
    songs
        The songs' ids or their beginnings, or their files.
    trash
        Move their files and covers to the folder trash/ of the library's store.
    undo
        Take the last decision on them back: the one before stands again, and files come back from the trash.
    """
    if trash and undo:
        raise InputError("--trash and --undo were both given.", next="leave one out.")
    _decide(songs, Decision.DISCARD, undo, common, to_trash=trash)


_RATE = "write `songflow rate SONG 4`, `songflow rate SONG --clear`, or `songflow rate SONG --notes TEXT`."


def _decide(
    references: tuple[str, ...], decision: Decision, undo: bool, common: Common, *, to_trash: bool = False
) -> None:
    if not references:
        raise InputError("The songs are missing.", next=f"write `songflow {decision} SONG`.")

    async def decided(library: Library) -> list[Song]:
        ledger, kind, folder = library.ledger, JudgementKind.DECISION, Path.cwd()
        if to_trash:
            for one in references:
                require_trashable(library, await find_songs(ledger, one, folder=folder))
        if undo:
            songs = await undo_last(ledger, references, kind, folder=folder)
        else:
            songs = await judge(ledger, references, kind, decision, by=person(), folder=folder)
        if to_trash:
            return [await move_to_trash(library, song) for song in songs]
        return await restore_undiscarded(library, songs)

    output = Output(as_json=common.json, quiet=common.quiet)
    songs = asyncio.run(_in_library(common.existing_library(), decided))
    if output.as_json:
        output.object({"songs": [_facts(song) for song in songs]})
    else:
        for song in songs:
            place = ", in the trash" if song.trashed_at else ""
            output.line(f"{song.title or song.song_id}: {song.decision or 'undecided'}{place}")


async def _in_library(
    settings: LibrarySettings, act: Callable[[Library], Awaitable[list[Song]]]
) -> list[Song]:
    async with Library(settings) as library:
        return await act(library)


def _facts(song: Song) -> dict[str, Any]:
    """A song's judgements as plain data."""
    names = ("song_id", "title", "path", "rating", "rated_by", "decision", "decided_by", "notes", "noted_by")
    times = {name: getattr(song, name) for name in ("rated_at", "decided_at", "noted_at", "trashed_at")}
    return {
        **{name: getattr(song, name) for name in names},
        **{name: time and time.isoformat() for name, time in times.items()},
    }
