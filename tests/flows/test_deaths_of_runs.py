"""What runs a flow is stopped in the middle of a POST, in every way that people do it: the answer is stored.

`serve` is Prefect's runner; a worker starts the same processes. Judged by the gateway's bill and the ledger. The ways
to stop one kind are tried at the same time, each on a run of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate

from flows.generate import generate_song
from flows.rescue import rescue_songs
from songflow.ledger.states import SongState, State

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]

ROOT = Path(__file__).parents[2]
SLOW = {"fault": "slow_answer", "seconds": 15.0}
# On a busy machine it takes Prefect longer than that to cancel a run.
SLOWER = {"fault": "slow_answer", "seconds": 30.0}
QUICK = {
    "PREFECT_RUNNER_POLL_FREQUENCY": "1",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_FLOWS_PROCESS_CANCELLATION_GRACE_SECONDS": "1",
    "PREFECT_LOGGING_LEVEL": "ERROR",
}
SERVE = "import sys; from flows.generate import generate_song; generate_song.serve(sys.argv[1], limit=2)"


async def terminated(process, _run, _server):
    process.send_signal(signal.SIGTERM)


async def interrupted(process, _run, _server):
    """Ctrl-C: the terminal sends it to the whole group, and people press it again."""
    for _ in range(2):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        await asyncio.sleep(0.3)


async def killed(process, _run, _server):
    os.killpg(process.pid, signal.SIGKILL)


async def cancelled_in_the_ui(_process, run, server):
    await server.cancel(run)
    while (await server.flow_run(run)).state.name != "Cancelled":  # noqa: ASYNC110 - a server gives no event
        await asyncio.sleep(0.2)
    assert (await server.states(run))[-3:] == ["Running", "Cancelling", "Cancelled"]


class Stopped:
    """One run in one place, started by a process of its own."""

    def __init__(self, kind, name, here, server, program):
        self.kind, self.name, self.here, self.server, self.program = kind, name, here, server, program
        self.account = {"gateway": "simulator", "base_url": here.simulator.url}
        self.environment = {
            **os.environ,
            **QUICK,
            "PYTHONPATH": str(ROOT),
            "PREFECT_API_URL": server.url,
            "PREFECT_HOME": str(here.folder / "home"),
            "SONGFLOW_LIBRARY": str(here.library.folder),
        }
        self.process = None

    async def start(self):
        """Start the run; returns its id where a server has given one."""
        match self.kind:
            case "a script":
                script = Path(__file__).parent / "terminated.py"
                return await self._run(script, self.here.simulator.url, self.here.library.folder)
            case "serve":
                await self._run("-c", SERVE, self.name)
            case "a worker":
                async with get_client() as client:
                    await client.create_work_pool(WorkPoolCreate(name=self.name, type="process"))
                source = await generate_song.from_source(str(ROOT), "flows/generate.py:generate_song")
                await source.deploy(self.name, work_pool_name=self.name, build=False, print_next_steps=False)
                await self._run("-m", "prefect", "worker", "start", "--pool", self.name)
        parameters = {"prompt": "stopped", "account": self.account, "safety": {"key": "k"}}
        return await self.server.start(f"generate-song/{self.name}", parameters)

    async def _run(self, *arguments):
        # In a session of its own, as a terminal starts it.
        self.process = await self.program(*arguments, env=self.environment, quiet=True)

    async def states(self):
        submissions, _songs = await self.here.ledger("k")
        return {one.state for one in submissions}

    async def collected(self):
        """Whether both songs are stored. A worker that is killed leaves the process of its run, which goes on."""
        await rescue_songs(credentials=self.here.credentials, library=self.here.library)
        _submissions, songs = await self.here.ledger("k")
        return [song.state for song in songs] == [SongState.STORED] * 2

    async def stop_in_its_post(self, death):
        """Returns the ledger's states before its answer and after it, and what was billed when the songs are stored."""
        try:
            run = await self.start()
            async with asyncio.timeout(240):
                while not self.here.billed:  # noqa: ASYNC110 - another process gives no event
                    await asyncio.sleep(0.1)
                await death(self.process, run, self.server)
                before = await self.states()
                while await self.states() == {State.SENDING}:  # noqa: ASYNC110 - nor here
                    await asyncio.sleep(0.2)
            after = await self.states()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()
        async with get_client() as client:  # a crashed run is not to be started again
            if run is not None:
                await client.delete_deployment(
                    (await client.read_deployment_by_name(f"generate-song/{self.name}")).id
                )
        async with asyncio.timeout(120):
            while not await self.collected():  # noqa: ASYNC110 - nor here
                await asyncio.sleep(0.5)
        return before, after <= {State.ACCEPTED, State.RUNNING, State.SUCCEEDED}, self.here.billed


DEATHS = {
    "a script": (interrupted, killed),  # SIGTERM: test_cancelling.py
    "serve": (terminated, interrupted, killed, cancelled_in_the_ui),
    "a worker": (terminated, interrupted, killed, cancelled_in_the_ui),
}


@pytest.mark.parametrize("kind", DEATHS)
async def test_the_answer_of_a_run_that_is_stopped_in_its_post_is_stored(
    studio, prefect_server, program, kind
):
    """Billed once, never `unknown`, and the songs are stored: by `rescue`, unless the run has gone on."""
    runs = {
        death.__name__: Stopped(
            kind,
            f"{kind[-6:]}-{death.__name__}".replace("_", "-"),
            studio(SLOW if kind == "a script" else SLOWER),
            prefect_server,
            program,
        )
        for death in DEATHS[kind]
    }
    ends = await asyncio.gather(*(runs[one.__name__].stop_in_its_post(one) for one in DEATHS[kind]))
    expected = ({State.SENDING}, True, 1)
    assert dict(zip(runs, ends, strict=True)) == dict.fromkeys(runs, expected)


async def test_a_run_goes_on_when_nobody_reads_its_output_any_more(studio, prefect_server, program):
    """As after the death of its worker: what it logs goes to the server, and its songs are stored."""
    one = Stopped(
        "a script", "unread", studio({"fault": "slow_answer", "seconds": 2.0}), prefect_server, program
    )
    script = Path(__file__).parent / "terminated.py"
    loud = one.environment | {"PREFECT_LOGGING_LEVEL": "INFO"}
    process = await program(script, one.here.simulator.url, one.here.library.folder, env=loud)
    async with asyncio.timeout(240):
        while not one.here.billed:  # noqa: ASYNC110 - another process gives no event
            await asyncio.sleep(0.1)
        process.stop_reading()
        assert await process.wait() in {0, 120}  # 120: Python could not write the last of it
    _submissions, songs = await one.here.ledger("k")
    assert [song.state for song in songs] == [SongState.STORED] * 2
