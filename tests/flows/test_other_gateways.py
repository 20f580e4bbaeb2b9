"""Budgets and fallback accounts: a run tries the next account only if the request was certainly not billed."""

from __future__ import annotations

import pytest
from prefect import flow

from blocks import OpenAIHKCredentials, SimulatorCredentials
from flows.generate import generate_song
from songflow.errors import OutcomeUnknown, RequestRefused, SpendingStopped

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.xdist_group("prefect"),
    pytest.mark.usefixtures("prefect_server"),
]

NO_CHANNEL = {"fault": "no_channel", "times": None}


async def test_the_next_account_makes_what_the_first_refuses(studio):
    """Blocks come before names; the account is recorded, and another run with the key returns to it."""
    here, second, third = studio(NO_CHANNEL), studio(NO_CHANNEL), studio()
    safety = {
        "key": "k",
        "fallbacks": [OpenAIHKCredentials(api_key=here.secret, base_url=second.simulator.url)],
        "fallback_gateways": [f"simulator={third.simulator.url}"],
        "retries": 0,
    }
    result = await generate_song("who takes it", safety=safety, **here.options)
    submissions, _songs = await here.ledger("k")
    assert [one.gateway for one in submissions] == ["simulator", "openai-hk", "simulator"]
    assert submissions[-1].base_url == third.simulator.url
    again = await generate_song("who takes it", safety=safety, **here.options)
    assert again.generation_id == result.generation_id
    assert [one.billed for one in (here, second, third)] == [0, 0, 1]


async def test_after_a_refused_connection_the_next_account_is_tried(studio):
    """Nothing was sent to the first."""
    here = studio()
    nobody = SimulatorCredentials(base_url="http://127.0.0.1:1")
    options = here.options | {
        "credentials": nobody,
        "safety": {"fallbacks": [here.credentials], "retries": 0},
    }
    assert len((await generate_song("moved on", **options)).stored) == 2


async def test_after_a_lost_answer_no_other_account_is_tried(studio):
    """It may be billed."""
    here, second = studio({"fault": "lost_answer"}), studio()
    with pytest.raises(OutcomeUnknown):
        await generate_song("lost", **here.options, safety={"fallbacks": [second.credentials]})
    assert second.simulator.gateway.traffic.posts == 0


async def test_the_refusal_of_the_last_account_is_raised(studio):
    """With its reason."""
    here = studio(NO_CHANNEL)
    with pytest.raises(RequestRefused, match="not billed"):
        await generate_song("nobody", **here.options, safety={"retries": 0, "fallbacks": [here.credentials]})


async def test_the_budget_of_a_run_counts_all_its_songs(studio):
    """The parent's second song exceeds it and is not sent; another run has a budget of its own."""
    here = studio()

    @flow
    async def album():
        return [
            await generate_song("verse", safety={"step": step}, budget=1.5, **here.options)
            for step in ("a", "b")
        ]

    with pytest.raises(SpendingStopped, match=r"This run's budget of 1.5 units is used up"):
        await album()
    assert here.simulator.gateway.traffic.posts == 1
    await generate_song("verse", budget=1.0, safety={"if_unsettled": "new"}, **here.options)
    assert here.billed == 2


async def test_the_budget_of_the_library_is_in_its_block(studio):
    """It limits all runs together."""
    here = studio()
    library = here.library.model_copy(update={"budget": 1.0})
    await generate_song("one", **here.options | {"library": library})
    with pytest.raises(SpendingStopped, match="The library's budget of 1 unit"):
        await generate_song("two", **here.options | {"library": library})
    assert here.billed == 1
