"""What runs a flow is stopped in the middle of a POST, in every way that people do it: the answer is stored.

`serve` is Prefect's runner; a worker starts the same processes. Judged by the gateway's bill and the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows.rescue import rescue_songs
from songflow.ledger.states import State

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]

ROOT = Path(__file__).parents[2]
SLOW = {"fault": "slow_answer", "seconds": 6.0}
SERVE = "from flows.generate import generate_song; generate_song.serve('dying', limit=2)"
WORK = """
from prefect import flow
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.orchestration import get_client
import os, sys
with get_client(sync_client=True) as client:
    client.create_work_pool(WorkPoolCreate(name="dying", type="process"), overwrite=True)
flow.from_source({root!r}, entrypoint="flows/generate.py:generate_song").deploy(
    "dying", work_pool_name="dying", print_next_steps=False, build=False, ignore_warnings=True
)
os.execv(sys.executable, [sys.executable, "-m", "prefect", "worker", "start", "--pool", "dying"])
"""


@pytest.fixture
async def runs_of(prefect_server, tmp_path):
    """Starts what runs flows, in a session of its own."""
    running = []

    async def start(code, library):
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PREFECT_API_URL": prefect_server.url,
            "PREFECT_HOME": str(tmp_path / "home"),
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_FLOWS_PROCESS_CANCELLATION_GRACE_SECONDS": "1",
            "SONGFLOW_LIBRARY": str(library),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code.replace("{root!r}", repr(str(ROOT)))),
            env=environment, cwd=ROOT, start_new_session=True,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        running.append(process)
        return process

    yield start
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def terminated(process, _run, _server):
    process.send_signal(signal.SIGTERM)


async def interrupted(process, _run, _server):
    """Ctrl-C: the terminal sends it to the whole group, and people press it again."""
    os.killpg(process.pid, signal.SIGINT)
    await asyncio.sleep(0.3)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)


async def killed(process, _run, _server):
    os.killpg(process.pid, signal.SIGKILL)


async def cancelled_in_the_ui(_process, run, server):
    await server.cancel(run)


@pytest.mark.parametrize(
    ("runner", "death"),
    [
        (SERVE, terminated),
        (SERVE, interrupted),
        (SERVE, cancelled_in_the_ui),
        (WORK, terminated),
        (WORK, killed),
    ],
    ids=lambda one: {SERVE: "serve", WORK: "worker"}.get(one) or getattr(one, "__name__", None),
)
async def test_the_answer_of_a_run_that_is_stopped_in_its_post_is_stored(
    studio, prefect_server, runs_of, runner, death
):
    """Billed once, never `unknown`, and `rescue` brings the songs."""
    here = studio(SLOW)
    process = await runs_of(runner, here.library.folder)
    account = {"gateway": "simulator", "base_url": here.simulator.url}
    parameters = {"prompt": "stopped", "account": account, "safety": {"key": "k"}}
    run = await prefect_server.start("generate-song/dying", parameters)
    async with asyncio.timeout(180):
        while not here.billed:  # noqa: ASYNC110 - another process gives no event
            await asyncio.sleep(0.05)
        await death(process, run, prefect_server)
        while (await here.ledger("k"))[0][0].state is State.SENDING:  # noqa: ASYNC110 - nor here
            await asyncio.sleep(0.05)
    ([submission], _) = await here.ledger("k")
    assert submission.state in {State.ACCEPTED, State.RUNNING}
    async with get_client() as client:
        await client.delete_deployment((await client.read_deployment_by_name("generate-song/dying")).id)
    rescued = await rescue_songs(library=here.library)
    assert [row.state for row in rescued] == ["succeeded"]
    assert here.billed == 1
