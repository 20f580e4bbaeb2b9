"""Learned schedule: polls when a finish is likely, with the mean lag of fixed polling and fewer GETs."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from songflow.polling.durations import Duration, usable
from songflow.polling.optimum import PROBE_EVERY, Plan, plan_for_lag

__all__ = ["REMEMBERED", "History", "Learned", "learn"]

REMEMBERED = 400
"""Durations in a history. Ticks are learned from all, the distribution from the newest."""

_NEWEST = 100
"""Durations in the estimate: older ones add little, and gateways change."""

_FEWEST = 8
"""With fewer durations polling is fixed: the first to finish are the quickest of many that began together."""

# A plan is renewed after an eighth as many new durations as it was made from: a millisecond or two per song.
_STALE_SHARE = 8

# All in intervals of fixed polling (5 s). Mean lag of fixed polling; closer polls than a fifth of it gain nothing
# (relays refresh every 15 s); nothing is left alone for more than five minutes, whatever the history says.
_LAG, _SMALLEST_GAP, _LARGEST_GAP = 0.5, 0.2, 60.0
# Lead of the poll that shows that a tick has not come yet: twice the largest jitter.
_BEFORE = 0.1
_NODES_PER_INTERVAL = 8
# Gap beyond the last planned time: a tenth of the time waited so far.
_PATIENCE = 0.1
# Jitter delays the notice of a song: just enough to spread waiters.
_JITTER, _LARGEST_JITTER = 0.02, 0.05
# Degrees of freedom used by the estimate, which makes it overconfident.
_OVERCONFIDENCE = 1.0


@dataclass(frozen=True, slots=True)
class Learned:
    """Polls at planned times, each with some jitter so that waiters that began together spread out.

    Attributes:
        times: Seconds since acceptance, increasing; beyond the last the gaps are a tenth of the time waited.
        interval: Seconds between polls of the fixed schedule that this one replaces.
        jitter: Largest delay of a poll, as a share of the gap before it (at most a 20th of the interval).
    """

    times: tuple[float, ...]
    interval: float
    jitter: float = _JITTER
    random: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def delay(self, elapsed: float) -> float:
        """Seconds until the next poll, `elapsed` seconds after the gateway accepted the generation."""
        position = bisect_left(self.times, elapsed + _SMALLEST_GAP * self.interval / 2)
        beyond = max(_PATIENCE * elapsed, self.interval)
        gap = self.times[position] - elapsed if position < len(self.times) else beyond
        gap = min(gap, _LARGEST_GAP * self.interval)
        return gap + min(self.jitter * gap, _LARGEST_JITTER * self.interval) * self.random.random()

    def gap(self, elapsed: float) -> float:
        """Seconds between the planned polls around this age of a generation."""
        position = bisect_left(self.times, elapsed)
        if position == len(self.times):
            return min(max(_PATIENCE * elapsed, self.interval), _LARGEST_GAP * self.interval)
        before = self.times[position - 1] if position else 0.0
        return self.times[position] - before


class History:
    """Recent durations of one kind of request at one gateway, and the schedule for the next.

    Args:
        interval: Seconds between polls without history; its mean lag, half of it, is what a plan keeps.
        durations: Known durations, oldest first.
        random: Chooses between plans and spreads polls.
    """

    def __init__(
        self, interval: float, durations: Iterable[Duration] = (), random: random.Random | None = None
    ) -> None:
        self.interval = interval
        self._durations = deque(durations, maxlen=REMEMBERED)
        self._random = random or _new_random()
        self._plan: Plan | None = None
        self._news = len(self._durations)
        self._waits = 0

    def add(self, duration: Duration) -> None:
        """Add the duration of a finished generation."""
        self._durations.append(duration)
        self._news += 1

    @property
    def plan(self) -> Plan | None:
        """The plan for the next waits; None with too few durations."""
        size = min(len(self._durations), _NEWEST)
        if size >= _FEWEST and self._news > size // _STALE_SHARE:
            self._plan = learn(tuple(self._durations), self.interval)
            self._news = 0
        return self._plan

    def schedule(self) -> Learned | None:
        """The schedule of one wait; None with too few durations."""
        plan = self.plan
        if plan is None:
            return None
        self._waits += 1
        if plan.probe and self._waits % PROBE_EVERY == 0:
            times = plan.probe
        else:
            times = plan.seldom if self._random.random() < plan.share else plan.often
        return Learned(times, self.interval, random=self._random)


def learn(durations: Sequence[Duration], interval: float) -> Plan | None:
    """Compute the plan with the fewest GETs at the mean lag of fixed polling, from durations (oldest first).

    None if too few of them are usable since the gateway last changed.
    """
    # numpy takes 0.1 s to load, which a first song, without history, should not pay.
    from songflow.polling.changes import recent
    from songflow.polling.density import evidence_of
    from songflow.polling.ticks import best_density

    newest = usable(durations[-_NEWEST:])
    informative = recent(newest)
    if len(informative) < _FEWEST:
        return None
    # Without a recent change, ticks that were observed long ago are still valid.
    evidence = evidence_of(informative if len(informative) < len(newest) else usable(durations))
    density, ticks = best_density(evidence, interval, len(informative))
    law = density.law_at(density.edges) if ticks else density.law(interval / _NODES_PER_INTERVAL)
    lag = _LAG * interval * (1.0 - _OVERCONFIDENCE / len(informative))
    plan = plan_for_lag(law, lag, _SMALLEST_GAP * interval)
    if ticks is None or sum(one.reported is not None for one in informative) > len(informative) / 2:
        return plan
    return replace(plan, probe=_around(plan.often, ticks.width + _BEFORE * interval))


def _around(times: Sequence[float], before: float) -> tuple[float, ...]:
    """Polls right after ticks and right before them: only such pairs show that the ticks still exist."""
    # A wide tick can have two polls, the second less than `before` after the first.
    return tuple(sorted({poll for at in times for poll in (at - before, at)}))


def _new_random() -> random.Random:
    return random.Random()
