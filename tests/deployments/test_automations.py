"""What Prefect does by itself for our runs: zombies end as crashed, and events carry what automations need."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.events import Event, emit_event
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.states import Running

from deployments.automations import CRASH_ZOMBIES, TAG, crash_zombies, install
from flows.generate import generate_song
from songflow.errors import OutcomeUnknown

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect-ui")]


@flow(name="vanishes")
def vanishes():
    """Never run: its process is one that has vanished."""


async def beat(run, *tags):
    """What the engine of a live run says every 30 s."""
    emit_event(
        event="prefect.flow-run.heartbeat",
        resource={"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name},
        related=[
            {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"} for tag in tags
        ],
    )


@pytest.mark.usefixtures("prefect_server")
async def test_a_run_that_falls_silent_is_crashed_and_one_that_is_not_ours_is_left_alone():
    async with get_client() as client:
        await install(client, crash_zombies(silence=timedelta(seconds=10)))
        [automation] = [one for one in await client.read_automations() if one.name == CRASH_ZOMBIES]
        try:
            ours, theirs = [
                await client.create_flow_run(vanishes, tags=tags, state=Running())
                for tags in ([TAG], ["other"])
            ]
            found = await silent(client, ours, theirs)
            assert "songflow rescue" in found.state.message
            assert (await client.read_flow_run(theirs.id)).state.is_running()
        finally:
            await client.delete_automation(automation.id)


async def silent(client, ours, theirs):
    """Our run after one last word of both; said again where the server did not know of the automation yet."""
    for _ in range(3):
        await beat(ours, TAG)
        await beat(theirs, "other")
        for _ in range(60):
            found = await client.read_flow_run(ours.id)
            if found.state.is_crashed():
                return found
            await asyncio.sleep(0.5)
    raise AssertionError("the silent run is still not crashed")


async def test_an_unknown_outcome_is_an_event_of_its_run_without_any_secret(studio, prefect_server):
    here = studio({"fault": "lost_answer"})
    with pytest.raises(OutcomeUnknown):
        await generate_song("lost", safety={"key": "told"}, **here.options)

    found = await events("songflow.generation.unknown", about="songflow.generation.told")
    [event] = found
    assert event.payload["billed"] == "maybe"
    assert "songflow rescue" in event.payload["next"]
    [submission], _songs = await here.ledger("told")
    assert f"prefect.flow-run.{submission.runs.flow_run_id}" in {one.id for one in event.related}
    assert here.secret not in event.model_dump_json()


async def events(name, *, about):
    """The events of a name and a resource, as soon as there are any."""
    async with asyncio.timeout(180), get_client() as client:
        while True:
            wanted = EventFilter(event=EventNameFilter(name=[name])).model_dump(mode="json")
            answer = await client.request("POST", "/events/filter", json={"filter": wanted})
            found = [
                one for one in answer.json()["events"] if one["resource"]["prefect.resource.id"] == about
            ]
            if found:
                return [Event.model_validate(one) for one in found]
            await asyncio.sleep(0.3)
