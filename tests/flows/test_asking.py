"""Runs that pause for a choice: the form, invalid answers, each valid answer, and no answer."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client

from blocks import SongLibrary
from flows.asking import ANOTHER
from flows.song import make_song

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.xdist_group("prefect"),
]

ASKS = {
    "name": "One question",
    "core": {"prompt": "a question", "take": "ask"},
    "steps": [{"name": "outro", "place": "outro"}],
}


async def paused(here, prefect_server, key="K", after=None):
    """The run of a key, once it is paused (again)."""
    async with asyncio.timeout(180):
        while True:
            submissions, _ = await here.ledger(f"{key}:core")
            if submissions and submissions[0].runs.flow_run_id:
                run = await prefect_server.flow_run(submissions[-1].runs.flow_run_id)
                if run.state.is_paused() and run.state.id != after:
                    return run
            await asyncio.sleep(0.1)


async def form_of(run):
    """The schema and the text of a paused run's form, once stored."""
    keys = run.state.state_details.run_input_keyset
    async with get_client() as client, asyncio.timeout(30):
        while True:
            inputs = await client.filter_flow_run_input(
                run.id, key_prefix="paused", limit=20, exclude_keys=set()
            )
            found = {one.key: one.decoded_value for one in inputs}
            if keys["schema"] in found and keys["description"] in found:
                return found[keys["schema"]], found[keys["description"]]
            await asyncio.sleep(0.05)


async def answer(run, choice):
    """Resume as Prefect's UI does; returns the server's response."""
    async with get_client() as client:
        response = await client.resume_flow_run(
            UUID(str(run.id)), run_input={"choice": choice} if choice else {}
        )
    return response.status.value, getattr(response.details, "reason", None)


async def test_the_form_shows_the_takes_and_refuses_invalid_choices(studio, prefect_server):
    """Title, length, loudness and a link for each; an invalid choice leaves the run paused, a valid one resumes it."""
    here = studio()
    library = SongLibrary(folder=here.library.folder, unit="EUR")
    making = asyncio.create_task(make_song(ASKS, safety={"key": "K"}, **here.options | {"library": library}))
    run = await paused(here, prefect_server)
    schema, text = await form_of(run)
    assert schema["properties"]["choice"]["enum"] == ["take 1", "take 2", ANOTHER]
    assert "Another pair costs 1 EUR more" in schema["properties"]["choice"]["description"]
    _, songs = await here.ledger("K:core")
    for song in songs:
        assert f"[listen]({song.song_url})" in text
        assert f"{song.seconds:.1f} s" in text
        assert f"{song.rms_db:.1f} dBFS" in text
    for bad in ("take 3", "", "2"):
        verdict, reason = await answer(run, bad)
        assert (verdict, bool(reason)) == ("REJECT", True)
    assert (await prefect_server.flow_run(run.id)).state.is_paused()
    assert (await answer(run, "take 2"))[0] == "ACCEPT"
    whole = await making
    assert whole.steps[0].chosen == (songs[1].song_id,)
    assert whole.steps[0].chosen_by == "a person in Prefect"
    bill = [
        entry.body["gen_params"]["config"].get("source", {}).get("song_id") for entry in here.simulator.bill()
    ]
    assert bill == [None, songs[1].song_id]


async def test_another_pair_is_made_and_its_takes_can_be_chosen(studio, prefect_server):
    here = studio()
    making = asyncio.create_task(make_song(ASKS, safety={"key": "K"}, **here.options))
    first = await paused(here, prefect_server)
    await form_of(first)
    assert (await answer(first, ANOTHER))[0] == "ACCEPT"
    second = await paused(here, prefect_server, after=first.state.id)
    schema, _ = await form_of(second)
    assert schema["properties"]["choice"]["enum"] == ["take 1", "take 2", "take 3", "take 4", ANOTHER]
    await answer(second, "take 3")
    whole = await making
    assert [step.path for step in whole.steps] == ["core", "core.again1", "outro"]
    assert whole.steps[2].source == whole.steps[1].songs[0].song_id
    assert here.billed == 3


async def test_without_an_answer_the_default_of_the_recipe_applies(studio, prefect_server):
    here = studio()
    recipe = {**ASKS, "ask_timeout": 1, "ask_default": "first"}
    whole = await make_song(recipe, safety={"key": "K"}, **here.options)
    assert whole.steps[0].chosen == (whole.steps[0].songs[0].song_id,)
    assert whole.steps[0].chosen_by == "nobody in time"
    assert here.billed == 2


async def test_after_another_pair_failed_the_question_is_asked_again(studio, prefect_server):
    """The form reports the failure, and a choice among the existing takes continues the song."""
    here = studio({"fault": "failure", "fail_reason": "too busy", "skip": 1})
    making = asyncio.create_task(make_song(ASKS, safety={"key": "K"}, **here.options))
    first = await paused(here, prefect_server)
    await form_of(first)
    await answer(first, ANOTHER)
    second = await paused(here, prefect_server, after=first.state.id)
    schema, text = await form_of(second)
    assert "The last answer could not be carried out" in text
    assert "too busy" in text
    assert schema["properties"]["choice"]["enum"] == ["take 1", "take 2", ANOTHER]
    await answer(second, "take 1")
    whole = await making
    assert [step.state for step in whole.steps] == ["succeeded", "failed", "succeeded"]
    assert here.billed == 3


async def test_a_process_that_dies_in_the_pause_loses_only_the_question(studio, prefect_server):
    """Another run with the key asks again, and pays for nothing twice."""
    here = studio()
    making = asyncio.create_task(make_song(ASKS, safety={"key": "K"}, **here.options))
    await form_of(await paused(here, prefect_server))
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    whole = await make_song(ASKS, safety={"key": "K"}, choices={"core": "1"}, **here.options)
    assert (len(whole.stored), here.billed) == (1, 2)
