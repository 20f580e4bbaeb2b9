"""The pace of submits: after a 429 all users of a key slow down, then recover."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from songflow.ledger import Ledger
from songflow.ledger.pace import LONGEST_PAUSE_SECONDS

KEY = "https://gateway.example#0123"


async def test_a_key_without_a_429_does_not_wait(ledger: Ledger) -> None:
    """It has no row, and another key's pace does not apply."""
    await ledger.pace.slow_down("another", None)
    assert await ledger.pace.slot(KEY) is None


async def test_each_submit_takes_the_next_slot(ledger: Ledger) -> None:
    """Retry-After is respected; then the slots are a pause apart."""
    await ledger.pace.slow_down(KEY, 100.0)
    first, second, third = [await ledger.pace.slot(KEY) for _ in range(3)]
    assert 0.0 < first <= 100.0
    assert second > first
    assert third > second
    assert third <= first + 2.0


async def test_a_second_429_doubles_the_pause_and_an_acceptance_halves_it(ledger: Ledger) -> None:
    """Two, four, two, one seconds, and then no pause."""
    for _ in range(3):
        await ledger.pace.slow_down(KEY, None)
    await ledger.pace.slot(KEY)
    waits = await ledger.pace.slot(KEY)
    assert 4.0 < waits <= 8.0
    for _ in range(3):
        assert await ledger.pace.slot(KEY) is not None
        await ledger.pace.speed_up(KEY)
    await ledger.pace.speed_up(KEY)
    assert await ledger.pace.slot(KEY) is None


async def test_a_429_takes_back_no_slot_that_was_handed_out(ledger: Ledger) -> None:
    """Requests in between would come closer than before it."""
    for _ in range(3):
        await ledger.pace.slow_down(KEY, None)
    taken = [await ledger.pace.slot(KEY) for _ in range(10)]
    await ledger.pace.slow_down(KEY, None)
    assert await ledger.pace.slot(KEY) > taken[-1]


async def test_no_wait_is_longer_than_the_longest_pause(ledger: Ledger) -> None:
    """Whatever the gateway asks for, and however many wait."""
    await ledger.pace.slow_down(KEY, 1e6)
    for _ in range(12):
        await ledger.pace.slow_down(KEY, None)
    assert [await ledger.pace.slot(KEY) <= LONGEST_PAUSE_SECONDS for _ in range(3)] == [True] * 3


async def test_a_pace_that_has_just_recovered_delays_nobody(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another's acceptance may end it between the read and the lock."""
    await ledger.pace.slow_down(KEY, None)
    write = ledger.database.write

    @asynccontextmanager
    async def recovers_first(act: str):
        monkeypatch.undo()
        for _ in range(2):
            await ledger.pace.speed_up(KEY)
        async with write(act) as connection:
            yield connection

    monkeypatch.setattr(ledger.database, "write", recovers_first)
    assert await ledger.pace.slot(KEY) is None


async def test_a_concurrent_burst_counts_once(ledger: Ledger) -> None:
    """Of fifty requests sent together, only the first 429 changes the pause."""
    for _ in range(50):
        await ledger.pace.slow_down(KEY, None, paced=False)
    await ledger.pace.slot(KEY)
    second = await ledger.pace.slot(KEY)
    assert second is not None
    assert second <= 2.0


async def test_giving_up_leaves_the_slot_to_the_next(ledger: Ledger) -> None:
    """A hundred that would not wait so long do not delay the one that would."""
    await ledger.pace.slow_down(KEY, 100.0)
    for _ in range(100):
        assert 45.0 < await ledger.pace.slot(KEY, longest=45.0) <= 100.0
    assert await ledger.pace.slot(KEY) <= 100.0
