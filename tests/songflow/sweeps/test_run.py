"""Runs of sweeps: each cell is paid for once, whatever fails; runs stop, continue, and report counts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from songflow.errors import InvalidDocument, LibraryError, NotCollected
from songflow.generation.lifecycle import collect
from songflow.generation.policy import PaidRequest, PayingPolicy
from songflow.generation.submit import submit_once
from songflow.ledger import RunIds, State
from songflow.runtime.retry import without_pauses
from songflow.sweeps.cells import Cell, cells_of
from songflow.sweeps.run import RunOptions, SweepRun
from songflow.sweeps.shards import packed, unpacked
from songflow.sweeps.spec import parse_sweep
from songflow.sweeps.status import status_of
from songflow.sweeps.tally import Tally


def counts(result) -> dict[str, int]:
    """The counts that are not zero."""
    names = ("existing", "stored", "refused", "failed", "unsettled", "troubled", "not_started")
    return {name: getattr(result, name) for name in names if getattr(result, name)}


async def test_a_sweep_stores_songs_of_every_cell_and_a_second_run_pays_nothing(
    simulator, session, cells, run, posts
) -> None:
    server = simulator()
    opened = await session(budget_run="first")
    result = await run(opened, server, cells(server, 5), concurrency=2)
    assert (counts(result), result.songs, result.posts, result.price) == ({"stored": 5}, 10, 5, 5.0)
    again = await run(await session(budget_run="second"), server, cells(server, 6))
    assert (counts(again), again.posts, again.exit_code) == ({"existing": 5, "stored": 1}, 1, 0)
    assert posts(server) == len(server.bill()) == 6


async def test_cells_are_started_in_a_shuffled_order(simulator, session, cells, run) -> None:
    """The same order each time: neither that of the spec nor another in the next run."""
    orders = []
    for prompt in ("a slow waltz", "a fast waltz"):
        opened, server = await session(), simulator()
        given = cells(server, 8, prompt=prompt)
        await run(opened, server, given, concurrency=1)
        asked = {}
        for cell in given:
            [submission] = await opened.library.ledger.submissions.of_key(cell.key)
            asked[cell.request.seed] = submission.intended_at
        orders.append(sorted(asked, key=asked.__getitem__))
    first, second = orders
    assert first == second
    assert sorted(first) == list(range(1, 9))
    assert first not in (sorted(first), sorted(first, reverse=True))


async def test_concurrency_limits_the_generations_at_the_gateway(
    simulator, session, cells, run, posts
) -> None:
    """A gateway with three slots refuses nothing, and all three are used."""
    server = simulator(at_once=3)
    result = await run(await session(), server, cells(server, 9), concurrency=3)
    assert counts(result) == {"stored": 9}
    assert posts(server) == 9


async def test_the_window_narrows_to_what_the_gateway_accepts(simulator, session, cells, run, posts) -> None:
    """The first excess requests are refused, which bills nothing and loses no cell."""
    server = simulator(at_once=2)
    result = await run(await session(budget_run="r"), server, cells(server, 8), concurrency=8)
    assert counts(result) == {"stored": 8}
    assert len(server.bill()) == 8
    assert posts(server) < 8 + 8 * 4


async def test_downloads_use_no_slot(simulator, session, cells, access, until, monkeypatch) -> None:
    """With one slot, the next generations are submitted while earlier songs are still being downloaded."""
    server, fetched = simulator(), asyncio.Event()

    async def slowly(*arguments):
        await fetched.wait()
        return await collect(*arguments)

    async def all_finished() -> bool:
        return work.tally.collecting == 4

    monkeypatch.setattr("songflow.sweeps.run.collect", slowly)
    work = SweepRun(await session(), access(server.url), RunOptions(concurrency=1))
    task = asyncio.create_task(work.work(cells(server, 4)))
    await until(all_finished)
    assert (len(server.bill()), work.tally.running, work.tally.stored) == (4, 0, 0)
    fetched.set()
    await task
    assert (work.tally.collecting, work.tally.stored) == (0, 4)


async def test_failed_cells_are_listed_and_the_worst_is_the_exit_code(
    simulator, session, cells, run, heal
) -> None:
    """Unknown outcomes are never sent again; a failed one only on request; the refused one is tried again."""
    server = simulator(
        {"fault": "status", "on": "submit", "status": 400, "match": "refuse"},
        {"fault": "failure", "match": "fail"},
        {"fault": "lost_answer", "match": "lose"},
    )
    opened = await session(budget_run="first")
    all_cells = [
        one for prompt in ("fine", "refuse", "fail", "lose") for one in cells(server, prompt=prompt, seed=1)
    ]
    result = await run(opened, server, all_cells)
    assert counts(result) == {"stored": 1, "refused": 1, "failed": 1, "unsettled": 1}
    assert (result.exit_code, result.posts, result.price) == (5, 4, 3.0)
    assert {failure.state for failure in result.failures} == {"refused", "failed", "unknown"}
    assert all(failure.next for failure in result.failures)
    status = await status_of(all_cells, opened.library.ledger.key_summaries)
    assert (status.stored, status.failed, status.unsettled, status.left) == (1, 1, 1, 1)
    heal(server)
    again = await run(
        await session(budget_run="second"), server, all_cells, policy=PayingPolicy(retry_errors=False)
    )
    assert counts(again) == {"existing": 1, "stored": 1, "failed": 1, "unsettled": 1}
    last = await run(
        await session(budget_run="third"), server, all_cells, policy=PayingPolicy(retry_errors=True)
    )
    assert (counts(last), last.posts) == ({"existing": 2, "stored": 1, "unsettled": 1}, 1)
    assert len(server.bill()) == 1 + 1 + 2 + 1


async def test_enough_failures_stop_the_sweep(simulator, session, cells, run) -> None:
    """Failures of earlier runs do not count: a second run continues."""
    server = simulator({"fault": "failure", "times": 2})
    result = await run(await session(), server, cells(server, 6), concurrency=1, max_failures=2)
    assert (counts(result), result.exit_code) == ({"failed": 2, "not_started": 4}, 4)
    assert "2 cells have failed, and the maximum is 2" in result.stopped
    again = await run(await session(), server, cells(server, 6), concurrency=1, max_failures=2)
    assert counts(again) == {"failed": 2, "stored": 4}


async def test_a_stopped_sweep_does_not_pay_for_cells_that_wait_for_a_slot(
    simulator, session, cells, access, until, held_waits, posts
) -> None:
    """The gateway has one slot, whose generation fails: the others, refused for now, wait for it.

    On a busy machine the simulated generation may end before the last of them is sent, and a second one is paid for.
    """
    server = simulator({"fault": "failure"}, at_once=1)
    work = SweepRun(await session(), access(server.url), RunOptions(concurrency=6, max_failures=1))
    task = asyncio.create_task(work.work(cells(server, 9)))

    async def all_wait() -> bool:
        return len(work._window._waiting) >= 4 and held_waits.begun + len(work._window._waiting) == 6

    await until(all_wait)
    paid, seen = held_waits.begun, posts(server)
    held_waits.go_on.set()
    await task
    assert (len(server.bill()), posts(server)) == (paid, seen)
    assert (work.tally.failed, work.tally.not_started) == (paid, 9 - paid)


async def test_a_stopped_sweep_does_not_pay_for_cells_that_wait_for_the_keys_pace(
    simulator, session, cells, access, until, posts, monkeypatch
) -> None:
    """After a 429 each cell has a slot in the pace, up to 45 s away: the sweep may be stopped by then."""
    server, opened, go_on, waiting = simulator(), await session(), asyncio.Event(), []

    async def slot(*_):
        waiting.append(True)
        await go_on.wait()
        return 0.01

    async def all_wait() -> bool:
        return len(waiting) == 2

    monkeypatch.setattr(opened.library.ledger.pace, "slot", slot)
    work = SweepRun(opened, access(server.url), RunOptions(concurrency=2))
    task = asyncio.create_task(work.work(cells(server, 3)))
    await until(all_wait)
    work._stop("enough")
    go_on.set()
    await task
    assert (posts(server), work.tally.not_started) == (0, 3)
    left = await opened.library.ledger.submissions.in_states([*State])
    assert [one.state for one in left] == [State.UNSENT, State.UNSENT]
    assert (await opened.library.ledger.money.balance()).reserved == 0.0


async def test_a_stopped_sweep_still_collects_paid_cells(
    simulator, session, cells, access, until, held_waits
) -> None:
    """Cells that only have to be collected still are, and no cell is paid for after the stop."""
    server, opened = simulator({"fault": "failure", "match": "fails"}), await session()
    paid = [*cells(server, prompt="fails"), *cells(server, 2)]
    for cell in paid:
        await submit_once(opened, PaidRequest(cell.request, cell.key), access(server.url))
    work = SweepRun(opened, access(server.url), RunOptions(concurrency=1, max_failures=1))
    task = asyncio.create_task(work.work([*paid, *cells(server, prompt="new")]))

    async def first_waits() -> bool:
        return held_waits.begun == 1

    await until(first_waits)
    held_waits.go_on.set()
    await task
    assert (work.tally.failed, work.tally.stored, work.tally.not_started) == (1, 2, 1)
    assert len(server.bill()) == 3


async def test_the_next_shard_fills_slots_while_the_last_cells_of_a_shard_run(
    simulator, session, cells, access, until, held_waits
) -> None:
    """A shard has started all its cells while these still run: the next shard's cells take the free slots."""
    server, started = simulator(), asyncio.Event()
    work = SweepRun(await session(), access(server.url), RunOptions(concurrency=3))
    first = asyncio.create_task(work.work(cells(server, 2), started))
    await started.wait()
    second = asyncio.create_task(work.work(cells(server, prompt="another", seed=1)))

    async def all_run() -> bool:
        return held_waits.begun == 3

    await until(all_run)
    assert (work.tally.running, len(server.bill())) == (3, 3)
    held_waits.go_on.set()
    await asyncio.gather(first, second)
    assert work.tally.stored == 3


async def test_the_next_shard_starts_only_when_the_one_before_has_started_all_cells(
    simulator, session, cells, access, until, held_waits
) -> None:
    """Otherwise a sweep in small shards would open all of them at once."""
    server, started = simulator(), asyncio.Event()
    work = SweepRun(await session(), access(server.url), RunOptions(concurrency=2))
    first = asyncio.create_task(work.work(cells(server, 1)))
    second = asyncio.create_task(work.work(cells(server, 2, prompt="another"), started))

    async def both_run() -> bool:
        return held_waits.begun == 2

    await until(both_run)
    assert not started.is_set()
    held_waits.go_on.set()
    await asyncio.gather(first, second)
    assert started.is_set()


async def test_a_restarted_shard_does_not_pay_again_for_failures_of_its_own_run(
    simulator, session, cells, run
) -> None:
    """Both attempts belong to one root run: only failures of earlier runs are paid again."""
    server = simulator({"fault": "failure", "times": 4})
    older = await session(runs=RunIds("sweep-1", "sweep-1"))
    assert counts(await run(older, server, cells(server, 2), policy=PayingPolicy(retry_errors=True))) == {
        "failed": 2
    }
    for shard, failed in (("try-1", {"failed": 2}), ("try-2", {"failed": 2})):
        opened = await session(runs=RunIds(shard, "sweep-2"))
        assert (
            counts(await run(opened, server, cells(server, 2), policy=PayingPolicy(retry_errors=True)))
            == failed
        )
        assert len(server.bill()) == 4
    newer = await session(runs=RunIds("sweep-3", "sweep-3"))
    assert counts(await run(newer, server, cells(server, 2), policy=PayingPolicy(retry_errors=True))) == {
        "stored": 2
    }


async def test_a_refused_key_stops_the_sweep_at_once(simulator, session, cells, run, posts) -> None:
    """Every other cell would be refused, too; nothing is billed."""
    server = simulator(accept_keys=frozenset({"another"}))
    result = await run(await session(), server, cells(server, 20), concurrency=1)
    assert (counts(result), result.exit_code) == ({"refused": 1, "not_started": 19}, 3)
    assert "every other cell would be refused" in result.stopped
    assert (posts(server), len(server.bill())) == (1, 0)


async def test_a_used_up_budget_stops_new_cells_and_collects_the_rest(simulator, session, cells, run) -> None:
    server = simulator()
    opened = await session(budget=3.0, budget_run="capped")
    result = await run(opened, server, cells(server, 8), concurrency=2)
    assert (counts(result), result.exit_code) == ({"stored": 3, "not_started": 5}, 6)
    assert "budget of 3 units is used up" in result.stopped
    assert len(server.bill()) == 3


async def test_a_paused_library_starts_nothing_and_collects_running_cells(
    simulator, access, session, cells, run
) -> None:
    server, opened = simulator(), await session()
    all_cells: list[Cell] = cells(server, 3)
    await submit_once(opened, PaidRequest(all_cells[2].request, all_cells[2].key), access(server.url))
    await opened.library.ledger.money.pause("month's end")
    result = await run(opened, server, all_cells)
    assert (counts(result), result.exit_code) == ({"stored": 1, "not_started": 2}, 6)
    assert "month's end" in result.stopped
    await opened.library.ledger.money.resume()
    assert counts(await run(opened, server, all_cells)) == {"existing": 1, "stored": 2}


async def test_a_full_disk_stops_before_anything_is_spent(
    simulator, session, cells, run, monkeypatch
) -> None:
    server, opened = simulator(), await session()

    def full() -> None:
        raise LibraryError("The disk is full.", next="free some space.")

    monkeypatch.setattr(opened.library, "require_space", full)
    result = await run(opened, server, cells(server, 9), concurrency=1)
    assert (counts(result), result.exit_code) == ({"troubled": 1, "not_started": 8}, 2)
    assert (result.stopped, len(server.bill())) == ("The disk is full.", 0)


async def test_a_full_disk_after_a_payment_is_not_reported_as_nothing_sent(
    simulator, session, cells, run, monkeypatch
) -> None:
    server, opened = simulator(), await session(budget_run="filling")

    def fills() -> None:
        if len(server.bill()) == 2:
            raise LibraryError("The disk is full.", next="free some space.")

    monkeypatch.setattr(opened.library, "require_space", fills)
    result = await run(opened, server, cells(server, 9), concurrency=1)
    assert (counts(result), result.posts) == ({"stored": 2, "troubled": 1, "not_started": 6}, 2)
    assert (result.exit_code, result.stopped) == (5, "The disk is full.")


@pytest.mark.parametrize("away", [1, 1000])
async def test_a_ledger_that_is_away_as_the_sweep_ends_is_not_reported_as_nothing_sent(
    simulator, session, cells, run, monkeypatch, away: int
) -> None:
    """Reading is retried for a minute; after that, the error says that the same sweep can be run again."""
    server, opened = simulator(), await session(budget_run="away")
    standings = opened.library.ledger.key_summaries
    read, tries = standings.of_run, []

    async def of_run(name):
        tries.append(name)
        if len(tries) <= away:
            raise LibraryError("The ledger cannot be reached.", next="start it.")
        return await read(name)

    monkeypatch.setattr(standings, "of_run", of_run)
    if away == 1:
        result = await run(opened, server, cells(server, 2))
        assert (counts(result), result.posts, result.exit_code) == ({"stored": 2}, 2, 0)
    else:
        with (
            without_pauses(attempts=3),
            pytest.raises(NotCollected, match="were worked on, but it cannot be summed up") as caught,
        ):
            await run(opened, server, cells(server, 2))
        assert (caught.value.exit_code, caught.value.billed) == (5, "maybe")
        assert "run the sweep again" in caught.value.next


async def test_a_sweep_retries_a_ledger_that_is_briefly_away(
    simulator, session, cells, run, monkeypatch
) -> None:
    """Other shards of the sweep may be running."""
    server, opened = simulator(), await session()
    standings = opened.library.ledger.key_summaries
    read, tries = standings.of_keys, []

    async def of_keys(keys):
        tries.append(keys)
        if len(tries) == 1:
            raise LibraryError("The ledger cannot be reached.", next="start it.")
        return await read(keys)

    monkeypatch.setattr(standings, "of_keys", of_keys)
    assert counts(await run(opened, server, cells(server, 2))) == {"stored": 2}


@pytest.mark.parametrize(
    ("codes", "posts", "exit_code"),
    [
        (set(), 5, 0),
        ({3}, 0, 3),
        ({3, 4}, 2, 4),
        ({4, 6, 5}, 3, 6),
        ({2}, 0, 2),
        ({2, 3}, 0, 2),
        ({2}, 1, 5),
        ({2, 4}, 0, 5),
        ({1}, 0, 5),
        ({1, 6}, 1, 6),
    ],
)
def test_the_exit_code_is_the_worst_and_2_only_if_nothing_was_sent(codes, posts, exit_code) -> None:
    assert Tally(codes=codes).exit_code(posts) == exit_code


async def test_an_unexpected_error_in_one_cell_does_not_stop_the_others(
    simulator, session, cells, run, monkeypatch
) -> None:
    server, opened = simulator(), await session()
    all_cells = cells(server, 3)
    take = opened.library.ledger.submissions.intend

    async def intend(intent, *arguments, **more):
        if intent.key == all_cells[0].key:
            raise RuntimeError("a bug")
        return await take(intent, *arguments, **more)

    monkeypatch.setattr(opened.library.ledger.submissions, "intend", intend)
    result = await run(opened, server, all_cells)
    assert (counts(result), result.exit_code) == ({"troubled": 1, "stored": 2}, 5)
    assert "RuntimeError: a bug" in result.failures[0].error


async def test_songs_that_cannot_be_stored_are_collected_by_the_next_run(
    simulator, session, cells, run, heal
) -> None:
    server = simulator({"fault": "dead", "times": None})
    result = await run(await session(), server, cells(server, 1))
    assert (counts(result), result.exit_code) == ({"unsettled": 1}, 5)
    heal(server)
    assert counts(await run(await session(), server, cells(server, 1))) == {"stored": 1}
    assert len(server.bill()) == 1


async def test_replicates_of_a_dead_run_do_not_stop_each_other(
    simulator, access, session, cells, run
) -> None:
    """Each is found by its own key; another key's unsettled twin does stop, unless configured otherwise."""
    server, opened = simulator(), await session()
    way = access(server.url, "openai-hk", key="sk-0123456789")
    pair = cells(server, seed=-1, replicates=2)
    taken = await submit_once(opened, PaidRequest(pair[1].request, pair[1].key), way)
    await opened.library.ledger.submissions.release(taken.id, taken.lease.fence)
    work = SweepRun(opened, way, RunOptions())
    await work.work(pair)
    assert (work.tally.stored, work.tally.unsettled) == (2, 0)
    other = cells(server, 1)
    taken = await submit_once(opened, PaidRequest(other[0].request, "by hand"), way)
    await opened.library.ledger.submissions.release(taken.id, taken.lease.fence)
    work = SweepRun(opened, way, RunOptions())
    await work.work(other)
    assert (work.tally.unsettled, work.tally.codes) == (1, {5})
    work = SweepRun(opened, way, RunOptions(policy=PayingPolicy(if_unsettled="new")))
    await work.work(other)
    assert work.tally.stored == 1


async def test_a_fallback_takes_cells_that_the_first_gateway_refuses(
    simulator, access, session, cells
) -> None:
    closed, server = simulator(accept_keys=frozenset({"another"})), simulator()
    work = SweepRun(
        await session(), access(closed.url), RunOptions(policy=PayingPolicy(fallbacks=(access(server.url),)))
    )
    await work.work(cells(closed, 3))
    assert (work.tally.stored, len(server.bill()), len(closed.bill())) == (3, 3, 0)


async def test_each_cell_gives_up_an_unreachable_gateway_after_its_retries(
    simulator, access, session, cells
) -> None:
    server = simulator()
    all_cells = cells(server, 2)
    server.stop()
    work = SweepRun(await session(retries=1, repeat_within=5.0), access(server.url), RunOptions())
    await work.work(all_cells)
    assert (work.tally.refused, work.tally.codes) == (2, {3})
    assert {failure.state for failure in work.tally.failures} == {State.UNSENT}


async def test_a_grid_can_compare_the_models_of_families(simulator, session, access, run) -> None:
    """Each cell has the body of its own family, and a second run pays for none of them again."""
    server, opened = simulator(), await session(budget_run="first")
    grid = {"model_type": ["udio32-v1.5", "chirp-auk", "acestep-v15-turbo"], "prompt": ["a waltz", "a polka"]}
    sweep = parse_sweep({"grid": grid}, Path())
    given = cells_of(sweep, access(server.url))
    sent_on = unpacked(packed(given), access(server.url))
    assert [(one.key, one.request) for one in sent_on] == [(one.key, one.request) for one in given]
    result = await run(opened, server, given)
    assert (counts(result), result.posts, result.price) == ({"stored": 6}, 6, 4.0)
    sent = [entry.body for entry in server.bill()]
    assert sum("gen_params" in body for body in sent) == 2
    assert sorted(body["gpt_description_prompt"] for body in sent if "mv" in body) == ["a polka", "a waltz"]
    assert sorted(body["sample_query"] for body in sent if "model" in body) == ["a polka", "a waltz"]
    again = await run(await session(), server, cells_of(sweep, access(server.url)))
    assert (counts(again), len(server.bill())) == ({"existing": 6}, 6)


def test_a_field_of_one_family_makes_the_cells_of_the_other_invalid(access) -> None:
    """It is named with the line, before anything is planned or paid for."""
    sweep = parse_sweep({"prompt": "a", "seed": 7, "grid": {"model": ["udio32-v1.5", "chirp-auk"]}}, Path())
    with pytest.raises(InvalidDocument, match="seed is not a field"):
        cells_of(sweep, access("http://127.0.0.1:1"))
