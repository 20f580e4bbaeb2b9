"""The window of slots: at most the concurrency, narrower after a 429, and wider again with time."""

from __future__ import annotations

import asyncio

from songflow.sweeps.window import Window


async def test_the_window_admits_as_many_as_it_has_slots() -> None:
    window = Window(2)
    await window.enter()
    await window.enter()
    third = asyncio.create_task(window.enter())
    await asyncio.sleep(0)
    assert not third.done()
    window.leave()
    await third
    assert window.inside == 2


async def test_a_429_narrows_the_window_and_each_quiet_round_widens_it_by_one() -> None:
    window = Window(8)
    for _ in range(3):
        window.accepted()
    window.refused()
    assert window.limit == 3
    for _ in range(3):
        window.ended()
    assert window.limit == 4
    for _ in range(4):
        window.accepted()
    window.refused()
    assert window.limit == 4


async def test_the_window_keeps_one_slot_and_widens_with_late_acceptances() -> None:
    """Answers come in any order: a 429 may overtake an acceptance."""
    window = Window(8)
    window.refused()
    assert window.limit == 1
    window.accepted()
    window.accepted()
    assert window.limit == 2


async def test_a_wider_window_admits_waiting_cells() -> None:
    window = Window(2)
    window.refused()
    await window.enter()
    waiting = asyncio.create_task(window.enter())
    await asyncio.sleep(0)
    window.accepted()
    window.ended()
    await waiting
    assert (window.limit, window.inside) == (2, 2)


async def test_a_cancelled_wait_takes_no_slot() -> None:
    window = Window(1)
    await window.enter()
    gone, next_one = asyncio.create_task(window.enter()), asyncio.create_task(window.enter())
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    window.leave()
    await next_one
    assert window.inside == 1
