"""Plans of sweeps: a run sends, pays and takes exactly what its plan says."""

from __future__ import annotations

import pytest

from songflow.accounts import Access
from songflow.families.udio import SongRequest
from songflow.generation.policy import PaidRequest
from songflow.generation.submit import submit_once
from songflow.ledger.rows import RunIds
from songflow.polling.durations import TYPICAL_SECONDS
from songflow.sweeps.cell_status import Step
from songflow.sweeps.plan import plan_cells
from songflow.sweeps.status import status_of


async def test_a_run_sends_and_pays_what_its_plan_predicts(
    simulator, access, session, any_library, cells, run
) -> None:
    """Whatever exists already, on SQLite and PostgreSQL."""
    server = simulator()
    opened = await session(library=any_library, budget_run="r1")
    summaries, way = opened.library.ledger.key_summaries, access(server.url)
    models = {"seed": [1, 2], "model_type": ["udio32-v1.5", "udio130-v1.5"]}
    first, all_cells = cells(server, grid={**models, "seed": [1]}), cells(server, grid=models)
    before = await plan_cells(first, way, summaries, concurrency=2)
    done = await run(opened, server, first)
    assert (before.posts, before.price) == (done.posts, done.price) == (2, 3.0)
    plan = await plan_cells(all_cells, way, summaries, concurrency=2)
    assert (len(plan.cells), plan.posts, plan.price, plan.existing) == (4, 2, 3.0, 2)
    assert plan.steps == {Step.STORED: 2, Step.PAY: 2}
    done = await run(await session(library=any_library, budget_run="r2"), server, all_cells)
    assert (done.posts, done.price, done.existing, done.stored) == (2, 3.0, 2, 2)
    assert len(server.bill()) == 4
    status = await status_of(all_cells, summaries)
    assert (status.stored, status.songs, status.spent, status.left, status.eta_seconds) == (
        4,
        8,
        6.0,
        0,
        None,
    )
    assert status.per_hour > 24.0, "of the time since the first one was sent, not of ten minutes"


async def test_a_plan_without_a_library_pays_for_all_cells_at_the_typical_duration(
    simulator, access, cells
) -> None:
    server = simulator()
    plan = await plan_cells(cells(server, 20), access(server.url), None, concurrency=5)
    assert (plan.posts, plan.existing) == (20, 0)
    assert plan.seconds == 4 * TYPICAL_SECONDS
    few = await plan_cells(cells(server, 2), access(server.url), None, concurrency=5)
    assert few.seconds == TYPICAL_SECONDS
    assert (await status_of(cells(server, 3), None)).left == 3


async def test_the_plan_for_the_embedded_simulator_uses_its_speed(cells, simulator) -> None:
    from songflow.accounts import access_from_environment

    plan = await plan_cells(cells(simulator(), 10), access_from_environment(), None, concurrency=10)
    # It renders one song after another: that takes longer than its clock.
    assert plan.seconds > 2 * TYPICAL_SECONDS / 20


async def test_the_planned_duration_comes_from_the_ledgers_history(
    simulator, access, session, cells, run
) -> None:
    """Of the same gateway, model and mode. A gateway reports whole seconds, so these take more than one."""
    server, opened = simulator(speed=40.0), await session()
    await run(opened, server, cells(server, 3))
    summaries = opened.library.ledger.key_summaries
    known = await summaries.typical_seconds("simulator", "udio32-v1.5", "regular")
    assert known is not None
    assert 0 < known < TYPICAL_SECONDS / 2
    plan = await plan_cells(cells(server, 10), access(server.url), summaries, concurrency=1)
    assert plan.seconds == pytest.approx(7 * known)
    assert await summaries.typical_seconds("simulator", "udio130-v1.5", "regular") is None


async def test_a_plan_pays_for_failed_cells_only_with_retry_errors(
    simulator, access, session, cells, run
) -> None:
    server, opened = simulator({"fault": "failure"}), await session()
    one = cells(server, 1)
    await run(opened, server, one)
    summaries, way = opened.library.ledger.key_summaries, access(server.url)
    plan = await plan_cells(one, way, summaries, concurrency=1)
    again = await plan_cells(one, way, summaries, concurrency=1, retry_errors=True)
    assert (plan.steps, plan.posts) == ({Step.FAILED: 1}, 0)
    assert (again.steps, again.posts, again.price) == ({Step.PAY: 1}, 1, 1.0)


async def test_cells_that_run_elsewhere_are_collected_and_not_paid_for(
    simulator, access, session, cells
) -> None:
    server, opened = simulator(speed=0.1), await session()
    [one] = cells(server, 1)
    way: Access = access(server.url)
    request: SongRequest = one.request
    await submit_once(opened, PaidRequest(request, one.key, runs=RunIds()), way)
    plan = await plan_cells([one], way, opened.library.ledger.key_summaries, concurrency=1)
    assert (plan.steps, plan.posts, plan.existing) == ({Step.COLLECT: 1}, 0, 1)
    status = await status_of([one], opened.library.ledger.key_summaries)
    assert (status.running, status.left, status.spent) == (1, 0, 1.0)


async def test_thousands_of_keys_are_looked_up_in_a_few_queries(simulator, session, cells, run) -> None:
    """More keys than a database accepts in one statement."""
    server, opened = simulator(), await session()
    many = cells(server, 2500)
    await run(opened, server, many[1200:1202])
    found = await opened.library.ledger.key_summaries.of_keys([cell.key for cell in many])
    assert set(found) == {many[1200].key, many[1201].key}
