"""The learned schedule: asks when an answer is likely, at the mean lag of fixed polling and with fewer GETs."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from songflow.polling.durations import Duration, usable
from songflow.polling.optimum import Plan, plan_for_lag

__all__ = ["REMEMBERED", "History", "Learned", "learn"]

REMEMBERED = 100
"""How many durations a history holds: what is older tells little more, and gateways change."""

_FEWEST = 8
"""With fewer durations polling is fixed: the first to end are the quickest of many that began together."""

# A plan is made anew when an eighth of what it was made from has come in: a millisecond or two for a song.
_STALE_SHARE = 8

# All in intervals of fixed polling (5 s). Mean lag of fixed polling; closer looks than a fifth of it gain nothing
# (relays refresh every 15 s); nothing is left alone for more than five minutes, whatever the history says.
_LAG, _SMALLEST_GAP, _LARGEST_GAP = 0.5, 0.2, 60.0
_NODES_PER_INTERVAL = 8
# Beyond all experience: a tenth of the time waited so far.
_PATIENCE = 0.1
# The later a look, the later the song is noticed: enough to keep waiters out of step, and no more.
_JITTER, _LARGEST_JITTER = 0.02, 0.05
# A law that was fitted to n durations is too sure of itself: about so many of them it has used up.
_OVERCONFIDENCE = 1.0


@dataclass(frozen=True, slots=True)
class Learned:
    """Polls at planned times, each put off a little so that waiters who began together spread out.

    Attributes:
        times: Seconds since acceptance, increasing; beyond the last the gaps are a tenth of the time waited.
        interval: Seconds between polls of the fixed schedule that this one replaces.
        jitter: How far a poll is put off at most, as a share of the gap before it (and a 20th of the interval).
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


class History:
    """What one kind of request at one gateway took lately, and when to ask for the next one.

    Args:
        interval: Seconds between polls without history; its mean lag, half of it, is what a plan keeps.
        durations: What is known already, oldest first.
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

    def add(self, duration: Duration) -> None:
        """One more generation has finished."""
        self._durations.append(duration)
        self._news += 1

    @property
    def plan(self) -> Plan | None:
        """The plan of the next waits; None while there is too little to learn from."""
        if len(self._durations) >= _FEWEST and self._news > len(self._durations) // _STALE_SHARE:
            self._plan = learn(tuple(self._durations), self.interval)
            self._news = 0
        return self._plan

    def schedule(self) -> Learned | None:
        """The schedule of one wait; None while there is too little to learn from."""
        plan = self.plan
        if plan is None:
            return None
        times = plan.seldom if self._random.random() < plan.share else plan.often
        return Learned(times, self.interval, random=self._random)


def learn(durations: Sequence[Duration], interval: float) -> Plan | None:
    """The plan with the fewest GETs at the mean lag of fixed polling, by these durations (oldest first).

    None where too few of them tell anything since the gateway last changed.
    """
    # numpy takes a tenth of a second to load: a first song has no history, and does not wait for it.
    from songflow.polling.changes import recent
    from songflow.polling.density import evidence_of
    from songflow.polling.ticks import best_density

    telling = recent(usable(durations))
    if len(telling) < _FEWEST:
        return None
    density, ticks = best_density(evidence_of(telling), interval)
    law = density.law_at(density.edges) if ticks else density.law(interval / _NODES_PER_INTERVAL)
    lag = _LAG * interval * (1.0 - _OVERCONFIDENCE / len(telling))
    return plan_for_lag(law, lag, _SMALLEST_GAP * interval)


def _new_random() -> random.Random:
    return random.Random()
