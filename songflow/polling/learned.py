"""The learned schedule: asks when an answer is likely, at the mean lag of fixed polling and with fewer GETs."""

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
"""How many durations a history holds. Ticks are learned from a few of them, and stay; the law is that of the newest."""

_NEWEST = 100
"""How many durations make the law: what is older tells little more, and gateways change."""

_FEWEST = 8
"""With fewer durations polling is fixed: the first to end are the quickest of many that began together."""

# A plan is made anew when an eighth of what it was made from has come in: a millisecond or two for a song.
_STALE_SHARE = 8

# All in intervals of fixed polling (5 s). Mean lag of fixed polling; closer looks than a fifth of it gain nothing
# (relays refresh every 15 s); nothing is left alone for more than five minutes, whatever the history says.
_LAG, _SMALLEST_GAP, _LARGEST_GAP = 0.5, 0.2, 60.0
# How long before a tick a look says that nothing shows yet: twice as long as it may be put off.
_BEFORE = 0.1
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
        self._waits = 0

    def add(self, duration: Duration) -> None:
        """One more generation has finished."""
        self._durations.append(duration)
        self._news += 1

    @property
    def plan(self) -> Plan | None:
        """The plan of the next waits; None while there is too little to learn from."""
        size = min(len(self._durations), _NEWEST)
        if size >= _FEWEST and self._news > size // _STALE_SHARE:
            self._plan = learn(tuple(self._durations), self.interval)
            self._news = 0
        return self._plan

    def schedule(self) -> Learned | None:
        """The schedule of one wait; None while there is too little to learn from."""
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
    """The plan with the fewest GETs at the mean lag of fixed polling, by these durations (oldest first).

    None where too few of them tell anything since the gateway last changed.
    """
    # numpy takes a tenth of a second to load: a first song has no history, and does not wait for it.
    from songflow.polling.changes import recent
    from songflow.polling.density import evidence_of
    from songflow.polling.ticks import best_density

    newest = usable(durations[-_NEWEST:])
    telling = recent(newest)
    if len(telling) < _FEWEST:
        return None
    # Where nothing has changed lately, ticks that were seen long ago are still there.
    evidence = evidence_of(telling if len(telling) < len(newest) else usable(durations))
    density, ticks = best_density(evidence, interval, len(telling))
    law = density.law_at(density.edges) if ticks else density.law(interval / _NODES_PER_INTERVAL)
    lag = _LAG * interval * (1.0 - _OVERCONFIDENCE / len(telling))
    plan = plan_for_lag(law, lag, _SMALLEST_GAP * interval)
    if ticks is None or sum(one.told is not None for one in telling) > len(telling) / 2:
        return plan
    return replace(plan, probe=_around(plan.often, ticks.width + _BEFORE * interval))


def _around(times: Sequence[float], before: float) -> tuple[float, ...]:
    """Looks right after ticks, and one before each of them: only two such looks tell that the ticks are still there."""
    # A wide tick can have two looks of its own, the second less than `before` after the first.
    return tuple(sorted({look for at in times for look in (at - before, at)}))


def _new_random() -> random.Random:
    return random.Random()
