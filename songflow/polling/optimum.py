"""Optimal polling times for a known distribution of the finish (derived in docs/waiting.md).

Polling at times t_1 < t_2 < .. costs GETs, one for each t_i that finds the generation unfinished and one more; a late
notice costs lag. Of all schedules with a given mean lag, the one with the fewest GETs minimises
`lag + price * GETs` for some price of a GET, and for one price it is found exactly by dynamic programming.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["PROBE_EVERY", "Law", "Plan", "best_times", "mean_gets", "mean_lag", "plan_for_lag"]

_LOWEST_PRICE, _HIGHEST_PRICE = 1e-6, 1e6  # of a GET, in units of the target lag
_SAME_LAG = 0.005
_SAME_PRICE = 1.01

PROBE_EVERY = 25
"""One in this many waits uses the probe times, if a plan has any."""


@dataclass(frozen=True, slots=True)
class Law:
    """Distribution of the seconds T from acceptance to finish, at the candidate times for polls.

    Attributes:
        times: Increasing, in seconds; the first is 0, and T is never larger than the last.
        below: P(T <= t) at each of them; 0 at the first, 1 at the last.
        moment: E[T; T <= t] in seconds at each of them.
    """

    times: Sequence[float]
    below: Sequence[float]
    moment: Sequence[float]

    @property
    def mean(self) -> float:
        """E[T] in seconds."""
        return self.moment[-1]


@dataclass(frozen=True, slots=True)
class Plan:
    """Times of polls, in seconds since acceptance: a `share` (0..1) of waits polls `seldom`, the others `often`.

    If T has atoms, the lag jumps from one set of times to the next; a mixture of two reaches a mean in between. If
    there are `probe` times, one wait in `PROBE_EVERY` uses them instead.
    """

    often: tuple[float, ...]
    seldom: tuple[float, ...]
    share: float
    probe: tuple[float, ...] = ()

    @property
    def choices(self) -> list[tuple[float, tuple[float, ...]]]:
        """Sets of times with the share of waits that use them, if not zero."""
        probed = 1 / PROBE_EVERY if self.probe else 0.0
        shares = ((1.0 - probed) * (1.0 - self.share), (1.0 - probed) * self.share, probed)
        sets = (self.often, self.seldom, self.probe)
        return [(share, times) for share, times in zip(shares, sets, strict=True) if share]


def mean_gets(law: Law, chosen: Sequence[int]) -> float:
    """GETs per generation when polling at these indices of `law.times`."""
    return sum(1.0 - law.below[before] for before in (0, *chosen[:-1]))


def mean_lag(law: Law, chosen: Sequence[int]) -> float:
    """Seconds from finish to notice, on average, when polling at these indices of `law.times`."""
    return (
        sum(law.times[at] * (law.below[at] - law.below[before]) for before, at in pairwise((0, *chosen)))
        - (law.moment[chosen[-1]])
    )


def best_times(law: Law, price: float, min_gap: float = 0.0) -> list[int]:
    """The indices at which to poll so that `lag + price * GETs` (seconds) is least; the last index always is one.

    With V(i) the remaining cost when the last poll was at t_i,

        V(i) = price * P(T > t_i) + min over j of ( E[t_j - T; t_i < T <= t_j] + V(j) ),

    and the minimum is over lines in x = P(T <= t_i), of slope -t_j. As x only decreases from the end backwards, the
    lower envelope of the lines gives each minimum in amortised constant time: the total is linear.
    """
    times, below, moment = law.times, law.below, law.moment
    last = len(times) - 1
    following = [last] * (last + 1)
    slopes: list[float] = []
    offsets: list[float] = []
    owners: list[int] = []
    cost = [0.0] * (last + 1)
    best, candidate = 0, last
    for i in range(last - 1, -1, -1):
        while candidate > i and (candidate == last or times[candidate] - times[i] >= min_gap):
            slope = -times[candidate]
            offset = times[candidate] * below[candidate] - moment[candidate] + cost[candidate]
            # A line that is nowhere below both of its neighbours is never the minimum.
            while len(owners) - best >= 2 and (offset - offsets[-2]) * (slopes[-1] - slopes[-2]) <= (
                offsets[-1] - offsets[-2]
            ) * (slope - slopes[-2]):
                slopes.pop(), offsets.pop(), owners.pop()
            slopes.append(slope)
            offsets.append(offset)
            owners.append(candidate)
            candidate -= 1
        x = below[i]
        while (
            best + 1 < len(owners)
            and slopes[best + 1] * x + offsets[best + 1] <= slopes[best] * x + offsets[best]
        ):
            best += 1
        cost[i] = price * (1.0 - x) + moment[i] + slopes[best] * x + offsets[best]
        following[i] = owners[best]
    chosen, at = [], 0
    while at < last:
        at = following[at]
        chosen.append(at)
    return chosen


def plan_for_lag(law: Law, lag: float, min_gap: float = 0.0) -> Plan:
    """The plan with the fewest GETs among those with this mean lag (seconds) and `min_gap` seconds between polls.

    The lag grows with the price of a GET, so the price is found by bracketing. If no price gives this lag, the nearest
    plan is returned.
    """
    price = lag  # the right magnitude: if polls are two lags apart, a GET is worth about one
    low: tuple[float, list[int], float] | None = None
    high: tuple[float, list[int], float] | None = None
    while True:
        chosen = best_times(law, price, min_gap)
        found = mean_lag(law, chosen)
        if abs(found - lag) <= _SAME_LAG * lag or not _LOWEST_PRICE < price / lag < _HIGHEST_PRICE:
            return Plan(_at(law, chosen), _at(law, chosen), 0.0)
        if found < lag:
            low = (price, chosen, found)
        else:
            high = (price, chosen, found)
        if low and high and high[0] / low[0] < _SAME_PRICE:
            share = (lag - low[2]) / (high[2] - low[2])
            return Plan(_at(law, low[1]), _at(law, high[1]), share)
        price = _next_price(price, found / lag, low and low[0], high and high[0])


def _next_price(price: float, ratio: float, low: float | None, high: float | None) -> float:
    """Next price: the lag grows with the square root of the price; fall back to the middle of the bracket."""
    step = price / min(max(ratio, 0.1), 10.0) ** 2
    if low is None or high is None:
        return step
    margin = (high / low) ** 0.1
    return step if low * margin < step < high / margin else (low * high) ** 0.5


def _at(law: Law, chosen: Sequence[int]) -> tuple[float, ...]:
    return tuple(law.times[index] for index in chosen)
