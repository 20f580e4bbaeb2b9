"""What the room's desk shows: sweeps as grids, pairs to compare, and what is not judged yet."""

from __future__ import annotations

from typing import Any

import pytest
from support.hummery import HUM

from songflow.catalog.judging import judge_row
from songflow.catalog.manifest import read_manifest
from songflow.errors import InvalidRequest
from songflow.families.registry import FAMILIES
from songflow.generation.lifecycle import generate_in
from songflow.ledger import Ledger
from songflow.ledger.judgements import JudgementKind
from songflow.listening.comparing import next_pair, next_unjudged, songs_with_requests
from songflow.listening.sweep_runs import grid_of, sweep_runs

RUN = "sweep-of-this-test"
QUALITIES = (0.75, 1.0)


@pytest.fixture
async def ledger(simulator: Any, session: Any, access: Any, song_request: Any) -> Ledger:
    """A song of two takes, and a sweep of two cells, each with two takes."""
    gateway = access(simulator().url)
    await generate_in(await session(), song_request(), gateway, key="core")
    opened = await session(budget_run=RUN)
    for number, quality in enumerate(QUALITIES):
        await generate_in(
            opened, song_request("a cell", generation_quality=quality), gateway, key=f"cell-{number}-x-1"
        )
    ledger: Ledger = opened.library.ledger
    return ledger


async def _ids(ledger: Ledger, key: str) -> list[int]:
    return [song.id for song in await ledger.songs.of_key(key)]


async def test_the_desk_of_a_library(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """One library for all of it: each generation costs a second."""
    core, cells = await _ids(ledger, "core"), [await _ids(ledger, f"cell-{number}-x-1") for number in (0, 1)]
    await _shows_the_sweep(ledger, cells)
    await _pairs_what_was_not_compared(ledger, core, cells)
    await _lists_what_is_not_judged(ledger, core, cells)
    monkeypatch.setitem(FAMILIES, "udio", HUM)  # in its place, since the order of the families matters
    await _shows_songs_of_a_family_that_is_not_installed(ledger, core, cells)


async def _shows_the_sweep(ledger: Ledger, cells: list[list[int]]) -> None:
    [run] = await sweep_runs(ledger)
    assert (run["run"], run["cells"], run["prompt"]) == (RUN, 2, "a cell")
    grid = await grid_of(ledger, [RUN])
    assert grid["axes"] == {"generation_quality": list(QUALITIES)}
    shown = {
        cell["fields"]["generation_quality"]: [song["id"] for song in cell["songs"]] for cell in grid["cells"]
    }
    assert shown == dict(zip(QUALITIES, cells, strict=True))
    assert (await grid_of(ledger, ["another"]))["cells"] == []


async def _pairs_what_was_not_compared(ledger: Ledger, core: list[int], cells: list[list[int]]) -> None:
    """Without a run the takes of a generation; of a run, all of its songs, those least compared first."""
    met = []
    for expected in (cells[1], cells[0], core):
        pair = await next_pair(ledger)
        assert [song["id"] for song in pair] == expected
        met.append(await judge_row(ledger, expected[1], JudgementKind.WINNER, None, other_row_id=expected[0]))
    assert await next_pair(ledger) == []
    await ledger.judgements.undo(met[0].id)
    assert [song["id"] for song in await next_pair(ledger)] == cells[1]

    pairs = set()
    while pair := await next_pair(ledger, RUN):
        first, second = (song["id"] for song in pair)
        assert {first, second} <= {*cells[0], *cells[1]}
        await judge_row(ledger, first, JudgementKind.WINNER, None, other_row_id=second)
        pairs.add(frozenset((first, second)))
    assert len(pairs) == 5  # of six; one was compared above


async def _lists_what_is_not_judged(ledger: Ledger, core: list[int], cells: list[list[int]]) -> None:
    assert (await next_unjudged(ledger))["left"] == 6
    assert (await next_unjudged(ledger, run=RUN))["left"] == 4
    await judge_row(ledger, cells[1][1], JudgementKind.RATING, 4)
    await judge_row(ledger, cells[1][0], JudgementKind.DECISION, "discard")
    found = await next_unjudged(ledger)
    assert ([song["id"] for song in found["songs"]], found["left"]) == ([cells[0][1]], 4)
    assert [song["id"] for song in (await next_unjudged(ledger, below=cells[0][0]))["songs"]] == [core[1]]
    assert found["songs"][0]["request"]["prompt"] == "a cell"


async def _shows_songs_of_a_family_that_is_not_installed(
    ledger: Ledger, core: list[int], cells: list[list[int]]
) -> None:
    """Without their fields; only what has to read the request asks for the package."""
    [run] = await sweep_runs(ledger)
    assert (run["cells"], run["prompt"]) == (2, "")
    assert [len(cell["songs"]) for cell in (await grid_of(ledger, [RUN]))["cells"]] == [2, 2]
    assert [(song["id"], song["request"]) for song in await songs_with_requests(ledger, core)] == [
        (one, {}) for one in core
    ]
    frame = await read_manifest(ledger)
    assert frame["path"].notna().all()
    assert frame[["family", "request.prompt"]].isna().all(axis=None)
    generation = await ledger.submissions.generation("core")
    assert generation is not None
    with pytest.raises(InvalidRequest) as caught:
        _ = generation.request
    assert "install the package that brings the family" in str(caught.value)
