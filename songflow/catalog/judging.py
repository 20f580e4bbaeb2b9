"""Judge songs: rate them 0..5, keep or discard them, write notes on them, prefer one to another; and undo that.

A song is named by its id at the gateway, or the beginning of just one, or by its URL or path (a relative path starts at
`folder`). Takes of one generation under one id are judged together, as are copies. `by` is the person's name, which
`songflow.settings.person` gives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from songflow.errors import InputError
from songflow.ledger.judgements import Decision, Judgement, JudgementKind, new_id
from songflow.ledger.ledger import Ledger
from songflow.ledger.references import full_song_id
from songflow.ledger.rows import Song

__all__ = [
    "BEST_RATING",
    "LONGEST_NOTES",
    "are_one_song",
    "checked_value",
    "find_songs",
    "judge",
    "judge_row",
    "rate_song",
    "undo",
    "undo_last",
]

BEST_RATING = 5.0
LONGEST_NOTES = 10_000
"""Characters of notes on one song."""

Value = float | str | None


class Judged(Protocol):
    """What tells whether two rows are one song."""

    @property
    def id(self) -> int:
        """The row's number."""
        ...

    @property
    def key(self) -> str:
        """The request key."""
        ...

    @property
    def path(self) -> str | None:
        """The stored file."""
        ...

    @property
    def audio_sha256(self) -> str | None:
        """The hash of its audio."""
        ...


async def judge(
    ledger: Ledger,
    references: Sequence[str],
    kind: JudgementKind,
    value: Value,
    *,
    by: str | None = None,
    folder: Path | None = None,
) -> list[Song]:
    """Judge songs; all of them, or none if one is not found.

    Args:
        kind: What the judgement is about; not WINNER, see `judge_row`.
        value: A rating 0..5, a decision or notes; None takes it away.

    Returns:
        Their rows, a song after the other.

    Raises:
        InputError: the value is not allowed, or a reference matches no song or several.
    """
    value = checked_value(kind, value)
    found = [await find_songs(ledger, reference, folder=folder) for reference in references]
    judgements = []
    for songs in found:
        id = new_id()
        judgements += [Judgement(song.id, kind, value, by=by, id=id) for song in songs]
    await ledger.judgements.record(judgements)
    return [await ledger.songs.get(song.id) for songs in found for song in songs]


async def rate_song(
    ledger: Ledger,
    reference: str,
    rating: float | None,
    *,
    by: str | None = None,
    folder: Path | None = None,
) -> Song:
    """Rate a song; None removes its rating. Returns its first row; arguments and errors are those of `judge`."""
    return (await judge(ledger, [reference], JudgementKind.RATING, rating, by=by, folder=folder))[0]


async def judge_row(
    ledger: Ledger,
    row_id: int,
    kind: JudgementKind,
    value: Value,
    *,
    by: str | None = None,
    other_row_id: int | None = None,
) -> Judgement:
    """Judge a song by the number of its row in the ledger; for a winner, with the row of the song that lost.

    Returns:
        The judgement; `undo` takes its id.

    Raises:
        InputError: the value is not allowed, or a row does not exist.
    """
    if (kind is JudgementKind.WINNER) != (other_row_id is not None) or row_id == other_row_id:
        raise InputError(
            "A winner is preferred to another song, and no other judgement is.",
            next="name the song that lost; nothing was changed.",
        )
    judgement = Judgement(row_id, kind, checked_value(kind, value), other_song=other_row_id, by=by)
    for one in filter(None, (row_id, other_row_id)):
        if await ledger.songs.find(one) is None:
            raise InputError("There is no such song.", next="look at `songflow songs`.")
    return (await ledger.judgements.record([judgement]))[0]


async def undo(ledger: Ledger, judgement_id: str) -> list[Song]:
    """Undo a judgement by its id: what stood before stands again, unless a newer one does. Returns the songs' rows.

    Raises:
        InputError: there is no such judgement, or it was undone before.
    """
    undone = await ledger.judgements.undo(judgement_id)
    if not undone:
        raise InputError("There is no such judgement to undo.", next="nothing was changed.")
    return [await ledger.songs.get(one.song) for one in undone]


async def undo_last(
    ledger: Ledger, references: Sequence[str], kind: JudgementKind, *, folder: Path | None = None
) -> list[Song]:
    """Undo the judgement of a kind that stands on each song, on all of its copies. Returns the songs' rows.

    Raises:
        InputError: a reference matches no song or several, or no judgement of this kind stands; none is undone.
    """
    ids: dict[str, None] = {}
    rows: dict[int, None] = {}
    for reference in references:
        songs = await find_songs(ledger, reference, folder=folder)
        standing = [await ledger.judgements.standing(song.id, kind) for song in songs]
        if not any(standing):
            raise InputError(
                f"There is nothing to undo: {reference!r} has no {_CALLED[kind]}.",
                next="nothing was changed.",
            )
        ids |= dict.fromkeys(one.id for one in standing if one is not None)
        rows |= dict.fromkeys(song.id for song in songs)
    for id in ids:
        await ledger.judgements.undo(id)
    return [await ledger.songs.get(row) for row in rows]


_CALLED = {
    JudgementKind.RATING: "rating",
    JudgementKind.DECISION: "decision",
    JudgementKind.NOTES: "notes",
    JudgementKind.WINNER: "comparison",
}


def checked_value(kind: JudgementKind, value: Value) -> Value:
    """The value of a judgement as the ledger has it: blank notes are none.

    Raises:
        InputError: a judgement of this kind cannot have it.
    """
    if value is None:
        return None
    if kind is JudgementKind.RATING:
        if isinstance(value, str) or not (math.isfinite(value) and 0 <= value <= BEST_RATING):
            raise _refused("rating", value, f"a number from 0 to {BEST_RATING:g}")
        return float(value)
    if kind is JudgementKind.DECISION:
        if value not in list(Decision):
            raise _refused("decision", value, "keep or discard")
        return str(value)
    if kind is JudgementKind.NOTES:
        if not isinstance(value, str) or len(value) > LONGEST_NOTES:
            raise _refused("text of the notes", value, f"a text of up to {LONGEST_NOTES:,} characters")
        return value.strip() or None
    raise _refused("winner's value", value, "none")


def _refused(called: str, value: float | str, allowed: str) -> InputError:
    shown = f"{value:g}" if isinstance(value, float) else repr(str(value)[:40])
    return InputError(
        f"The {called} is {shown}: allowed is {allowed}.", next="correct it; nothing was changed."
    )


async def find_songs(ledger: Ledger, reference: str, *, folder: Path | None = None) -> list[Song]:
    """The songs that are judged together under a reference: the stored ones, or all if none is stored.

    Raises:
        InputError: there is none, or several that differ.
    """
    found = await ledger.songs.by_song_id(reference) or await ledger.songs.at_path(reference)
    if not found and "://" not in reference:
        found = await ledger.songs.at_path(str(((folder or Path()) / reference).resolve()))
    if not found:
        found = await ledger.songs.by_song_id(await full_song_id(ledger, reference))
    if not found:
        raise InputError(
            f"This library has no song {reference!r}.",
            next="`songflow songs` lists them with their ids and files.",
        )
    # Nobody has heard those that are not stored.
    found = [song for song in found if song.path is not None] or found
    if len(found) > 1 and not are_one_song(found):
        places = ", ".join(song.path or f"take {song.take + 1} of {song.key}" for song in found)
        raise InputError(
            f"{len(found)} songs have the id {reference!r}: {places}.", next="give the path of one of them."
        )
    return found


def are_one_song(songs: Sequence[Judged]) -> bool:
    """True for takes that one generation returned under one id, and for the same audio in several generations."""
    if any(song.path is None for song in songs):
        return False
    return (
        len({song.key for song in songs}) == 1 or len({song.audio_sha256 or song.id for song in songs}) == 1
    )
