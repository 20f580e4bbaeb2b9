"""Choices are made once; later callers get the first one."""

from __future__ import annotations

import asyncio

from songflow.ledger import Ledger


async def test_a_key_without_a_choice_has_none(ledger: Ledger):
    assert await ledger.choices.get("song:core") is None


async def test_a_choice_is_read_back_as_it_was_made(ledger: Ledger):
    made = await ledger.choices.choose("song:core", ["one", "two"], "all")
    assert (made.key, made.song_ids, made.chosen_by) == ("song:core", ("one", "two"), "all")
    assert await ledger.choices.get("song:core") == made
    assert made.chosen_at.tzinfo is not None


async def test_the_first_choice_wins(ledger: Ledger):
    first = await ledger.choices.choose("song:core", ["one"], "first")
    later = await ledger.choices.choose("song:core", ["two"], "a person")
    assert later == first


async def test_concurrent_choosers_all_get_the_same_choice(ledger: Ledger):
    made = await asyncio.gather(
        *(ledger.choices.choose("song:core", [f"song {number}"], "first") for number in range(20))
    )
    assert len({choice.song_ids for choice in made}) == 1


async def test_each_step_has_its_own_choice(ledger: Ledger):
    await ledger.choices.choose("song:core", ["one"], "first")
    other = await ledger.choices.choose("song:core.1", ["two"], "first")
    assert other.song_ids == ("two",)
