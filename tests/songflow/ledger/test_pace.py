"""The pace of submits: a key that was told to slow down does so everywhere, and recovers."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from songflow.ledger import Ledger
from songflow.ledger.pace import LONGEST_PAUSE_SECONDS

KEY = "https://gateway.example#0123"


async def test_a_key_that_was_never_slowed_down_waits_for_nothing(ledger: Ledger) -> None:
    """And leaves no row; another's pace is not its own."""
    await ledger.pace.slow_down("another", None)
    assert await ledger.pace.slot(KEY) is None


async def test_each_takes_the_next_slot(ledger: Ledger) -> None:
    """The gateway's own word is kept to; after it the slots are a pause apart."""
    await ledger.pace.slow_down(KEY, 100.0)
    first, second, third = [await ledger.pace.slot(KEY) for _ in range(3)]
    assert 0.0 < first <= 100.0
    assert second > first
    assert third > second
    assert third <= first + 2.0


async def test_a_second_no_doubles_the_pause_and_an_acceptance_halves_it(ledger: Ledger) -> None:
    """Two, four, two, one seconds, and then nothing slows it down any more."""
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


async def test_nobody_is_held_up_for_longer_than_a_pause_can_be(ledger: Ledger) -> None:
    """Whatever a gateway asks for, and however many wait."""
    await ledger.pace.slow_down(KEY, 1e6)
    for _ in range(12):
        await ledger.pace.slow_down(KEY, None)
    assert [await ledger.pace.slot(KEY) <= LONGEST_PAUSE_SECONDS for _ in range(3)] == [True] * 3


async def test_a_pace_that_has_just_recovered_holds_up_nobody(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the lock another's acceptance may have ended it."""
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


async def test_a_burst_that_was_sent_before_counts_once(ledger: Ledger) -> None:
    """Of fifty that left together, the first no says all there is to know."""
    for _ in range(50):
        await ledger.pace.slow_down(KEY, None, paced=False)
    await ledger.pace.slot(KEY)
    second = await ledger.pace.slot(KEY)
    assert second is not None
    assert second <= 2.0


async def test_who_gives_up_leaves_the_slot_to_the_next(ledger: Ledger) -> None:
    """A hundred that would not wait so long do not put off the one that would."""
    await ledger.pace.slow_down(KEY, 100.0)
    for _ in range(100):
        assert 45.0 < await ledger.pace.slot(KEY, longest=45.0) <= 100.0
    assert await ledger.pace.slot(KEY) <= 100.0
