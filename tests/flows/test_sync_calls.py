"""Synchronous flows that make songs: `.sync(...)` works, and a call that nothing awaits fails with a sentence."""

from __future__ import annotations

import asyncio

import pytest
from prefect import flow, task

from flows.generate import generate_song
from flows.sweep import sweep
from songflow.errors import InputError

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.xdist_group("prefect"),
    pytest.mark.usefixtures("prefect_server"),
]


async def state_of(made):
    """The end of a run of a sync flow, which gets a thread without an event loop, as in a script."""
    return await asyncio.to_thread(made, return_state=True)


async def test_a_sync_flow_that_does_not_await_fails(studio):
    """It would end Completed without a song, since Python drops the coroutine."""
    here = studio()

    @flow
    def album():
        generate_song("a waltz", **here.options)

    state = await state_of(album)
    assert state.is_failed()
    assert "generate-song is asynchronous, and the flow album is not" in state.message
    assert "`generate_song.sync(...)`" in state.message
    assert here.billed == 0


async def test_a_helper_and_a_task_of_a_sync_flow_fail_as_well(studio):
    """However deep the call is, and in a thread of a task runner."""
    here = studio()

    def helper():
        return sweep("prompt: a waltz", **here.options, return_state=True)

    @task
    def one():
        helper()

    @flow
    def album():
        helper()

    @flow
    def album_of_tasks():
        one.submit().result()

    for made, caller in ((album, "the flow album"), (album_of_tasks, "the task one")):
        state = await state_of(made)
        assert state.is_failed()
        assert f"sweep is asynchronous, and {caller} is not" in state.message
    assert here.billed == 0


async def test_a_sync_subflow_of_an_async_flow_fails(studio):
    """Its parent's event loop runs in the same thread, and does not await for it."""
    here = studio()

    @flow
    def inner():
        generate_song("a waltz", **here.options)

    @flow
    async def outer():
        inner()

    with pytest.raises(InputError, match="the flow inner is not"):
        await outer()
    assert here.billed == 0


async def test_sync_makes_the_song_inside_the_run_of_the_caller(studio):
    """The key is that of the parent's run, so a retry of the parent returns to the same song."""
    here = studio()

    @flow
    def album():
        return generate_song.sync("a waltz", **here.options)

    result = await (await state_of(album)).aresult()
    [submission], songs = await here.ledger(result.key)
    assert [song.state for song in songs] == ["stored", "stored"]
    assert result._repr_html_().count("<audio controls") == 2
    assert submission.runs.root_flow_run_id != submission.runs.flow_run_id
    assert here.billed == 1


async def test_a_sync_flow_may_run_async_code_that_awaits(studio):
    """A coroutine of its own is between the sync flow and the call."""
    here = studio()

    @flow
    def album():
        async def both():
            return await asyncio.gather(
                *(generate_song(f"song {step}", safety={"step": step}, **here.options) for step in ("a", "b"))
            )

        return [one.billed for one in asyncio.run(both())]

    assert await (await state_of(album)).aresult() == ["yes", "yes"]
    assert here.billed == 2


async def test_sync_inside_an_event_loop_fails(studio):
    """It cannot wait there."""
    with pytest.raises(InputError, match=r"cannot run synchronously inside an event loop.*`await` it there"):
        generate_song.sync("a waltz", **studio().options)
