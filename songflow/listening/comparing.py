"""What to listen to next: songs that nobody has judged yet, and pairs that nobody has compared yet."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from sqlalchemy import ColumnElement, FromClause, Select, and_, func, or_, select

from songflow.families.registry import compared_fields
from songflow.ledger import schema
from songflow.ledger.judgements import Decision, JudgementKind
from songflow.ledger.ledger import Ledger
from songflow.listening.playable import is_playable, playable_row, playable_songs
from songflow.listening.sweep_runs import of_runs

__all__ = ["next_pair", "next_unjudged", "router", "songs_with_requests"]

_songs, _submissions, _generations = schema.songs, schema.submissions, schema.generations
_judgements = schema.judgements
_IS_WINNER = (_judgements.c.kind == JudgementKind.WINNER.value) & _judgements.c.undone_at.is_(None)
_COUNTED = 1_000
"""Songs that are left are counted up to this number."""

router = APIRouter()


async def next_unjudged(ledger: Ledger, below: int | None = None, run: str | None = None) -> dict[str, Any]:
    """The newest song without a rating and a decision, of those `below` a row, and how many there are in all.

    Args:
        run: Only cells of this run of a sweep.
    """
    waiting = _of(playable_songs(), run).where(_songs.c.rating.is_(None), _songs.c.decision.is_(None))
    chosen = waiting if below is None else waiting.where(_songs.c.id < below)
    async with ledger.database.read() as connection:
        found = await connection.execute(chosen.order_by(_songs.c.id.desc()).limit(1))
        left = await connection.execute(select(func.count()).select_from(waiting.limit(_COUNTED).subquery()))
        ids = [row["id"] for row in found.mappings()]
        counted = left.scalar_one()
    return {
        "songs": await songs_with_requests(ledger, ids),
        "left": counted,
        "more": counted == _COUNTED,
    }


async def next_pair(ledger: Ledger, run: str | None = None) -> list[dict[str, Any]]:
    """Two songs that were not compared yet; none if there are no such two.

    Without a run, they are takes of one generation, the newest first. Of a run of a sweep, they are two of its songs
    that were compared least often. Discarded songs are not compared.
    """
    ids = await (_pair_of_takes(ledger) if run is None else _pair_of_run(ledger, run))
    return await songs_with_requests(ledger, ids)


async def songs_with_requests(ledger: Ledger, ids: list[int]) -> list[dict[str, Any]]:
    """Stored songs by their rows, in the order of `ids`, each with the fields that songs are compared by."""
    statement = (
        playable_songs()
        .add_columns(_generations.c.body)
        .join(_generations, _generations.c.key == _songs.c.key)
        .where(_songs.c.id.in_(ids))
    )
    async with ledger.database.read() as connection:
        rows = (await connection.execute(statement)).mappings().all()
    found = {
        row["id"]: {**playable_row(row), "request": compared_fields(json.loads(row["body"]))} for row in rows
    }
    return [found[one] for one in ids if one in found]


async def _pair_of_takes(ledger: Ledger) -> list[int]:
    other = _songs.alias()
    judged = select(_judgements.c.id).where(
        _IS_WINNER,
        or_(
            and_(_judgements.c.song == _songs.c.id, _judgements.c.other_song == other.c.id),
            and_(_judgements.c.song == other.c.id, _judgements.c.other_song == _songs.c.id),
        ),
    )
    statement = (
        select(_songs.c.id, other.c.id)
        .join(other, and_(other.c.submission_id == _songs.c.submission_id, other.c.take > _songs.c.take))
        .where(
            ~judged.exists(),
            _is_compared(_songs),
            _is_compared(other),
        )
        .order_by(_songs.c.id.desc(), other.c.id)
        .limit(1)
    )
    async with ledger.database.read() as connection:
        row = (await connection.execute(statement)).one_or_none()
        return [] if row is None else list(row)


async def _pair_of_run(ledger: Ledger, run: str) -> list[int]:
    chosen = _of(select(_songs.c.id), run).where(_is_compared(_songs))
    winners = select(_judgements.c.song, _judgements.c.other_song).where(
        _IS_WINNER,
        _judgements.c.song.in_(chosen),
    )
    async with ledger.database.read() as connection:
        ids = list((await connection.execute(chosen)).scalars())
        compared = [(row[0], row[1]) for row in await connection.execute(winners)]
    times = Counter(one for pair in compared for one in pair)
    met = {frozenset(pair) for pair in compared}
    random.shuffle(ids)
    ids.sort(key=lambda one: times[one])
    for first in ids:
        for second in ids:
            if first != second and frozenset((first, second)) not in met:
                return [first, second]
    return []


def _is_compared(songs: FromClause) -> ColumnElement[bool]:
    """Whether a row of the songs can be heard and is not discarded."""
    return is_playable(songs) & (func.coalesce(songs.c.decision, "") != Decision.DISCARD.value)


def _of(songs: Select[Any], run: str | None) -> Select[Any]:
    if run is None:
        return songs
    return songs.join(_submissions, _submissions.c.id == _songs.c.submission_id).where(of_runs([run]))


@router.get("/unjudged")
async def _unjudged(request: Request, below: int | None = None, run: str | None = None) -> dict[str, Any]:
    return await next_unjudged(request.app.state.library.ledger, below, run)


@router.get("/pairs/next")
async def _pair(request: Request, run: str | None = None) -> dict[str, Any]:
    return {"songs": await next_pair(request.app.state.library.ledger, run)}


@router.get("/pairs/of")
async def _chosen_pair(
    request: Request, song: Annotated[list[int], Query(min_length=2, max_length=2)]
) -> dict[str, Any]:
    found = await songs_with_requests(request.app.state.library.ledger, song)
    if len(found) != len(set(song)) or len(found) < 2:
        raise HTTPException(404, "Both songs must be stored, and differ.")
    return {"songs": found}
