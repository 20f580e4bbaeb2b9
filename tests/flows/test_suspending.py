"""Served runs that wait for a choice: their slot is free, the answer counts once, and nothing is paid for twice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from datetime import datetime

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.states import Failed, Scheduled, Suspended

from blocks import SimulatorCredentials, SongLibrary
from flows.rescue import rescue_songs
from flows.suspending import answer_for_nobody

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect"), pytest.mark.timeout(600)]

RECIPE = {
    "name": "A served question",
    "core": {"prompt": "a question", "take": "ask"},
    "steps": [{"name": "outro", "place": "outro"}],
}
# One run at a time: while one waits for a person, the other could not start in its place.
SERVE = """
from prefect import serve
from deployments.definitions import definitions
serve(*(one.served() for one in definitions() if one.name in ("generate", "whole-song", "rescue")), limit=1)
"""


@pytest.fixture
async def served(prefect_server, tmp_path, program):
    """A process that serves three deployments, with one slot for all."""
    process = await program(
        *("-c", SERVE),
        quiet=True,
        env={
            **os.environ,
            "PREFECT_API_URL": prefect_server.url,
            "PREFECT_HOME": str(tmp_path / "worker"),
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "SONGFLOW_LIBRARY": str(tmp_path / "nothing"),
        },
    )
    async with get_client() as client, asyncio.timeout(180):
        found = {}
        while len(found) < 3 or any(one.status != "READY" for one in found.values()):
            with contextlib.suppress(Exception):
                for name in ("generate-song/generate", "make-song/whole-song", "rescue-songs/rescue"):
                    found[name] = await client.read_deployment_by_name(name)
            await asyncio.sleep(0.2)
        for schedule in found["rescue-songs/rescue"].schedules:
            await client.update_deployment_schedule(
                found["rescue-songs/rescue"].id, schedule.id, active=False
            )
    yield found
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    async with get_client() as client:
        for one in found.values():
            await client.delete_deployment(one.id)


async def reached(prefect_server, run_id, name, after=None):
    """The run, once it is in a state of this name, which is not the one `after`."""
    async with asyncio.timeout(180):
        while True:
            run = await prefect_server.flow_run(run_id)
            if run.state.name == name and run.state.id != after:
                return run
            assert name == "Failed" or run.state.name not in ("Failed", "Crashed"), run.state.message
            await asyncio.sleep(0.2)


async def answer(run, choice):
    """Resume a run, once its form is there."""
    key = run.state.state_details.run_input_keyset["schema"]
    async with get_client() as client, asyncio.timeout(60):
        while True:
            found = await client.filter_flow_run_input(run.id, "suspended", limit=20, exclude_keys=set())
            if key in {one.key for one in found}:
                break
            await asyncio.sleep(0.1)
        return (await client.resume_flow_run(run.id, run_input={"choice": choice})).status.value


async def test_a_served_run_is_suspended_while_it_waits(studio, prefect_server, served):
    here = studio()
    account = await SimulatorCredentials(base_url=here.simulator.url).asave("suspending", overwrite=True)
    library = await SongLibrary(folder=str(here.folder / "songs")).asave("suspending", overwrite=True)
    blocks = {
        "credentials": {"$ref": {"block_document_id": str(account)}},
        "library": {"$ref": {"block_document_id": str(library)}},
        "waiting": {"poll_interval": 0.1},
    }
    run_id = await prefect_server.start("make-song/whole-song", {"recipe": RECIPE, **blocks})
    first = await reached(prefect_server, run_id, "Suspended")
    # Its page is there: a heartbeat after that event, while it is made, would let the run count as a zombie.
    assert "## How it was made" in "".join(await prefect_server.artifacts(run_id, "markdown"))

    # The only slot is free.
    other = await prefect_server.start("generate-song/generate", {"prompt": "meanwhile", **blocks})
    assert (await reached(prefect_server, other, "Completed")).state.message.startswith("2 songs, 1 unit")
    assert here.billed == 2

    # An answer that is no choice leaves it suspended. A retry asks again, with a form of its own.
    assert await answer(first, "take 9") == "REJECT"
    async with get_client() as client:
        await client.set_flow_run_state(run_id, Failed(message="by a person"), force=True)
        await client.set_flow_run_state(run_id, Scheduled())
    second = await reached(prefect_server, run_id, "Suspended", after=first.state.id)
    assert second.state.state_details.pause_key != first.state.state_details.pause_key
    assert here.billed == 2

    # Another pair is paid for once, though the run starts twice more.
    assert await answer(second, "make another pair") == "ACCEPT"
    third = await reached(prefect_server, run_id, "Suspended", after=second.state.id)
    assert here.billed == 3

    # Nobody answers: a rescue is scheduled for that moment, and continues with the recipe's default.
    assert await answer(third, "take 9") == "REJECT"
    rescue = FlowRunFilterDeploymentId(any_=[served["rescue-songs/rescue"].id])
    async with get_client() as client:
        planned = await client.read_flow_runs(flow_run_filter=FlowRunFilter(deployment_id=rescue))
        due = max(one.state.state_details.scheduled_time for one in planned)
        await rescue_songs(library=SongLibrary(folder=str(here.folder / "songs")))
        assert (await prefect_server.flow_run(run_id)).state.name == "Suspended"
        key = f"songflow-default-{third.state.state_details.pause_key}"
        default = json.loads(await client.read_flow_run_input(run_id, key))
        assert due == datetime.fromisoformat(default["at"])
        await client.delete_flow_run_input(run_id, key)
        await client.create_flow_run_input(
            run_id, key, json.dumps({**default, "at": "2026-01-01T00:00:00+00:00"})
        )
    await rescue_songs(library=SongLibrary(folder=str(here.folder / "songs")))
    assert (await reached(prefect_server, run_id, "Completed")).state.message.startswith("1 whole song")
    log = await prefect_server.logs(run_id, until="nobody in time")
    assert "Continuing core with take 1 (nobody in time)" in log
    _, songs = await here.ledger(f"{run_id}:song:core")
    bill = [
        entry.body["gen_params"]["config"].get("source", {}).get("song_id") for entry in here.simulator.bill()
    ]
    assert bill == [None, None, None, songs[0].song_id]


@pytest.mark.usefixtures("prefect_server")
async def test_a_run_that_cannot_be_continued_keeps_no_other_waiting(monkeypatch, caplog):
    """Nor does what a rescue left that died, or a server that gives one run at a time."""
    read = PrefectClient.read_flow_runs
    monkeypatch.setattr(
        PrefectClient, "read_flow_runs", lambda client, **asked: read(client, **asked, limit=1)
    )
    due = json.dumps({"at": "2026-01-01T00:00:00+00:00", "choice": "take 1"})
    async with get_client() as client:
        flow = await client.create_flow_from_name("a copy of make-song")
        deployment = await client.create_deployment(flow, "nobody")
        runs = [(await client.create_flow_run_from_deployment(deployment)).id for _ in range(3)]
        runs.sort(reverse=True)  # as the server lists them
        for run, default in zip(runs, ("no JSON", due, due), strict=True):
            await client.set_flow_run_state(run, Suspended(timeout_seconds=3600, pause_key="q"), force=True)
            await client.create_flow_run_input(run, "songflow-default-q", default)
        await client.create_flow_run_input(runs[1], "songflow-nobody-q", "true")
        await answer_for_nobody()
        names = [(await client.read_flow_run(run)).state.name for run in runs]
        for run in runs:
            await client.delete_flow_run(run)
        await client.delete_deployment(deployment)
    assert names == ["Suspended", "Resuming", "Resuming"]
    assert f"The flow run {runs[0]} waits for a choice and cannot be continued" in caplog.text
