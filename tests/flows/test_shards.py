"""Shards of a sweep as runs of a deployment, on a real Prefect server: each cell is paid for once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import uuid

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
)
from prefect.states import Cancelled, Cancelling, Completed, Crashed, Failed, Running
from support.sweep_flows import last_run, result_of, spec

from blocks import SimulatorCredentials, SongLibrary
from flows import shards
from flows.rescue import rescue_songs
from flows.sweep import sweep, sweep_shard
from songflow.errors import InputError
from songflow.library.library import Library
from songflow.runtime.retry import without_pauses

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.xdist_group("prefect"),
    pytest.mark.usefixtures("prefect_server"),
]


async def test_watching_a_shard_outlasts_prefects_server(monkeypatch):
    """For some minutes; an answer that is no outage is none to wait for."""
    gone = httpx.HTTPStatusError("", request=None, response=httpx.Response(502))
    outages = [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), gone]

    async def ask():
        if outages:
            raise outages.pop()
        return "an answer"

    with without_pauses():
        assert await shards._outlasting(ask) == "an answer"
        outages.append(httpx.HTTPStatusError("", request=None, response=httpx.Response(404)))
        with pytest.raises(httpx.HTTPStatusError):
            await shards._outlasting(ask)


async def test_a_shard_that_does_not_begin_is_named(prefect_server, monkeypatch, caplog):
    """The sweep itself may hold the only place of a work pool."""
    monkeypatch.setattr(shards, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(shards, "_BEGINS_SECONDS", 0.2)
    deployment = await (await rescue_songs.ato_deployment("without-a-worker")).aapply()
    async with get_client() as client:
        run = await client.create_flow_run_from_deployment(deployment)
        waiting = asyncio.create_task(shards._ended("shard 1 of 1", run))
        async with asyncio.timeout(60):
            while "has not begun yet" not in caplog.text:  # noqa: ASYNC110 - a log gives no event
                await asyncio.sleep(0.05)
        await client.set_flow_run_state(run.id, Cancelled(), force=True)
        assert (await waiting).state.name == "Cancelled"
        await client.delete_deployment(deployment)


class TestDeployments:
    """Shards as runs of a deployment that other processes serve."""

    @pytest.fixture
    async def serving(self, prefect_server, tmp_path, program):
        """Starts processes that serve `sweep-shard`, as workers would."""
        running = []

        async def start():
            code = "from flows.sweep import sweep_shard; sweep_shard.serve('here', limit=4)"
            process = await program(
                *("-c", code),
                env={**os.environ, "PREFECT_API_URL": prefect_server.url, "PREFECT_HOME": str(tmp_path / "worker"),
                     "PREFECT_RUNNER_POLL_FREQUENCY": "1"},
                quiet=True,
            )  # fmt: skip
            running.append(process)
            async with get_client() as client, asyncio.timeout(180):
                while True:
                    with contextlib.suppress(Exception):
                        found = await client.read_deployment_by_name("sweep-shard/here")
                        if found.status == "READY":
                            return process
                    await asyncio.sleep(0.2)

        yield start
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    @pytest.fixture
    def until_accepted(self):
        """Waits until so many cells are recorded as accepted, with no answer in flight."""

        async def wait(here, count):
            async with asyncio.timeout(120):
                while here.billed < count:  # noqa: ASYNC110 - other processes give no events
                    await asyncio.sleep(0.1)
                async with Library(here.library.get_settings()) as library:
                    while await library.ledger.submissions.in_states(["intended", "sending"]):  # noqa: ASYNC110 - nor here
                        await asyncio.sleep(0.02)

        return wait

    async def test_a_shard_whose_worker_was_killed_is_started_again_and_pays_for_nothing_twice(
        self, studio, serving, until_accepted, prefect_server
    ):
        """The dead run is marked as crashed, as the automation for zombie runs does; another worker runs the shard."""
        # Slow enough (18 s) that no shard is done before the other one has begun.
        here = studio(pool=2, speed=3.0, sigma=0.0)
        await SimulatorCredentials(base_url=here.simulator.url).asave("killed", overwrite=True)
        options = {**here.options, "credentials": await SimulatorCredentials.aload("killed")}
        worker = await serving()
        parent = asyncio.create_task(
            sweep(spec(5), shards={"shard_deployment": "sweep-shard/here", "shard_size": 3}, **options)
        )
        await until_accepted(here, 5)
        os.killpg(worker.pid, signal.SIGKILL)
        await worker.wait()
        dead = [await last_run(f"shard {number} of 2") for number in (1, 2)]
        async with get_client() as client:
            for run in dead:
                await client.set_flow_run_state(run.id, Crashed(message="its worker died"), force=True)
        await serving()
        result = await parent
        assert (result.stored, result.posts, result.exit_code, here.billed) == (5, 5, 0, 5)
        again = [await last_run(f"shard {number} of 2") for number in (1, 2)]
        assert not {run.id for run in again} & {run.id for run in dead}
        assert all(run.state.is_completed() for run in again)
        async with Library(here.library.get_settings()) as library:
            done = await library.ledger.submissions.in_states(["succeeded"])
        assert {one.runs.root_flow_run_id for one in done} == {str((await last_run("waltz")).id)}
        assert {one.runs.flow_run_id for one in done} == {str(run.id) for run in dead}

    async def test_the_exit_code_is_the_same_whether_shards_run_here_or_elsewhere(self, studio, serving):
        """The worst of the cells and of the reason for stopping: here a failure, then a used-up budget."""
        results = []
        await serving()
        for deployment in (None, "sweep-shard/here"):
            here = studio({"fault": "failure"}, pool=2)
            await SimulatorCredentials(base_url=here.simulator.url).asave("codes", overwrite=True)
            options = {**here.options, "credentials": await SimulatorCredentials.aload("codes")}
            options |= {"budget": 2.0, "concurrency": 1, "report": False}
            options |= {"shards": {"shard_deployment": deployment, "shard_size": 2}}
            results.append(await result_of(await sweep(spec(3), **options, return_state=True)))
        one, other = results
        assert (one.failed, one.stored, one.not_started, one.exit_code) == (1, 1, 1, 6)
        assert (other.failed, other.stored, other.not_started, other.exit_code) == (1, 1, 1, 6)
        assert "budget of 2 units is used up" in one.stopped
        assert one.stopped == other.stopped

    async def test_unsaved_blocks_are_refused_before_anything_is_sent(self, studio):
        here = studio()
        with pytest.raises(InputError, match="saved block"):
            await sweep(spec(2), shards={"shard_deployment": "sweep-shard/here"}, **here.options)
        secret = SongLibrary(folder=str(here.folder), ledger_url="sqlite:////tmp/never-made.sqlite")
        with pytest.raises(InputError, match=r"saved block|cannot"):
            await sweep(spec(2), shards={"shard_deployment": "sweep-shard/here"}, library=secret)
        with pytest.raises(InputError, match="no deployment"):
            await sweep(spec(2), shards={"shard_deployment": "sweep-shard/nowhere"}, library=here.library)
        assert here.billed == 0

    async def test_a_shard_of_another_account_sends_nothing(self, studio):
        here = studio()
        with pytest.raises(InputError, match="belongs to another account"):
            await sweep_shard(
                [{"key": "cell-0-0-1", "replicate": 1, "request": {"prompt": "a"}}], **here.options
            )
        with pytest.raises(InputError, match="no cell of a sweep"):
            await sweep_shard([{"prompt": "a"}], **here.options)
        assert here.billed == 0


class TestShardRuns:
    """The sweep's side of shards: the test acts as the worker and sets the states of their runs."""

    @pytest.fixture
    async def runs(self, prefect_server):
        """The runs of a deployment that no process serves: `runs.sweep(...)` sweeps with it."""
        name = f"nobody-{uuid.uuid4().hex[:8]}"
        deployment_id = await (await sweep_shard.ato_deployment(name)).aapply()
        return ShardRuns(f"sweep-shard/{name}", deployment_id)

    @pytest.mark.parametrize(
        "states", [[Cancelled()], [Running(), Cancelling(), Crashed(message="a signal ended its process")]]
    )
    async def test_a_cancelled_shard_stops_the_sweep(self, studio, runs, states):
        """It is not started again, not even by a retry, and no other shard is started."""
        here, results = studio(), []

        @flow(retries=1)
        async def album():
            results.append(await result_of(await runs.sweep(here, spec(4), shard_size=2, shards_at_once=1)))
            if len(results) == 1:
                raise RuntimeError("the parent fails")

        making = asyncio.create_task(album())
        [shard] = await runs.until(1)
        for state in states:
            await runs.end(shard, state)
        await making
        for result in results:
            assert (result.not_started, result.exit_code) == (4, 5)
            assert f"shard 1 of 2 was cancelled (flow run {shard.id})" in result.stopped
        assert (len(results), len(await runs.all()), here.billed) == (2, 1, 0)

    async def test_a_shard_that_died_or_failed_is_started_again(self, studio, runs):
        """Also one that was cancelled and then retried in Prefect."""
        here = studio()
        sweeping = asyncio.create_task(runs.sweep(here, spec(2)))
        [first] = await runs.until(1)
        for state in (Cancelling(), Running(), Crashed(message="its worker died")):
            await runs.end(first, state)
        [second] = await runs.until(2, but=[first])
        await runs.end(second, Running())
        await runs.end(second, Failed(message="Flow run encountered an exception: LibraryError: locked"))
        [third] = await runs.until(3, but=[first, second])
        await runs.end(third, Completed(message="Exit code 5. Stopped: The disk is full."))
        result = await result_of(await sweeping)
        assert (result.stopped, result.exit_code) == ("The disk is full.", 5)
        assert len(await runs.all()) == 3

    async def test_a_shard_with_invalid_parameters_is_not_started_again(self, studio, runs):
        """Every attempt would fail in the same way."""
        here = studio()
        cell = {"key": "cell-0-0-1", "replicate": 1, "request": {"prompt": "a"}}
        wrong = await sweep_shard([cell], **here.options, return_state=True)
        for state, said in (
            (wrong, "belongs to another account"),
            (Failed(message="Validation"), "Validation"),
        ):
            sweeping = asyncio.create_task(runs.sweep(here, spec(2)))
            [shard] = await runs.until(1)
            await runs.end(shard, Failed(message=state.message))
            result = await result_of(await sweeping)
            assert (result.not_started, result.exit_code) == (2, 2)
            assert said in result.stopped
            assert len(await runs.all()) == 1
            await runs.forget()
        assert here.billed == 0

    async def test_a_retried_parent_waits_for_active_shards(self, studio, runs, caplog):
        """An ended shard is followed by its next attempt; an active one is not started a second time."""
        caplog.set_level(logging.INFO, "songflow.flows")
        here, lives = studio(), []

        @flow(retries=1)
        async def album():
            sweeping = asyncio.create_task(runs.sweep(here, spec(4), shard_size=2))
            lives.append(sweeping)
            if len(lives) > 1:
                return await result_of(await sweeping)
            dead, _ = await runs.until(2)
            await runs.end(dead, Crashed(message="its worker died"))
            await runs.until(3)
            sweeping.cancel()
            await asyncio.wait([sweeping])
            raise RuntimeError("the parent fails")

        making = asyncio.create_task(album())
        while caplog.text.count("was started by an earlier attempt") < 2 and not making.done():  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.05)
        known = await runs.all()
        living = [run for run in known if not run.state.is_final()]
        assert (len(known), len(living)) == (3, 2)
        for run in living:
            await runs.end(run, Completed())
        assert (await making).not_started == 4
        assert len(await runs.all()) == 3


class ShardRuns:
    """The runs of one deployment."""

    def __init__(self, deployment, deployment_id):
        self._deployment = deployment
        self._filter = DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id]))

    async def sweep(self, here, data, **shards):
        await SimulatorCredentials(base_url=here.simulator.url).asave("shards", overwrite=True)
        options = {**here.options, "report": False}
        options["credentials"] = await SimulatorCredentials.aload("shards")
        shards["shard_deployment"] = self._deployment
        return await sweep(data, shards=shards, **options, return_state=True)

    async def all(self):
        async with get_client() as client:
            return await client.read_flow_runs(deployment_filter=self._filter)

    async def until(self, count, but=()):
        """Waits for so many runs; returns those that are not in `but`."""
        while len(found := await self.all()) < count:  # noqa: ASYNC110 - a server gives no events
            await asyncio.sleep(0.05)
        return [run for run in found if run.id not in {one.id for one in but}]

    async def end(self, run, state):
        async with get_client() as client:
            await client.set_flow_run_state(run.id, state, force=True)

    async def forget(self):
        async with get_client() as client:
            for run in await self.all():
                await client.delete_flow_run(run.id)
