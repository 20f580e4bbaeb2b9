"""Three workers, PostgreSQL and Redis: whatever is killed, cut off or retried, each song is paid for once and kept."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.schedules import RRuleSchedule
from support.cluster import PATIENCE, running_team

from songflow.audio.checksums import sha256_of
from songflow.ledger.states import SongState
from songflow.simulator import FaultScript, SimulatorServer, SimulatorSettings

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.postgres,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.timeout(900),
]

CELLS = int(os.environ.get("SONGFLOW_TEST_CELLS", "12"))
AWAY_SECONDS = float(os.environ.get("SONGFLOW_TEST_AWAY", "0"))
RESTART = os.environ.get("SONGFLOW_TEST_RESTART", "")
GENERATE = "generate-song/generate"
# A generation takes about 5 s: long enough for something to happen to it.
SLOW = {"speed": 10.0}


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    with running_team(tmp_path_factory.mktemp("cluster")) as team:
        yield team


@pytest.fixture
def gateway(tmp_path):
    """Starts simulated gateways; each keeps its own bill."""
    running = []

    def start(*faults, **settings):
        chosen = {
            "speed": 200.0,
            "sigma": 0.0,
            "clip_seconds": 0.25,
            "state_dir": tmp_path / "gateway",
            **settings,
        }
        server = SimulatorServer(SimulatorSettings(faults=FaultScript.of(*faults), **chosen))
        server.start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.stop()


def at(gateway, prompt="a waltz", **more):
    """The parameters of a run at a simulated gateway."""
    return {
        "prompt": prompt,
        "account": {"gateway": "simulator", "base_url": gateway.url},
        "waiting": {"poll_interval": 0.5},
        **more,
    }


# A group of a run replaces that of its deployment.
OWN_RUNS = {"shard_deployment": "sweep-shard/shard"}


async def check_all_stored(team, runs):
    """Every take of every run is whole, at the place that the ledger names."""
    for run in runs:
        submissions, songs = await team.ledger(run)
        assert len(submissions) == 1, run
        assert len(songs) == 2, run
        for song in songs:
            assert song.state is SongState.STORED, song
            assert (
                await asyncio.to_thread(sha256_of, team.library.folder / "audio" / song.path) == song.sha256
            )


async def test_a_worker_and_a_flow_process_are_killed(team, gateway):
    there = gateway(**SLOW)
    runs = [await team.run(GENERATE, **at(there, f"song {number}")) for number in range(3)]
    victim = runs[0]
    await team.accepted(victim)
    await team.kill_flow(victim)
    assert (await team.reached(victim)).state.name == "Crashed"

    for run in runs[1:]:
        await team.accepted(run)
    team.cluster.processes.kill("worker-1")
    try:
        later = await team.run(GENERATE, **at(there, "later"))
        assert (await team.reached(later)).state.name == "Completed"
        # What the killed worker had started goes on or goes down with it: either way its songs are collected.
        for run in runs[1:]:
            assert (await team.reached(run)).state.name in {"Completed", "Crashed"}
        async with asyncio.timeout(PATIENCE):
            # A process may outlive its run's state for a moment: rescue leaves it alone as long as it lives.
            while not await all_stored(team, [*runs, later]):
                assert (await team.rescued()).state.name == "Completed"
        await check_all_stored(team, [*runs, later])
        assert len(there.bill()) == len(runs) + 1
    finally:
        team.cluster.start_worker("worker-1")


async def test_a_sweep_loses_a_worker_and_a_shard(team, gateway):
    """Made with 300 cells by hand: SONGFLOW_TEST_CELLS=300."""
    there, size = gateway(**SLOW), 4
    spec = {
        "prompt": "a swept waltz",
        "lyrics_type": "instrumental",
        "grid": {"prompt_strength": {"from": 0, "to": 1, "steps": CELLS}},
    }
    cells = max(size, CELLS // 10)
    parameters = at(there, spec=spec, shards={"shard_size": cells, **OWN_RUNS}, concurrency=cells)
    del parameters["prompt"]
    run = await team.run("sweep/sweep", **parameters)
    shard = await team.busy_shard(cells)
    await team.kill_flow(shard)
    assert (await team.reached(shard)).state.name == "Crashed"
    team.cluster.processes.kill("worker-1")
    try:
        # The sweep starts the shard again by itself; another worker takes it.
        assert (await team.reached(run)).state.name == "Completed"
    finally:
        team.cluster.start_worker("worker-1")
    assert len(there.bill()) == CELLS
    songs = await team.songs_of(there.url)
    assert len(songs) == 2 * CELLS
    assert {song.state for song in songs} == {SongState.STORED}


async def test_the_server_plans_the_runs_of_the_scheduled_deployments(team):
    """At the time of day that docs/schedules.md says, in summer and in winter."""
    async with asyncio.timeout(PATIENCE), get_client() as client:
        daily = await planned(client, "generate-song/daily")
        weekly = await planned(client, "sweep/weekly")
        rescues = await planned(client, "rescue-songs/rescue")
    assert {(one.hour, one.minute) for one in daily} == {(7, 0)}
    assert daily[1].date() - daily[0].date() == timedelta(days=1)
    assert {(one.isoweekday(), one.hour, one.minute) for one in weekly} == {(7, 3, 0)}
    assert rescues[1] - rescues[0] == timedelta(minutes=15)


async def test_a_schedule_makes_a_new_song_each_time(team, gateway):
    there = gateway()
    async with get_client() as client:
        deployment = await client.read_deployment_by_name(GENERATE)
        await twice(client, deployment.id, at(there, "every time"))
        fired = await ended(client, "every time", 2)
    assert {run.state.name for run in fired} == {"Completed"}
    await check_all_stored(team, [run.id for run in fired])
    keys = {submission.key for run in fired for submission in (await team.ledger(run.id))[0]}
    assert len(keys) == len(fired) == len(there.bill())


async def test_a_retry_of_a_failed_run_pays_nothing_more(team, gateway):
    there = gateway({"fault": "status", "on": "download", "status": 503, "times": None})
    run = await team.run(GENERATE, **at(there))
    assert (await team.reached(run)).state.name == "Failed"
    [before], _songs = await team.ledger(run)
    async with httpx.AsyncClient() as client:
        (await client.put(f"{there.url}/_simulator/faults", json=[])).raise_for_status()

    await prefect_command(team, "flow-run", "retry", str(run))
    assert (await team.reached(run, "Completed")).run_count == 2
    [after], _songs = await team.ledger(run)
    assert after.any_id == before.any_id
    await check_all_stored(team, [run])
    assert len(there.bill()) == 1


async def test_a_cancelled_run_is_collected_by_the_rescue_deployment(team, gateway):
    there = gateway(speed=2.0)  # some 26 s, since the command that cancels takes a while to start
    run = await team.run(GENERATE, **at(there))
    await team.accepted(run)
    await prefect_command(team, "flow-run", "cancel", str(run))
    assert (await team.reached(run)).state.name == "Cancelled"
    assert (await team.rescued()).state.name == "Completed"
    await check_all_stored(team, [run])
    assert len(there.bill()) == 1


async def test_the_server_goes_down_and_the_databases_drop_everybody(team, gateway):
    """Alone on a machine, with a real outage and a real restart: SONGFLOW_TEST_AWAY=30 (seconds) and
    SONGFLOW_TEST_RESTART='pg_ctlcluster 15 main restart'.
    """
    there = gateway(**SLOW)
    runs = [await team.run(GENERATE, **at(there, f"song {number}")) for number in range(2)]
    for run in runs:
        await team.accepted(run)
    team.cluster.processes.stop("server")
    if RESTART:
        assert await (await asyncio.create_subprocess_shell(RESTART)).wait() == 0
    else:
        assert await team.cut_connections() > 0
    # Its songs are finished while nobody hears of it.
    async with asyncio.timeout(PATIENCE):
        for run in runs:
            await stored(team, run)
    await asyncio.sleep(AWAY_SECONDS)
    await asyncio.to_thread(team.cluster.start_server)

    for run in runs:
        assert (await team.reached(run)).state.is_final()
    await check_all_stored(team, runs)
    assert len(there.bill()) == len(runs)


async def ended(client, prompt, number):
    """The runs with a prompt, as soon as this number of them has ended."""
    async with asyncio.timeout(PATIENCE):
        while True:
            runs = [
                run
                for run in await client.read_flow_runs(limit=200)
                if run.parameters.get("prompt") == prompt
            ]
            if len(runs) == number and all(run.state.is_final() for run in runs):
                return runs
            await asyncio.sleep(0.5)


async def planned(client, deployment):
    """When the next runs of a deployment are due, in Berlin; waits until the server has planned some."""
    found = await client.read_deployment_by_name(deployment)
    chosen = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[found.id]))
    while True:
        runs = await client.read_flow_runs(flow_run_filter=chosen, limit=200)
        due = sorted(run.expected_start_time for run in runs if run.auto_scheduled)
        if len(due) > 1:
            return [one.astimezone(ZoneInfo("Europe/Berlin")) for one in due]
        await asyncio.sleep(0.5)


async def all_stored(team, runs):
    """Whether every take of these runs is on the store."""
    takes = [(await team.ledger(run))[1] for run in runs]
    return all(songs and all(song.state is SongState.STORED for song in songs) for songs in takes)


async def stored(team, run):
    """Until every take of a run is on the store."""
    while not await all_stored(team, [run]):  # noqa: ASYNC110 - other processes store them
        await asyncio.sleep(0.5)


async def twice(client, deployment, parameters):
    """Add a schedule that is due twice, with parameters of its own, as the UI does."""
    begin = datetime.now(UTC) + timedelta(seconds=10)
    rule = f"DTSTART:{begin:%Y%m%dT%H%M%S}Z\nRRULE:FREQ=SECONDLY;INTERVAL=10;COUNT=2"
    schedules = [
        {
            "schedule": RRuleSchedule(rrule=rule).model_dump(mode="json"),
            "active": True,
            "parameters": parameters,
        }
    ]
    answer = await client.request(
        "POST", "/deployments/{id}/schedules", path_params={"id": deployment}, json=schedules
    )
    answer.raise_for_status()


async def prefect_command(team, *arguments):
    """Prefect's own command line, against the cluster."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prefect", *arguments),
        env=team.cluster.plan.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
