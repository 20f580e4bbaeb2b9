"""Who listens hears of what was committed, once each, and cannot harm a song."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from songflow.errors import GenerationFailed, OutcomeUnknown, RequestRefused, SpendingStopped, StillRunning
from songflow.generation.lifecycle import generate_in
from songflow.generation.rescue import rescue
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.settings import LibrarySettings
from songflow.sweeps.cells import cells_of
from songflow.sweeps.run import RunOptions
from songflow.sweeps.spec import parse_sweep
from songflow.sweeps.sweep import run_sweep


class Ears:
    """A listener that remembers."""

    def __init__(self):
        self.heard = []

    def __call__(self, notice):
        self.heard.append(notice)

    @property
    def kinds(self):
        return Counter(notice.kind for notice in self.heard)

    def one(self, kind):
        [notice] = [notice for notice in self.heard if notice.kind == kind]
        return notice


@pytest.fixture
def ears():
    return Ears()


@pytest.fixture
def opened(library_settings, ears):
    """A session that the ears listen to."""

    def open_session(library=library_settings, listener=ears, **settings):
        chosen = SessionSettings(**{"poll_interval": 0.02, "deadline": 30.0, "retries": 0, **settings})
        return Session(library, chosen, listener=listener)

    return open_session


async def test_accepted_and_stored_are_emitted_after_their_commit(
    opened, ears, simulator, access, song_request
):
    async with opened() as session:
        result = await generate_in(session, song_request(), access(simulator().url), key="k")
    assert ears.kinds == {"generation.accepted": 1, "song.stored": 2}
    accepted = ears.one("generation.accepted")
    assert accepted.about == "generation.k"
    assert (accepted.facts["generation_id"], accepted.facts["billed"]) == (result.generation_id, "yes")
    paths = {notice.facts["path"] for notice in ears.heard if notice.kind == "song.stored"}
    assert paths == {song.path for song in result.songs}


async def test_reusing_a_key_emits_nothing(opened, ears, simulator, access, song_request):
    there = access(simulator().url)
    async with opened() as session:
        await generate_in(session, song_request(), there, key="k")
        before = ears.kinds
        await generate_in(session, song_request(), there, key="k")
    assert ears.kinds == before


@pytest.mark.parametrize(
    ("fault", "kind", "error", "billed"),
    [
        ({"fault": "lost_answer"}, "unknown", OutcomeUnknown, "maybe"),
        ({"fault": "failure"}, "failed", GenerationFailed, "maybe"),
        ({"fault": "status", "on": "submit", "status": 401}, "refused", RequestRefused, "no"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_failures_are_emitted_with_the_next_step(
    opened, ears, simulator, access, song_request, fault, kind, error, billed
):
    async with opened() as session:
        with pytest.raises(error) as caught:
            await generate_in(session, song_request(), access(simulator(fault).url), key="k")
    notice = ears.one(f"generation.{kind}")
    assert notice.facts["billed"] == billed
    assert notice.facts["said"] == caught.value.message
    assert notice.facts["next"] == caught.value.next


async def test_a_repeatable_refusal_emits_nothing(opened, ears, simulator, access, song_request):
    busy = simulator({"fault": "status", "on": "submit", "status": 429})
    async with opened() as session:
        with pytest.raises(RequestRefused):
            await generate_in(session, song_request(), access(busy.url), key="k")
    assert not ears.heard


async def test_repeated_rescues_emit_a_failure_once(opened, ears, simulator, access, song_request):
    there = access(simulator({"fault": "unknown_for_ever", "times": None}).url)
    async with opened(deadline=0.1) as session:
        with pytest.raises(StillRunning):
            await generate_in(session, song_request(), there, key="k")
        assert [row.state for row in await rescue(session, there)] == ["overdue"]
    assert ears.kinds == {"generation.accepted": 1, "generation.overdue": 1}


async def test_budgets_emit_before_they_are_reached_and_when_they_stop_a_request(
    opened, ears, simulator, access, song_request, library_settings
):
    capped = LibrarySettings(library_settings.folder, budget=5.0)
    there = access(simulator().url)
    async with opened(capped) as session:
        for number in range(3):
            await generate_in(session, song_request(f"song {number}"), there, key=f"k{number}")
        assert "budget.nearly-spent" not in ears.kinds
        for number in range(3, 5):
            await generate_in(session, song_request(f"song {number}"), there, key=f"k{number}")
        for number in range(5, 7):
            with pytest.raises(SpendingStopped):
                await generate_in(session, song_request(f"song {number}"), there, key=f"k{number}")
    near = ears.one("budget.nearly-spent")
    assert (near.about, near.facts["cap"], near.facts["spent"]) == ("budget.library", 5.0, 4.0)
    assert ears.one("budget.used-up").facts["key"] == "k5"


async def test_a_sweep_emits_failures_of_cells_and_its_result(opened, ears, simulator, access, song_request):
    server = simulator({"fault": "failure", "times": 1}, pool=2)
    spec = {"prompt": "a waltz", "lyrics_type": "instrumental", "grid": {"seed": [1, 2, 3]}}
    cells = cells_of(parse_sweep(spec, Path()), access(server.url))
    async with opened(budget_run="this") as session:
        result = await run_sweep(session, "waltzes", cells, access(server.url), RunOptions(concurrency=1))
        assert ears.kinds == {"generation.failed": 1}
        failed = server.bill()[0].body["gen_params"]["seed"]  # cells are not started in the order of the spec
        assert ears.one("generation.failed").about == f"generation.{cells[failed - 1].key}"
        await generate_in(session, song_request(), access(server.url), key="k")
    assert ears.kinds == {"generation.failed": 1, "generation.accepted": 1, "song.stored": 2}

    notice = result.notice()
    assert (notice.kind, notice.about) == ("sweep.ended", "sweep.waltzes")
    assert {name: notice.facts[name] for name in ("cells", "stored", "failed", "songs", "posts", "exit_code")} == {
        "cells": 3, "stored": 2, "failed": 1, "songs": 4, "posts": 3, "exit_code": 4
    }  # fmt: skip
    assert notice.facts["said"] == result.summary()
    assert "3 requests for 3 EUR" in str(result.notice("EUR").facts["said"])
    assert "run the sweep again" in notice.facts["next"]
    assert "report" in replace(result, exit_code=0).notice().facts["next"]


async def test_a_listener_that_fails_changes_nothing(opened, simulator, access, song_request, caplog):
    def deaf(notice):
        raise RuntimeError("deaf")

    async with opened(listener=deaf) as session:
        result = await generate_in(session, song_request(), access(simulator().url), key="k")
    assert len(result.stored) == 2
    assert "could not be handed to its listener (RuntimeError)" in caplog.text
