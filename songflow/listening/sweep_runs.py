"""The sweeps of a library, for the room's grid: each run of a sweep with its cells, what they vary, and their takes.

A sweep's cells have keys of their own kind (`songflow.sweeps.cells`), and what was paid for in one run has one
`budget_run`. A sweep that was run again has a second run with the cells that were left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from sqlalchemy import ColumnElement, RowMapping, func, select

from songflow.families.registry import compared_fields
from songflow.ledger import schema
from songflow.ledger.ledger import Ledger
from songflow.listening.playable import playable_row, playable_songs

__all__ = ["grid_of", "of_runs", "router", "sweep_runs"]

_songs, _submissions, _generations = schema.songs, schema.submissions, schema.generations
_CELLS = _submissions.c.key.like("cell-%")
_REPLICATE = "replicate"
_LISTED_RUNS = 200
_MOST_CELLS = 5_000

router = APIRouter()


def of_runs(runs: Sequence[str]) -> ColumnElement[bool]:
    """Whether a submission is of a cell that was paid for in one of these runs."""
    return _CELLS & _submissions.c.budget_run.in_(runs)


async def sweep_runs(ledger: Ledger) -> list[dict[str, Any]]:
    """The newest runs of sweeps: each with its name in the ledger, its cells, when it began, and one of its prompts."""
    statement = (
        select(
            _submissions.c.budget_run.label("run"),
            func.count(func.distinct(_submissions.c.key)).label("cells"),
            func.min(_submissions.c.intended_at).label("began"),
            func.min(_submissions.c.key).label("key"),
        )
        .where(_CELLS, _submissions.c.budget_run.is_not(None))
        .group_by(_submissions.c.budget_run)
        .order_by(func.min(_submissions.c.intended_at).desc())
        .limit(_LISTED_RUNS)
    )
    async with ledger.database.read() as connection:
        rows = (await connection.execute(statement)).mappings().all()
        bodies = await connection.execute(
            select(_generations.c.key, _generations.c.body).where(
                _generations.c.key.in_([row["key"] for row in rows])
            )
        )
        prompts = {key: compared_fields(json.loads(body)).get("prompt", "") for key, body in bodies}
    return [
        {
            "run": row["run"],
            "cells": row["cells"],
            "began": row["began"].isoformat(),
            "prompt": prompts[row["key"]],
        }
        for row in rows
    ]


async def grid_of(ledger: Ledger, runs: Sequence[str]) -> dict[str, Any]:
    """The cells of runs of a sweep, 5,000 at most: the fields that differ between them, and every stored take."""
    cells = (
        select(_submissions.c.id, _submissions.c.key, _submissions.c.state, _submissions.c.error)
        .add_columns(_generations.c.body)
        .join(_generations, _generations.c.key == _submissions.c.key)
        .where(of_runs(runs))
        .order_by(_submissions.c.intended_at)
        .limit(_MOST_CELLS)
    )
    takes = (
        playable_songs()
        .join(_submissions, _submissions.c.id == _songs.c.submission_id)
        .where(of_runs(runs))
        .order_by(_songs.c.submission_id, _songs.c.take)
    )
    async with ledger.database.read() as connection:
        found = (await connection.execute(cells)).mappings().all()
        songs: dict[str, list[dict[str, Any]]] = {}
        for row in (await connection.execute(takes)).mappings():
            songs.setdefault(row["submission_id"], []).append(playable_row(row))
    fields = [_fields_of(row) for row in found]
    axes = _axes(fields)
    return {
        "axes": axes,
        "cells": [
            {
                "state": row["state"],
                "error": row["error"],
                "fields": {name: given.get(name) for name in axes},
                "songs": songs.get(row["id"], []),
            }
            for row, given in zip(found, fields, strict=True)
        ],
    }


def _fields_of(row: RowMapping) -> dict[str, Any]:
    number = row["key"].rpartition("-")[2]
    return {**compared_fields(json.loads(row["body"])), _REPLICATE: int(number) if number.isdigit() else 1}


def _axes(cells: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The fields that have several values, and those: numbers in their order, texts in that of the cells."""
    axes: dict[str, list[Any]] = {}
    for name in dict.fromkeys(name for fields in cells for name in fields):
        values = {json.dumps(fields.get(name)): fields.get(name) for fields in cells}
        if len(values) > 1:
            given = list(values.values())
            axes[name] = sorted(given) if all(isinstance(one, int | float) for one in given) else given
    return axes


@router.get("/sweeps")
async def _sweeps(request: Request) -> dict[str, Any]:
    return {"sweeps": await sweep_runs(request.app.state.library.ledger)}


@router.get("/sweeps/cells")
async def _cells(request: Request, run: Annotated[list[str], Query(max_length=50)]) -> dict[str, Any]:
    found = await grid_of(request.app.state.library.ledger, run)
    if not found["cells"]:
        raise HTTPException(404, "This library has no such sweep.")
    return found
