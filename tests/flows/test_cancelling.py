"""A cancelled run logs what is still running at the gateway; the same key collects it later, billed once."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from blocks import OpenAIHKCredentials
from flows.generate import generate_song
from songflow.ledger.states import State
from songflow.library.library import Library

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]

ROOT = Path(__file__).parents[2]
# Long enough (2.7 s) to be cancelled in the middle of the wait, short enough to be waited for afterwards.
SLOWER = {"speed": 20.0}
SCRIPT = Path(__file__).parent / "terminated.py"


async def accepted(here, key):
    """The submission of a key, once the ledger has the gateway's id."""
    async with asyncio.timeout(180):
        while True:
            submissions, _songs = await here.ledger(key)
            if submissions and submissions[0].generation_id:
                return submissions[0]
            await asyncio.sleep(0.05)


UNDER_WAY = "the request is under way; its sender waits for the answer and stores it"


async def check_it_is_told_and_collected(here, prefect_server, prompt, submission, said=None, **account):
    """The simulator bills nothing, and the log does not say so; `account` replaces it."""
    said = said or f"the generation {submission.generation_id} is still running at the gateway. To collect"
    log = await prefect_server.logs(submission.runs.flow_run_id, until=said)
    assert said in log
    assert "run again with the key 'k', or `songflow rescue`" in log
    [after], _songs = await here.ledger("k")
    assert after.state in {State.ACCEPTED, State.RUNNING}
    result = await generate_song(prompt, safety={"key": "k"}, **here.options | account)
    assert result.generation_id == submission.generation_id
    assert len(result.stored) == 2
    assert here.billed == 1


async def test_cancelled_in_its_process(studio, prefect_server):
    here = studio(**SLOWER)
    account = {"credentials": OpenAIHKCredentials(api_key=here.secret, base_url=here.simulator.url)}
    running = asyncio.create_task(generate_song("cancelled", safety={"key": "k"}, **here.options | account))
    submission = await accepted(here, "k")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    said = f"the generation {submission.generation_id} is still running at the gateway, and still billed"
    await check_it_is_told_and_collected(here, prefect_server, "cancelled", submission, said, **account)
    log = await prefect_server.logs(submission.runs.flow_run_id)
    assert "Still running at the gateway, still billed (1 unit): the key 'k'" in log


@pytest.fixture
def start_terminated(program, prefect_server):
    """Starts `terminated.py`."""

    async def start(here, *moment, fresh=False):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": prefect_server.url}
        arguments = (SCRIPT, here.simulator.url, here.library.folder, *moment)
        return await program(*arguments, env=environment, quiet=True, fresh=fresh)

    return start


async def test_terminated_as_a_worker_does_it(studio, prefect_server, start_terminated):
    here = studio(**SLOWER)
    process = await start_terminated(here, fresh=True)
    submission = await accepted(here, "k")
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(180):
        assert await process.wait() != 0
    await check_it_is_told_and_collected(here, prefect_server, "terminated", submission)


async def billed(here, times):
    """Wait until the gateway has received requests; it runs in another thread without an event to wait for."""
    async with asyncio.timeout(180):
        while here.billed < times:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_terminated_while_the_request_is_in_flight(studio, prefect_server, start_terminated):
    """The run does not wait for the answer; its sender records it."""
    here = studio({"fault": "slow_answer", "seconds": 8.0}, **SLOWER)
    process = await start_terminated(here)
    await billed(here, 1)
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(180):
        assert await process.wait() != 0
    submission = await accepted(here, "k")
    assert (await prefect_server.flow_run(submission.runs.flow_run_id)).state.name == "Crashed"
    await check_it_is_told_and_collected(here, prefect_server, "terminated", submission, UNDER_WAY)


async def test_a_sweep_is_terminated_while_requests_are_in_flight(studio, prefect_server, start_terminated):
    """Their answers are recorded by the sender, and no further request is sent."""
    here = studio({"fault": "slow_answer", "seconds": 2.0, "times": None}, **SLOWER)
    process = await start_terminated(here, "a sweep")
    await billed(here, 3)
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(180):
        assert await process.wait() != 0
    async with Library(here.library.get_settings()) as library, asyncio.timeout(60):
        while await library.ledger.submissions.in_states([State.SENDING]):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.05)
        left = await library.ledger.submissions.in_states([*State])
    assert here.billed == 3
    assert {one.generation_id for one in left if one.generation_id} == {
        one.generation_id for one in here.simulator.bill()
    }
    assert {one.state for one in left} <= {State.ACCEPTED, State.RUNNING, State.INTENDED}
    assert (await prefect_server.flow_run(left[0].runs.flow_run_id)).state.name == "Crashed"


async def test_terminated_while_prefect_makes_a_task_run(studio, prefect_server, start_terminated):
    """Prefect's crash handler fails then; the run still ends as Crashed, not as Failed, which would be retried."""
    here = studio(**SLOWER)
    process = await start_terminated(here, "between tasks")
    async with asyncio.timeout(180):
        assert await process.wait() != 0
    submission = await accepted(here, "k")
    assert (await prefect_server.flow_run(submission.runs.flow_run_id)).state.name == "Crashed"
    await check_it_is_told_and_collected(here, prefect_server, "terminated", submission)


async def test_terminated_in_a_callback_of_the_event_loop(studio, prefect_server, start_terminated):
    """The loop alone would only log the exception, and the run would continue after SIGTERM."""
    here = studio(**SLOWER)
    process = await start_terminated(here, "in a callback")
    async with asyncio.timeout(180):
        assert await process.wait() != 0
    submission = await accepted(here, "k")
    assert (await prefect_server.flow_run(submission.runs.flow_run_id)).state.name == "Crashed"
    await check_it_is_told_and_collected(here, prefect_server, "terminated", submission)


async def test_terminated_while_a_song_is_stored(studio, prefect_server, start_terminated):
    """Takes are stored concurrently; a failure of one does not end the run, but a termination does."""
    here = studio()
    process = await start_terminated(here, "while a song is stored")
    async with asyncio.timeout(180):
        assert await process.wait() != 0
    submission = await accepted(here, "k")
    assert (await prefect_server.flow_run(submission.runs.flow_run_id)).state.name == "Crashed"
    assert "is finished, and perhaps not stored yet" in await prefect_server.logs(submission.runs.flow_run_id)
    result = await generate_song("terminated", safety={"key": "k"}, **here.options)
    assert len(result.stored) == 2
    assert here.billed == 1


async def test_cancelled_while_a_song_is_fetched(studio, prefect_server):
    here = studio({"fault": "slow_drip", "on": "download", "seconds": 30.0, "bytes": 500})
    running = asyncio.create_task(generate_song("dripping", safety={"key": "k"}, **here.options))
    await accepted(here, "k")
    async with asyncio.timeout(180):
        while here.simulator.gateway.traffic.downloads == 0:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    [submission], _songs = await here.ledger("k")
    assert "is finished, and perhaps not stored yet" in await prefect_server.logs(submission.runs.flow_run_id)
    result = await generate_song("dripping", safety={"key": "k"}, **here.options)
    assert len(result.stored) == 2
    assert here.billed == 1


async def test_cancelled_while_the_request_is_in_flight(studio, prefect_server):
    """An answer that comes within a second is waited for."""
    here = studio({"fault": "slow_answer", "seconds": 0.3}, **SLOWER)
    running = asyncio.create_task(generate_song("in between", safety={"key": "k"}, **here.options))
    await billed(here, 1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    submission = await accepted(here, "k")
    await check_it_is_told_and_collected(here, prefect_server, "in between", submission)
