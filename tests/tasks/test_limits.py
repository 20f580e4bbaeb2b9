"""The limit that all runs of a key share: made where it is missing, respected where it is there, never in the way."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

from blocks import OpenAIHKCredentials
from songflow.accounts import access_from_environment
from songflow.families.udio import SongRequest
from tasks.limits import DEFAULT_BURST, DEFAULT_LIMIT, DEFAULT_PER_SECOND, limit_name, rate_name, submit_slot
from tasks.submit import submit

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.xdist_group("prefect"),
    pytest.mark.usefixtures("prefect_server"),
]


def account(here, key):
    return OpenAIHKCredentials(api_key=key, base_url=here.simulator.url)


async def limit_of(access, name=limit_name):
    async with get_client() as client:
        return await client.read_global_concurrency_limit_by_name(name(access))


async def test_a_submit_makes_the_limit_of_its_key_and_gives_its_slot_back(studio):
    """Its name has the key's fingerprint, never the key."""
    here = studio()
    credentials = account(here, "hk-made-for-limits")

    @flow
    async def parent():
        return await submit(SongRequest(prompt="limited"), credentials, library=here.library)

    await parent()
    access = credentials.get_access()
    found, rate = await limit_of(access), await limit_of(access, rate_name)
    assert (found.limit, found.active_slots) == (DEFAULT_LIMIT, 0)
    assert (rate.limit, rate.slot_decay_per_second) == (DEFAULT_BURST, DEFAULT_PER_SECOND)
    assert found.name.startswith("Songflow: requests at once to openai-hk (key ")
    assert "hk-made" not in found.name
    assert here.billed == 1


async def test_everybody_with_the_key_shares_the_limit_that_stands(studio):
    """A number that somebody has set stays, and who is over it waits for a slot."""
    here = studio()
    access = account(here, "hk-shared").get_access()
    async with get_client() as client:
        await client.create_global_concurrency_limit(
            GlobalConcurrencyLimitCreate(name=limit_name(access), limit=1)
        )
    order: list[str] = []

    async def second():
        async with submit_slot(access):
            order.append("second in")

    async with submit_slot(access):
        waiting = asyncio.create_task(second())
        assert (await limit_of(access)).active_slots == 1
        # The second is still outside when another key's submit has come and gone.
        async with submit_slot(account(here, "hk-other").get_access()):
            pass
        order.append("first out")
    await asyncio.wait_for(waiting, 90)
    assert order == ["first out", "second in"]
    assert (await limit_of(access)).limit == 1


async def test_each_submit_takes_from_the_rate_of_its_key(studio):
    """It is not given back as the submit ends, only by time; whoever finds none left waits for that."""
    here = studio()
    access = account(here, "hk-paced").get_access()
    async with get_client() as client:
        await client.create_global_concurrency_limit(
            GlobalConcurrencyLimitCreate(name=rate_name(access), limit=5, slot_decay_per_second=1e-6)
        )
    for _ in range(2):
        async with submit_slot(access):
            pass
    assert (await limit_of(access, rate_name)).active_slots == 2
    assert (await limit_of(access)).active_slots == 0


async def test_a_limit_that_prefect_cannot_give_is_a_warning(studio, monkeypatch, caplog):
    """The song does not depend on it; nor on a slot that cannot be given back."""

    def broken(*_args, **_kwargs):
        raise RuntimeError("no API")

    monkeypatch.setattr("tasks.limits.concurrency", broken)
    access = account(studio(), "hk-broken").get_access()
    async with submit_slot(access):
        pass
    assert "Submitting without the limit Songflow: requests at once to openai-hk" in caplog.text


async def test_a_slot_that_cannot_be_given_back_loses_nothing(studio, monkeypatch, caplog):
    """The submit's own result or error is what the caller gets."""

    class Broken:
        async def __aenter__(self):
            return None

        async def __aexit__(self, *_):
            raise RuntimeError("no API")

    monkeypatch.setattr("tasks.limits.concurrency", lambda *_args, **_kwargs: Broken())
    access = account(studio(), "hk-broken").get_access()
    with pytest.raises(ValueError, match="the submit's own"):
        async with submit_slot(access):
            raise ValueError("the submit's own")
    assert "could not be given back" in caplog.text


async def test_the_simulator_inside_the_process_has_no_limit(monkeypatch, caplog):
    """Nobody else can reach it, so Prefect is not even asked."""
    monkeypatch.delattr("tasks.limits.concurrency")
    async with submit_slot(access_from_environment()):
        pass
    assert not caplog.text


async def test_a_cancellation_while_the_slot_is_given_back_takes_effect(studio, monkeypatch):
    """Prefect swallows one that comes just then; the run would go on as if nobody had cancelled it."""

    class Swallows:
        async def __aenter__(self):
            return None

        async def __aexit__(self, *_):
            asyncio.current_task().cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)

    monkeypatch.setattr("tasks.limits.concurrency", lambda *_args, **_kwargs: Swallows())
    access = account(studio(), "hk-cancelled").get_access()

    async def submitting():
        async with submit_slot(access):
            pass

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(submitting())
