"""What people say of songs in the room, written to the ledger at once. Answers have the id with which it is undone."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from songflow.catalog.judging import Value, judge_row, undo
from songflow.ledger.judgements import Decision, JudgementKind
from songflow.ledger.rows import Song
from songflow.library.library import Library
from songflow.library.trash import require_trashable, restore_undiscarded, trash
from songflow.listening.access import person_of

__all__ = ["judging"]

judging = APIRouter()


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Rating(_Body):
    rating: float | None


class _Decision(_Body):
    decision: str | None


class _Notes(_Body):
    notes: str | None


class _Comparison(_Body):
    winner: int
    loser: int


class _Undo(_Body):
    judgement: str


class _Trash(_Body):
    trashed: bool


@judging.put("/songs/{number}/rating")
async def _rate(request: Request, number: int, given: _Rating) -> dict[str, Any]:
    return await _judge(request, number, JudgementKind.RATING, given.rating)


@judging.put("/songs/{number}/decision")
async def _decide(request: Request, number: int, given: _Decision) -> dict[str, Any]:
    return await _judge(request, number, JudgementKind.DECISION, given.decision)


@judging.put("/songs/{number}/notes")
async def _note(request: Request, number: int, given: _Notes) -> dict[str, Any]:
    return await _judge(request, number, JudgementKind.NOTES, given.notes)


@judging.put("/songs/{number}/trash")
async def _trash(request: Request, number: int, given: _Trash) -> dict[str, Any]:
    """Discard a song and move its files to the trash; or take the decision away, which moves them back."""
    library: Library = request.app.state.library
    song = await library.ledger.songs.find(number)
    if song is not None and given.trashed:
        require_trashable(library, [song])
    if song is not None and not given.trashed and song.trashed_at is None:
        return _standing(song)
    answer = await _judge(
        request, number, JudgementKind.DECISION, Decision.DISCARD if given.trashed else None
    )
    if not given.trashed:
        return answer
    song = await trash(library, await library.ledger.songs.get(number))
    await request.app.state.index.refresh(number)
    return {**answer, **_standing(song)}


@judging.post("/comparisons")
async def _compare(request: Request, given: _Comparison) -> dict[str, Any]:
    """Record which of two songs was preferred."""
    ledger = request.app.state.library.ledger
    judged = await judge_row(
        ledger, given.winner, JudgementKind.WINNER, None, by=person_of(request), other_row_id=given.loser
    )
    return {"judgement": judged.id}


@judging.post("/judgements/undo")
async def _undo(request: Request, given: _Undo) -> dict[str, Any]:
    """What stood before stands again; the answer has the songs with what is said of them now."""
    library: Library = request.app.state.library
    songs = await restore_undiscarded(library, await undo(library.ledger, given.judgement))
    await request.app.state.index.refresh(*(song.id for song in songs))
    return {"songs": [_standing(song) for song in songs]}


async def _judge(request: Request, number: int, kind: JudgementKind, value: Value) -> dict[str, Any]:
    library: Library = request.app.state.library
    judged = await judge_row(library.ledger, number, kind, value, by=person_of(request))
    [song] = await restore_undiscarded(library, [await library.ledger.songs.get(number)])
    await request.app.state.index.refresh(number)
    return {**_standing(song), "judgement": judged.id}


def _standing(song: Song) -> dict[str, Any]:
    """What stands of a song now."""
    return {
        "id": song.id,
        "rating": song.rating,
        "decision": song.decision,
        "notes": song.notes,
        "trashed": song.trashed_at is not None,
    }
