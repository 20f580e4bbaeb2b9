"""The exact optimum: the fewest polls at a mean lag, checked against brute force and theory."""

from __future__ import annotations

import math
import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from songflow.polling import Law, best_times, mean_gets, mean_lag, plan_for_lag


@st.composite
def laws(draw) -> Law:
    """Laws at up to nine times, atoms and empty stretches included."""
    gaps = draw(st.lists(st.floats(0.1, 5.0), min_size=1, max_size=9))
    weights = draw(
        st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.0, 9.0]), min_size=len(gaps), max_size=len(gaps))
    )
    weights[-1] = max(weights[-1], 1.0)
    places = draw(st.lists(st.floats(0.0, 1.0), min_size=len(gaps), max_size=len(gaps)))
    times, below, moment = [0.0], [0.0], [0.0]
    for gap, weight, place in zip(gaps, weights, places, strict=True):
        mass = weight / sum(weights)
        moment.append(moment[-1] + mass * (times[-1] + place * gap))
        times.append(times[-1] + gap)
        below.append(below[-1] + mass)
    below[-1] = 1.0
    return Law(times, below, moment)


@given(laws(), st.floats(0.001, 100.0), st.sampled_from([0.0, 1.0, 4.0]))
@settings(deadline=None, max_examples=80)
def test_no_other_times_are_cheaper(law: Law, price: float, min_gap: float) -> None:
    """Every subset of the times was tried."""
    last = len(law.times) - 1

    def cost(chosen) -> float:
        return mean_lag(law, chosen) + price * mean_gets(law, chosen)

    def apart(chosen) -> bool:
        # The last time is always allowed: there the wait certainly ends.
        pairs = zip((0, *chosen), chosen, strict=False)
        return all(at == last or law.times[at] - law.times[before] >= min_gap for before, at in pairs)

    every = ((*chosen, last) for size in range(last) for chosen in combinations(range(1, last), size))
    least = min(cost(chosen) for chosen in every if apart(chosen))
    found = best_times(law, price, min_gap)
    assert apart(found)
    assert cost(found) == pytest.approx(least, abs=1e-9)


@given(laws(), st.floats(0.01, 3.0))
@settings(deadline=None, max_examples=40)
def test_a_plan_keeps_its_mean_lag(law: Law, lag: float) -> None:
    """Where the lag jumps, a mixture of two sets of times meets it; where it cannot be met, the nearest is taken."""
    plan = plan_for_lag(law, lag)
    low, high = (mean_lag(law, best_times(law, price * lag)) for price in (1e-6, 1e6))
    often, seldom = (
        mean_lag(law, [list(law.times).index(at) for at in times]) for times in (plan.often, plan.seldom)
    )
    reached = often + plan.share * (seldom - often)
    assert 0.0 <= plan.share <= 1.0
    assert reached == pytest.approx(min(max(lag, low), high), rel=0.006, abs=1e-9)


@pytest.mark.parametrize(("sigma", "limit"), [(0.1, 0.195), (0.3, 0.51), (0.5, 0.73), (1.0, 0.95)])
def test_frequent_polls_approach_the_bound(bench, sigma: float, limit: float) -> None:
    """Mean lag times GETs comes down to half of (integral of sqrt(f S))^2, and fixed polling's is half of E[T]."""
    from scipy.stats import lognorm

    family = bench.Family("log-normal", bench.lognormal(sigma))
    truth = bench.Truth(family)
    t = np.linspace(0.01, 54 * math.exp(8 * sigma), 400_001)
    root = np.sqrt(lognorm.pdf(t, sigma, scale=54) * lognorm.sf(t, sigma, scale=54))
    bound = float(np.trapezoid(root, t)) ** 2 / 2
    mean = 54 * math.exp(sigma**2 / 2)
    assert bound / (mean / 2) == pytest.approx(limit, abs=0.006)
    lag = 0.6  # the smallest that times a quarter of a second apart can show
    assert lag * truth.optimum(lag) == pytest.approx(bound, rel=0.05 if sigma > 0.1 else 0.12)
    lag, gets = truth.cost(bench.Fixed(1.0, random=random.Random(0)))
    assert lag * gets == pytest.approx(mean / 2, rel=0.04)
