"""Rate songs, 0..5; ratings are stored in the ledger."""

from __future__ import annotations

import math
from pathlib import Path

from songflow.errors import InputError
from songflow.ledger.ledger import Ledger
from songflow.ledger.references import full_song_id
from songflow.ledger.rows import Song

__all__ = ["BEST_RATING", "rate_row", "rate_song"]

BEST_RATING = 5.0


async def rate_song(
    ledger: Ledger, reference: str, rating: float | None, *, folder: Path | None = None
) -> Song:
    """Rate a song; None removes its rating. Takes of one generation under one id are rated together, as are copies.

    Args:
        reference: The song's id at the gateway, or the beginning of just one; or its URL or path (a relative path
            starts at `folder`).
        rating: 0..5.

    Raises:
        InputError: the rating is out of range, or the reference matches no song or several.
    """
    _check(rating)
    songs = await _find_songs(ledger, reference, folder or Path())
    for song in songs:
        await ledger.songs.rate(song, rating)
    return await ledger.songs.get(songs[0].id)


async def rate_row(ledger: Ledger, row_id: int, rating: float | None) -> Song:
    """Rate a song by its row id in the ledger.

    Raises:
        InputError: the rating is out of range, or the row does not exist.
    """
    _check(rating)
    song = await ledger.songs.find(row_id)
    if song is None:
        raise InputError("There is no such song.", next="look at `songflow songs`.")
    await ledger.songs.rate(song, rating)
    return await ledger.songs.get(row_id)


def _check(rating: float | None) -> None:
    if rating is not None and not (math.isfinite(rating) and 0 <= rating <= BEST_RATING):
        raise InputError(
            f"The rating is {rating:g}: allowed is a number from 0 to {BEST_RATING:g}.",
            next="correct it; nothing was changed.",
        )


async def _find_songs(ledger: Ledger, reference: str, folder: Path) -> list[Song]:
    found = await ledger.songs.by_song_id(reference) or await ledger.songs.at_path(reference)
    if not found and "://" not in reference:
        found = await ledger.songs.at_path(str((folder / reference).resolve()))
    if not found:
        found = await ledger.songs.by_song_id(await full_song_id(ledger, reference))
    if not found:
        raise InputError(
            f"This library has no song {reference!r}.",
            next="`songflow songs` lists them with their ids and files.",
        )
    found = _rated_together(found)
    if len(found) > 1 and not _are_one_song(found):
        places = ", ".join(song.path or f"take {song.take + 1} of {song.key}" for song in found)
        raise InputError(
            f"{len(found)} songs have the id {reference!r}: {places}.", next="give the path of one of them."
        )
    return found


def _rated_together(songs: list[Song]) -> list[Song]:
    """The stored songs of those that share an id: nobody has heard the others. All, if none is stored."""
    return [song for song in songs if song.path is not None] or songs


def _are_one_song(songs: list[Song]) -> bool:
    """True for takes that one generation returned under one id, and for the same audio in several generations."""
    if any(song.path is None for song in songs):
        return False
    return (
        len({song.key for song in songs}) == 1 or len({song.audio_sha256 or song.id for song in songs}) == 1
    )
