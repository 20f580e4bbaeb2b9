"""The learned schedule: the lag of 5 s polling, with few more polls than the exact optimum."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from songflow.polling import Duration, History, Learned, learn
from songflow.polling.density import evidence_of
from songflow.polling.learned import _around
from songflow.polling.ticks import best_density

SEEDS = range(3)


def _mean_cost(bench, family, truth, *, reported: bool, **more: float) -> tuple[float, float]:
    costs = [bench.learned_cost(family, truth, reported=reported, seed=seed, **more) for seed in SEEDS]
    return tuple(np.mean(costs, axis=0))


# --- how good it is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(9))
def test_after_50_songs_polling_is_close_to_the_optimum(bench, number: int) -> None:
    """No family is given. The mean lag stays that of 5 s polling, and GETs are within 1.15 of the fewest possible."""
    family = bench.FAMILIES[number]
    truth = bench.Truth(family)
    lag, gets = _mean_cost(bench, family, truth, reported=True)
    assert 1.7 < lag < 2.9
    assert gets / truth.optimum(lag) < 1.15


@pytest.mark.parametrize("number", [0, 1, 3, 6, 7, 8])
def test_a_gateway_without_reported_times_is_learned_from_polls(bench, number: int) -> None:
    """Only the two polls around each finish are known."""
    family = bench.FAMILIES[number]
    truth = bench.Truth(family)
    lag, gets = _mean_cost(bench, family, truth, reported=False)
    assert 1.7 < lag < 3.2
    assert gets / truth.optimum(lag) < 1.15


@pytest.mark.parametrize("before", [0.5, 2.0])
@pytest.mark.parametrize("reported", [True, False])
def test_polling_recovers_50_songs_after_a_change_of_speed(bench, reported: bool, before: float) -> None:
    """Within 1.3 of the optimum at the new speed."""
    family = bench.FAMILIES[1]
    truth = bench.Truth(family)
    lag, gets = _mean_cost(bench, family, truth, reported=reported, before=before)
    assert 1.7 < lag < 3.2
    assert gets / truth.optimum(lag) < 1.3


def test_ticks_are_detected_without_false_alarms(bench) -> None:
    """From reported whole seconds, and from polls only."""
    draw = np.random.default_rng(5)
    smooth, ticks = bench.FAMILIES[1], bench.FAMILIES[7]
    for family, expected in ((smooth, None), (ticks, 15.0)):
        seconds = family.seen(draw.random(50))
        reported = [Duration(0.0, x + 5, reported=round(x)) for x in seconds]
        starts = seconds - 5 * draw.random(50)
        looked = [Duration(max(0.0, low), low + 5) for low in starts]
        for durations in (reported, looked):
            _, found = best_density(evidence_of(durations), 5.0, 100)
            assert (found and found.period) == expected


def _history_of(bench, seed: int, *families) -> History:
    """A history of 50 songs of each of these duration models, waited for without reported times."""
    *_, history = bench.grown(families, reported=False, seed=seed)
    return history


def test_unreported_ticks_are_kept_by_probing(bench) -> None:
    """Polls right after ticks are uninformative: without polls before some, the ticks would be lost again."""
    ticks = bench.FAMILIES[7]
    truth = bench.Truth(ticks)
    costs = [bench.cost_of(_history_of(bench, seed, *12 * [ticks]), truth) for seed in SEEDS]
    lag, gets = np.mean(costs, axis=0)
    assert 1.7 < lag < 3.2
    assert gets / truth.optimum(lag) < 1.15


def test_ticks_that_have_ended_are_noticed(bench) -> None:
    """The gateway is as fast as before and shows each finish at once: looks before ticks find songs there."""
    smooth, ticks = bench.FAMILIES[1], bench.FAMILIES[7]
    later = bench.Family("as long, without ticks", lambda shares: smooth.quantile(shares) + 7.5)
    history = _history_of(bench, 0, ticks)
    assert history.plan.probe
    history = _history_of(bench, 0, ticks, *3 * [later])
    assert not history.plan.probe
    lag, gets = bench.cost_of(history, truth := bench.Truth(later))
    assert lag < 3.2
    assert gets / truth.optimum(lag) < 1.15


def test_one_wait_in_25_also_polls_before_each_tick(bench) -> None:
    """No more, and none where a law is smooth."""
    history = _history_of(bench, 0, bench.FAMILIES[7])
    plan = history.plan
    asked = [history.schedule().times for _ in range(100)]
    assert asked.count(plan.probe) == 4
    assert set(plan.probe) > set(plan.often)
    assert sum(share for share, _ in plan.choices) == pytest.approx(1.0)
    for number in range(7):
        assert not _history_of(bench, 1, bench.FAMILIES[number]).plan.probe


def test_looks_before_ticks_are_in_order_where_a_tick_has_two_looks() -> None:
    """The second of them is nearer to the first than a look before a tick is to its tick."""
    times = _around((60.0, 61.5, 75.0), 3.0)
    assert times == (57.0, 58.5, 60.0, 61.5, 72.0, 75.0)
    schedule = Learned(times, 5.0, jitter=0.0)
    assert [schedule.delay(at) for at in (57.0, 58.5, 60.0)] == [1.5, 1.5, 1.5]


# --- what always holds --------------------------------------------------------------------------------------

durations = st.builds(
    lambda low, width, reported: Duration(low, low + width, reported),
    st.floats(0.0, 3000.0),
    st.floats(0.01, 600.0),
    st.one_of(st.none(), st.integers(0, 4000).map(float)),
)


@given(st.lists(durations, min_size=8, max_size=60), st.sampled_from([0.05, 5.0]))
@settings(deadline=None, max_examples=25)
def test_no_history_makes_a_wait_starve(history: list[Duration], interval: float) -> None:
    """Times increase, polls are never closer than a fifth of the interval nor further apart than sixty."""
    plan = learn(history, interval)
    for _, times in [] if plan is None else plan.choices:
        schedule = Learned(times, interval, random=random.Random(1))
        at, gaps = 0.0, []
        for _ in range(400):
            gaps.append(schedule.delay(at))
            at += gaps[-1]
        assert all(one < other for one, other in pairwise(times))
        assert min(gaps) >= 0.09 * interval
        assert max(gaps) <= 60 * interval * 1.02 + 1e-9


@given(st.lists(durations, min_size=8, max_size=40))
@settings(deadline=None, max_examples=6)
def test_the_same_history_gives_the_same_plan(history: list[Duration]) -> None:
    """Nothing in it is random; the history's own luck only chooses and spreads."""
    assert learn(history, 5.0) == learn(list(history), 5.0)
    one, two = (History(5.0, history, random=random.Random(7)) for _ in range(2))
    first, second = one.schedule(), two.schedule()
    assert first == second
    if first is not None and second is not None:
        assert [first.delay(10.0 * n) for n in range(5)] == [second.delay(10.0 * n) for n in range(5)]


def test_without_history_there_is_no_plan() -> None:
    """The first seven songs are polled every 5 s; then the eighth's history counts."""
    history = History(5.0, random=random.Random(0))
    for number in range(7):
        history.add(Duration(50.0 + number, 55.0 + number))
        assert history.schedule() is None
    history.add(Duration(54.0, 59.0))
    assert history.schedule() is not None


def test_a_plan_is_renewed_with_new_durations() -> None:
    """Not for each song, but when an eighth of the history is new."""
    history = History(5.0, [Duration(50.0 + n % 9, 52.0 + n % 9) for n in range(80)], random=random.Random(0))
    plan = history.plan
    history.add(Duration(50.0, 52.0))
    assert history.plan is plan
    for _ in range(12):
        history.add(Duration(50.0, 52.0))
    assert history.plan is not plan


def test_a_wait_longer_than_any_before_continues() -> None:
    """Beyond the plan the gaps are a tenth of the time waited, from the interval up to five minutes."""
    schedule = Learned((50.0, 60.0), 5.0, jitter=0.0)
    assert [schedule.delay(at) for at in (0.0, 50.0, 60.0, 200.0, 9000.0)] == [50.0, 10.0, 6.0, 20.0, 300.0]
    assert schedule.delay(49.8) == pytest.approx(
        10.2
    )  # a look that was a little early is not repeated at once
