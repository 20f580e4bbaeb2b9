"""Takes are selected by rule: repeatably, and with a policy for failed ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from songflow.audio.measures import Measures
from songflow.ledger.rows import Song
from songflow.ledger.states import SongState
from songflow.recipes.model import Rule, TakeRule
from songflow.recipes.sizes import Link, circles, in_order, price_range, widths
from songflow.recipes.takes import NoTake, Take, picked

FIRST, LONGEST, ALL = (TakeRule(rule) for rule in (Rule.FIRST, Rule.LONGEST, Rule.ALL))
LOUDEST = TakeRule(Rule.BEST, "rms_db")
QUIETEST = TakeRule(Rule.BEST, "rms_db", lowest=True)


SILENT = Measures(-70.0, -120.0, None, 1.0, 0.0, 0, "", None, None)


def take(number: int, **facts: Any) -> Take:
    """A stored take; tests give only the fields that matter."""
    empty = dict.fromkeys(Song.__slots__)
    plain = {"song_id": f"id{number}", "state": SongState.STORED, "announced_at": datetime.now(UTC)}
    return Take(number, Song(**{**empty, **plain, **facts}))


def failed(number: int, **facts: Any) -> Take:
    return take(number, state=SongState.FAILED, **facts)


def numbers(rule: TakeRule, *takes: Take, stop: bool = False) -> list[int]:
    return [one.number for one in picked(rule, takes, stop_at_failed=stop)]


@pytest.mark.parametrize(
    ("rule", "chosen"),
    [(FIRST, [1]), (LONGEST, [2]), (LOUDEST, [3]), (QUIETEST, [1]), (ALL, [1, 2, 3])],
    ids=str,
)
def test_each_rule_selects_its_take(rule: TakeRule, chosen: list[int]):
    takes = [
        take(1, seconds=30.0, rms_db=-20.0),
        take(2, seconds=33.0, rms_db=-15.0),
        take(3, seconds=32.0, rms_db=-9.0),
    ]
    assert numbers(rule, *takes) == chosen
    assert numbers(rule, *reversed(takes)) == chosen


def test_measures_of_the_sound_rank_takes_and_a_discarded_one_is_left_out():
    quiet, loud = (replace(SILENT, loudness_lufs=value) for value in (-20.0, -9.0))
    takes = [Take(1, take(1).song, quiet), Take(2, take(2).song, loud), Take(3, take(3).song)]
    rule = TakeRule(Rule.BEST, "loudness_lufs")
    assert numbers(rule, *takes) == [2]
    assert takes[1].as_dict()["loudness_lufs"] == -9
    assert numbers(rule, takes[0], replace(takes[1], discarded=True), takes[2]) == [1]


def test_ties_go_to_the_earlier_take_and_takes_without_the_measure_come_last():
    assert numbers(LONGEST, take(1, seconds=30.0), take(2, seconds=30.0)) == [1]
    assert numbers(LOUDEST, take(1), take(2, rms_db=-30.0)) == [2]
    assert numbers(LONGEST, take(1, seconds=30.0), take(2, announced_seconds=31.0)) == [2]


@pytest.mark.parametrize("rule", [FIRST, LONGEST, LOUDEST], ids=str)
def test_a_failed_take_is_replaced_by_the_next_best_unless_it_stops(rule: TakeRule):
    takes = [
        failed(1, announced_seconds=40.0, rms_db=-1.0),
        take(2, seconds=30.0, rms_db=-9.0),
        take(3, rms_db=-20.0),
    ]
    assert numbers(rule, *takes) == [2]
    with pytest.raises(NoTake) as stopped:
        numbers(rule, *takes, stop=True)
    assert stopped.value.take is takes[0]


def test_all_selects_every_good_take_and_may_stop_at_a_failed_one():
    assert numbers(ALL, take(1), failed(2), take(3)) == [1, 3]
    with pytest.raises(NoTake):
        numbers(ALL, take(1), failed(2), stop=True)
    assert numbers(ALL, take(1), take(2), stop=True) == [1, 2]


def test_two_takes_of_one_id_are_one_song_at_the_gateway():
    assert numbers(ALL, take(1, song_id="same"), take(2, song_id="same"), take(3)) == [1, 3]


@pytest.mark.parametrize(
    "bad", [failed(1), take(1, song_id=None), take(1, song_id=" "), take(1, state=SongState.ANNOUNCED)]
)
def test_a_take_without_file_or_id_cannot_be_continued_from(bad: Take):
    with pytest.raises(NoTake) as none:
        numbers(FIRST, bad)
    assert none.value.take is None


def test_a_rule_names_itself():
    assert [str(rule) for rule in (FIRST, LOUDEST, QUIETEST)] == [
        "first",
        "best (highest rms_db)",
        "best (lowest rms_db)",
    ]


# --- the size of a tree ------------------------------------------------------------------------------------------

TREE = {
    "end": Link("middle"),
    "core": Link(None, splits=True),
    "middle": Link("core", splits=True),
    "other": Link("core"),
}


def test_steps_come_after_their_sources_otherwise_in_written_order():
    assert in_order(TREE) == ["core", "middle", "other", "end"]
    assert in_order({**TREE, "lost": Link("nowhere")}) == ["core", "middle", "other", "end"]


def test_each_split_doubles_the_following_steps():
    assert widths(TREE, 2) == {"core": 1, "middle": 2, "other": 2, "end": 4}
    assert set(widths(TREE, 1).values()) == {1}
    models = dict.fromkeys(TREE, "small")
    assert price_range(TREE, models, {"small": 0.5}) == (2.0, 4.5)


def test_every_cycle_is_found_once():
    links = {
        "core": Link(None),
        "a": Link("b"),
        "b": Link("c"),
        "c": Link("a"),
        "d": Link("d"),
        "e": Link("a"),
    }
    assert circles(links) == [["a", "b", "c"], ["d"]]
    assert circles(TREE) == []
    assert set(widths(links, 2).values()) == {1}
