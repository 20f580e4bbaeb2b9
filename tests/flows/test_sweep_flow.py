"""The flow `sweep` on a real Prefect server: shards as task runs, each cell paid for once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os

import pytest
from prefect import flow
from prefect.exceptions import ParameterTypeError
from support.sweep_flows import last_run, result_of, spec

from blocks import SongLibrary
from flows.generate import generate_song
from flows.shards import Shards
from flows.sweep import sweep, sweep_shard
from songflow.errors import GenerationFailed, InputError, InvalidDocument, LibraryError, NotCollected
from songflow.families.udio import SongRequest
from songflow.ledger.key_summaries import KeySummaries
from songflow.ledger.songs import Songs
from songflow.library.library import Library
from songflow.runtime.retry import without_pauses
from songflow.sweeps.cells import Cell
from songflow.sweeps.tally import SweepUnfinished
from tasks.ui.markdown import escape
from tasks.watching import Watcher, watched_by

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.xdist_group("prefect"),
    pytest.mark.usefixtures("prefect_server"),
]


@pytest.mark.parametrize("form", ["text", "data"])
async def test_a_spec_that_is_too_long_for_prefect_is_kept_beside_the_run(studio, form):
    """The run's parameter is a path, with which Prefect's button "Run again" starts another run."""
    here = studio(pool=2)
    lyrics = "la la, lo lo 🎻\n" * 30_000
    data = {"name": f"long {form}", "prompt": "a waltz", "list": [{"seed": 1, "lyrics": lyrics}, {"seed": 2}]}
    given = json.dumps(data) if form == "text" else data
    first = await sweep(given, name=f"long {form}", report=False, **here.options)
    assert (first.stored, first.posts) == (2, 2)
    run = await last_run(f"long {form}")
    kept = run.parameters["spec"]
    assert os.path.dirname(kept) == str(here.folder / "songs" / "kept")  # noqa: PTH120 - a text of Prefect's
    again = await sweep(**{**here.options, "spec": kept, "report": False})
    assert (again.existing, again.posts, here.billed) == (2, 0, 2)


async def test_what_cannot_be_kept_beside_is_refused_before_anything_is_sent(studio):
    """Lyrics that only one request has, and a cell that no shard of a deployment can have as a parameter."""
    here = studio(pool=2)
    with pytest.raises(
        InputError, match=r"flow generate-song have .* bytes, and Prefect takes 524,288: lyrics is too"
    ):
        await generate_song("a waltz", lyrics="la " * 200_000, **here.options)
    request = SongRequest.parse({"prompt": "a waltz", "lyrics": "la " * 200_000})
    with pytest.raises(InputError, match=r"shard 1, one cell, have .* bytes.*cells is too long"):
        await Shards("sweep-shard/none", "root", {}, 1, 1).run([[Cell("key", request, {}, 1)]])
    assert here.billed == 0


async def test_a_sweep_runs_in_shards_and_a_new_run_pays_nothing(studio, prefect_server):
    """Prefect shows a task run for each shard (none for a cell), a progress bar, a table, and a report if requested.

    Whoever started the run in this process sees its counts.
    """
    here, shown = studio(pool=2), []

    @contextlib.asynccontextmanager
    async def show(name, tally):
        shown.append((name, tally))
        yield

    with watched_by(Watcher(sweep=show)):
        first = await sweep(spec(7), shards={"shard_size": 3}, concurrency=2, **here.options)
    assert (first.stored, first.songs, first.posts, first.exit_code) == (7, 14, 7, 0)
    assert [(name, tally.cells, tally.stored) for name, tally in shown] == [("waltz", 7, 7)]
    drawn = await last_run("waltz")
    [_, report] = sorted(
        await prefect_server.artifacts(drawn.id, "markdown"), key=lambda page: "Varied:" in page
    )
    assert report.count("](data:image/png;base64,") == 2  # the seed's effects, and all of it
    again = await sweep(spec(7), shards={"shard_size": 3}, report=False, **here.options)
    assert (again.existing, again.posts) == (7, 0)
    assert here.billed == 7
    run = await last_run("waltz")
    assert run.state.message == "7 cells: 7 stored before; 0 requests for 0 units, 0 songs."
    names = await prefect_server.task_runs(run.id, 3)
    assert names == ["shard 1 of 3", "shard 2 of 3", "shard 3 of 3"]
    [page] = await prefect_server.artifacts(run.id, "markdown")
    assert page.count("| succeeded |") == 7
    assert page.count("<audio ") == 7
    async with Library(here.library.get_settings()) as library:
        runs = {
            one.runs.root_flow_run_id for one in await library.ledger.submissions.in_states(["succeeded"])
        }
    assert len(runs) == 1


async def test_the_page_shows_the_songs_that_a_review_had_made_again(studio, prefect_server):
    """They have keys of their own."""
    here, review = studio(pool=2), {"discard": "seconds < 1000", "again": 1}
    given = {"name": "reviewed", "prompt": "a waltz", "replicates": 2, "review": review}
    made = await sweep(given, report=False, **here.options)
    assert (made.posts, here.billed) == (4, 4)
    [page] = await prefect_server.artifacts((await last_run("reviewed")).id, "markdown")
    assert page.count("| succeeded |") == 4


async def test_unsuccessful_cells_make_a_failed_run_with_counts(studio, prefect_server):
    here, given = studio({"fault": "failure", "times": 1}, pool=2), spec(3, name="counted")
    state = await sweep(given, **here.options, return_state=True)
    result = await result_of(state)
    [event] = await prefect_server.events("songflow.sweep.ended", "songflow.sweep.counted")
    assert (event["payload"]["failed"], event["payload"]["said"]) == (1, state.message)
    assert await prefect_server.events(
        "songflow.generation.failed", f"songflow.generation.{result.failures[0].key}"
    )
    with pytest.raises(SweepUnfinished, match="3 cells: 2 stored before, 1 failed"):
        await sweep(given, **here.options)
    assert (state.is_failed(), result.stored, result.failed, result.exit_code) == (True, 2, 1, 4)
    assert "3 cells: 2 stored, 1 failed" in state.message
    better = await sweep(given, safety={"retry_errors": True}, **here.options)
    assert (better.existing, better.stored, here.billed) == (2, 1, 4)


async def test_a_retried_parent_pays_for_no_cell_twice_and_keeps_its_budget(studio, prefect_server):
    here, tries = studio(pool=2), []

    @flow(retries=1)
    async def album():
        tries.append(await result_of(await sweep(spec(5), budget=3.0, **here.options, return_state=True)))
        if len(tries) == 1:
            raise RuntimeError("the parent fails")

    await album()
    assert [(one.stored, one.existing, one.not_started, one.exit_code) for one in tries] == [
        (3, 0, 2, 6),
        (0, 3, 2, 6),
    ]
    assert here.billed == 3


async def test_a_retry_does_not_pay_again_for_failures_of_the_same_run(studio, prefect_server):
    """`retry_errors` concerns earlier runs; otherwise each automatic retry would pay for failures again."""
    here, tries = studio({"fault": "failure", "times": None}, pool=2), []

    @flow(retries=1)
    async def album():
        state = await sweep(spec(2), safety={"retry_errors": True}, **here.options, return_state=True)
        tries.append((await result_of(state)).failed)
        with pytest.raises(GenerationFailed):
            await generate_song("a waltz", safety={"retry_errors": True}, **here.options)
        if len(tries) == 1:
            raise RuntimeError("the parent fails")

    await album()
    assert (tries, here.billed) == ([2, 2], 3)
    await album()
    assert here.billed == 6


async def test_a_wrong_spec_is_refused_with_all_its_faults(studio, prefect_server):
    here = studio()
    with pytest.raises(InvalidDocument, match=r"seed is -3.*tempo is not known here"):
        await sweep("prompt: a\nseed: -3\ntempo: 2\n", **here.options)
    with pytest.raises(ParameterTypeError, match="concurrency"):
        await sweep(spec(1), concurrency=0, **here.options)
    assert here.billed == 0


def test_every_parameter_has_a_title_and_a_text_in_the_form():
    for made in (sweep, sweep_shard):
        for name, schema in made.parameters.model_dump()["properties"].items():
            assert schema["description"].endswith("."), name
            assert schema["title"][0].isupper(), name
        assert "Args:" not in made.description


async def test_a_ledger_lost_before_a_later_shard_is_not_reported_as_nothing_sent(studio, monkeypatch):
    """Earlier shards are paid for."""
    here, read, tries = studio(), KeySummaries.of_keys, []

    async def of_keys(standings, keys):
        tries.append(keys)
        if len(tries) > 2:  # the sweep's own look, and the first shard's
            while not here.billed:  # noqa: ASYNC110 - the gateway is in another thread and sets no event of ours
                await asyncio.sleep(0.01)
            raise LibraryError("The ledger cannot be reached.", next="start it.")
        return await read(standings, keys)

    monkeypatch.setattr(KeySummaries, "of_keys", of_keys)
    with without_pauses(attempts=3), pytest.raises(NotCollected, match="were worked on") as caught:
        await sweep(spec(2), shards={"shard_size": 1}, concurrency=1, report=False, **here.options)
    assert (caught.value.exit_code, here.billed) == (5, 1)


async def test_a_ledger_lost_after_the_last_cell_costs_the_page_and_nothing_else(
    studio, prefect_server, monkeypatch
):
    here = studio()

    async def of_keys(*_):
        raise LibraryError("The ledger cannot be reached.", next="start it.")

    monkeypatch.setattr(Songs, "of_keys", of_keys)
    with without_pauses(attempts=1):
        result = await sweep(spec(2), report=False, **here.options)
    assert (result.stored, result.exit_code) == (2, 0)
    run = await last_run("waltz")
    assert run.state.is_completed()
    assert await prefect_server.artifacts(run.id, "markdown") == []
    assert "The sweep cannot be shown in Prefect (LibraryError)" in await prefect_server.logs(run.id)


async def test_a_sweep_is_told_of_in_the_unit_of_its_library(studio, prefect_server):
    """In its state, its log and its page, which has the rest of what is not made."""
    here = studio()
    library = SongLibrary(folder=str(here.folder / "songs"), unit="EUR")
    options = {**here.options, "library": library, "budget": 1.0}
    state = await sweep(spec(2), report=False, concurrency=1, **options, return_state=True)
    counts = "2 cells: 1 stored, 1 not started; 1 request for 1 EUR, 2 songs."
    assert state.message.startswith(counts)
    run = await last_run("waltz")
    assert counts in await prefect_server.logs(run.id)
    [page] = await prefect_server.artifacts(run.id, "markdown")
    assert escape(counts) in page
    assert "| state | songs | EUR | why | key |" in page


async def test_a_command_becomes_a_flow_run_if_a_server_is_configured(
    studio, prefect_server, tmp_path, program
):
    """The same JSON and exit code as without Prefect."""
    here = studio({"fault": "failure", "times": 1}, pool=2)
    path = tmp_path / "by-command.yaml"
    path.write_text("prompt: a waltz\ngrid:\n  seed: [1, 2, 3]\n")
    process = await program(
        *("-m", "cli", "sweep", "run", path, "--library", here.folder / "songs"),
        *("--gateway", "openai-hk", "--base-url", here.simulator.url, "--poll-interval", "0.1", "--json"),
        env={**os.environ, "PREFECT_API_URL": prefect_server.url, "PREFECT_HOME": str(tmp_path / "home"),
             "OPENAI_HK_KEY": here.secret},
    )  # fmt: skip
    out, err = await process.communicate()
    answer = json.loads(out)
    assert (process.returncode, answer["stored"], answer["failed"], answer["posts"]) == (4, 2, 1, 3), (
        err.decode()
    )
    assert here.secret not in (out + err).decode()
    run = await last_run("by-command")
    assert run.state.is_failed()
