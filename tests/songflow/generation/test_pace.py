"""Rate limits: all submits with the key slow down, and those that wait are neither sent, billed nor reserved."""

from __future__ import annotations

import asyncio

import pytest

from songflow import errors
from songflow.generation import submit
from songflow.generation.policy import PaidRequest
from songflow.generation.submit import submit_once
from songflow.ledger import State
from songflow.ledger.money import Balance

TOO_MANY = {"fault": "status", "on": "submit", "status": 429, "envelope": "openai"}


async def test_a_429_slows_the_key_down_until_a_submit_is_accepted(
    simulator, access, session, song_request, posts
) -> None:
    """The next submit takes its slot, and its acceptance ends the pauses."""
    server, opened = simulator({**TOO_MANY, "retry_after": 0.05}), await session()
    way = access(server.url)
    with pytest.raises(errors.RequestRefused):
        await submit_once(opened, PaidRequest(song_request(), "key"), way)
    assert await opened.library.ledger.pace.slot(way.pace_name) is not None
    assert (await submit_once(opened, PaidRequest(song_request(), "key"), way)).state is State.ACCEPTED
    await opened.library.ledger.pace.speed_up(way.pace_name)
    assert await opened.library.ledger.pace.slot(way.pace_name) is None
    assert (posts(server), len(server.bill())) == (2, 1)


async def test_a_submit_does_not_wait_for_a_distant_slot(
    simulator, access, session, song_request, posts
) -> None:
    """Exit 3 with the time to wait; another key of the same gateway is not affected."""
    server, opened = simulator(), await session()
    way = access(server.url)
    await opened.library.ledger.pace.slow_down(way.pace_name, 200.0)
    with pytest.raises(errors.RequestNotSent, match="asked everybody with this key to slow down") as caught:
        await submit_once(opened, PaidRequest(song_request(), "key"), way)
    assert (caught.value.exit_code, caught.value.repeatable, caught.value.billed) == (3, True, "no")
    assert 100.0 < caught.value.retry_after <= 200.0
    assert posts(server) == 0
    assert await opened.library.ledger.money.balance() == Balance("library", 0.0, 0.0, 0.0)
    assert (
        await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url, key="sk-other"))
    ).ordinal == 2


async def test_a_process_that_outslept_its_lease_does_not_touch_the_row_of_its_successor(
    simulator, access, session, song_request, until, posts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It wakes to a distant slot while the other's request is in flight, whose answer must find its row."""
    server, opened = simulator({"fault": "slow_answer", "seconds": 1.0}), await session()
    awake, asleep = asyncio.Event(), []

    async def slot(*_: object) -> float | None:
        if asleep:
            return None
        asleep.append(True)
        await awake.wait()
        return 500.0

    async def sleeps() -> bool:
        return bool(asleep)

    async def billed() -> bool:
        return bool(server.bill())

    monkeypatch.setattr(opened.library.ledger.pace, "slot", slot)
    with monkeypatch.context() as short:
        short.setattr(submit, "INTENT_LEASE_SECONDS", 0.01)
        sleeper = asyncio.create_task(
            submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
        )
        await until(sleeps)
    other = asyncio.create_task(submit_once(opened, PaidRequest(song_request(), "key"), access(server.url)))
    await until(billed)
    awake.set()
    with pytest.raises(errors.RequestNotSent):
        await sleeper
    accepted = await other
    assert (accepted.ordinal, accepted.state) == (1, State.ACCEPTED)
    again = await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    assert (again.id, posts(server), len(server.bill())) == (accepted.id, 1, 1)


async def test_a_submit_cancelled_while_it_waits_for_a_slot_releases_the_key(
    simulator, access, session, song_request, until, posts, caplog
) -> None:
    """Nothing was sent: the lease ends at once, and no money stays reserved."""
    server, opened = simulator(), await session()
    way = access(server.url)
    caplog.set_level("INFO", "songflow")
    await opened.library.ledger.pace.slow_down(way.pace_name, 40.0)
    waiting = asyncio.create_task(submit_once(opened, PaidRequest(song_request(), "key"), way))

    async def waits() -> bool:
        return "asked to slow down: sending in" in caplog.text

    await until(waits)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    (left,) = await opened.library.ledger.submissions.of_key("key")
    assert (left.state, posts(server)) == (State.UNSENT, 0)
    assert (await opened.library.ledger.money.balance()).reserved == 0.0


async def test_a_rate_limit_is_recorded_even_if_its_caller_is_cancelled(
    simulator, access, session, song_request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal concerns every request with the key, and not only the cancelled one."""
    server, opened = simulator({**TOO_MANY, "retry_after": 30.0}), await session()
    way, submissions = access(server.url), opened.library.ledger.submissions
    settle = submissions.settle_sending

    async def cancelled_meanwhile(*args: object) -> object:
        sender.cancel()
        await asyncio.sleep(0)
        return await settle(*args)

    monkeypatch.setattr(submissions, "settle_sending", cancelled_meanwhile)
    sender = asyncio.create_task(submit_once(opened, PaidRequest(song_request(), "key"), way))
    with pytest.raises(asyncio.CancelledError):
        await sender
    (refused,) = await submissions.of_key("key")
    assert refused.state is State.REFUSED
    assert await opened.library.ledger.pace.slot(way.pace_name) is not None
