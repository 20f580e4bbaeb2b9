"""Polling: GETs per song and mean lag of the learned schedule, of fixed intervals and of the exact optimum.

Time is simulated; the wait loop, the schedule and its history are the real ones. A history is 50 songs that the
schedule itself waited for, starting without any. Its plan is then evaluated on the true distribution of the durations,
so that a few lucky songs do not blur the ratio. A gateway reports how long each song took (envelope B), or it does not
(shape A), and all that is known is between which two polls it ended.
"""

from __future__ import annotations

import asyncio
import math
import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.report import Finding, Outcome, Scale
from songflow.gateways import Report, ReportStatus
from songflow.polling import Duration, History, Law, Learned, Plan, mean_gets, mean_lag, plan_for_lag
from songflow.polling.loop import Fixed, Schedule, wait_until_settled

SONGS = 50
INTERVAL = 5.0
# The resolution of the exact optimum, and the number of quantiles of a true distribution.
_STEP = 0.25
_QUANTILES = 400_000
_WALKS = 4
_DEADLINE = 1e5
_REPORTED = {True: "times reported", False: "times not reported"}
_COLUMNS = ("reported: GETs", "lag", "ratio", "not reported: GETs", "lag", "ratio")

Quantile = Callable[[Any], Any]
Cost = tuple[float, float]
"""Mean lag (seconds) and GETs per song."""


@dataclass(frozen=True, slots=True)
class Family:
    """Durations in seconds, by their `quantile` of 0..1; with a `tick`, ends are only visible on its multiples."""

    name: str
    quantile: Quantile
    tick: float = 0.0

    def seen(self, shares: Any) -> Any:
        """The visible durations at these quantiles."""
        values = self.quantile(shares)
        return np.ceil(values / self.tick) * self.tick if self.tick else values


def lognormal(sigma: float, median: float = 54.0) -> Quantile:
    """Quantiles of a log-normal distribution."""
    from scipy.special import ndtri

    return lambda shares: median * np.exp(sigma * ndtri(shares))


def weibull(shape: float, median: float = 54.0) -> Quantile:
    """Quantiles of a Weibull distribution."""
    return lambda shares: median * (-np.log1p(-shares) / math.log(2)) ** (1 / shape)


def two_queues(fast: float, slow: float, share: float, sigma: float) -> Quantile:
    """Quantiles of a mixture of two queues whose durations hardly overlap."""

    def quantile(shares: Any) -> Any:
        of_fast = np.clip(shares / share, 1e-9, 1 - 1e-9)
        of_slow = np.clip((shares - share) / (1 - share), 1e-9, 1 - 1e-9)
        return np.where(shares < share, lognormal(sigma, fast)(of_fast), lognormal(sigma, slow)(of_slow))

    return quantile


FAMILIES = (
    Family("log-normal, sigma 0.1", lognormal(0.1)),
    Family("log-normal, sigma 0.3", lognormal(0.3)),
    Family("log-normal, sigma 0.5", lognormal(0.5)),
    Family("log-normal, sigma 1.0", lognormal(1.0)),
    Family("Weibull, shape 1.5", weibull(1.5)),
    Family("Weibull, shape 3", weibull(3.0)),
    Family("two queues, 40 s and 120 s", two_queues(40.0, 120.0, 0.6, 0.15)),
    Family("15 s ticks, sigma 0.3", lognormal(0.3), tick=15.0),
    Family("15 s ticks, sigma 0.5", lognormal(0.5), tick=15.0),
)
CHANGING = (FAMILIES[0], FAMILIES[1], FAMILIES[3], FAMILIES[6])
CHANGES = (0.5, 2.0)
_CHANGES = {0.5: "half as long", 2.0: "twice as long"}
TICKING = FAMILIES[7:]
_LASTING = 900


class Truth:
    """The true distribution of a family, from which costs are computed, not sampled."""

    def __init__(self, family: Family) -> None:
        self._values = np.sort(family.seen((np.arange(_QUANTILES) + 0.5) / _QUANTILES))
        self._sums = np.concatenate(([0.0], np.cumsum(self._values)))
        self.longest = float(self._values[-1])
        fine = np.arange(0.0, self.longest + 2 * _STEP, _STEP)
        self._law = self.law(fine)

    def law(self, times: Any) -> Law:
        """The distribution at these times: the first is 0, the last beyond the longest duration."""
        count = np.searchsorted(self._values, times, side="right")
        below, moment = count / _QUANTILES, self._sums[count] / _QUANTILES
        return Law(np.asarray(times).tolist(), below.tolist(), moment.tolist())

    def cost(self, schedule: Schedule) -> Cost:
        """The cost of a schedule, averaged over a few walks (each with its own jitter)."""
        costs = []
        for _ in range(_WALKS):
            law = self.law(np.fromiter(_walk(schedule, self.longest), dtype=float))
            everywhere = range(1, len(law.times))
            costs.append((mean_lag(law, everywhere), mean_gets(law, everywhere)))
        return _mean(costs)

    def optimum(self, lag: float) -> float:
        """The fewest GETs per song at a mean lag (seconds), by dynamic programming over the distribution."""
        return _cost_at(self._law, plan_for_lag(self._law, lag))[1]


def _walk(schedule: Schedule, longest: float) -> Iterator[float]:
    yield (at := 0.0)
    while at <= longest:
        at += schedule.delay(at)
        yield at


def _cost_at(law: Law, plan: Plan) -> Cost:
    paths = [(share, [bisect_left(law.times, at) for at in times]) for share, times in plan.choices]
    return _mixed([(share, (mean_lag(law, path), mean_gets(law, path))) for share, path in paths])


def cost_of(history: History, truth: Truth) -> Cost:
    """The cost of waiting for the next songs with this history."""
    plan = history.plan
    if plan is None:
        return truth.cost(Fixed(history.interval, random=random.Random(0)))
    choices = [
        (share, truth.cost(Learned(times, history.interval, random=random.Random(0))))
        for share, times in plan.choices
    ]
    return _mixed(choices)


def _mixed(choices: Sequence[tuple[float, Cost]]) -> Cost:
    return sum(share * lag for share, (lag, _) in choices), sum(share * gets for share, (_, gets) in choices)


def _mean(costs: Sequence[Cost]) -> Cost:
    return fmean(lag for lag, _ in costs), fmean(gets for _, gets in costs)


async def wait_for_songs(
    history: History, durations: Sequence[float], *, reported: bool, luck: random.Random
) -> None:
    """Wait for songs of these durations one after another, as a session does, in simulated time."""
    for seconds in durations:
        history.add(
            await _wait(history.schedule() or Fixed(history.interval, random=luck), seconds, reported, luck)
        )


async def _wait(schedule: Schedule, seconds: float, reported: bool, luck: random.Random) -> Duration:
    now, looks = 0.0, [0.0]

    async def sleep(pause: float) -> None:
        nonlocal now
        now += pause

    async def get() -> Report:
        looks.append(now)
        status = ReportStatus.FAILED if now >= seconds else ReportStatus.RUNNING
        return Report(status, (), None, None, "")

    await wait_until_settled(get, schedule, age=0.0, deadline=_DEADLINE, clock=lambda: now, sleep=sleep)
    submitted = luck.random()  # the gateway's clock is read in whole seconds
    figure = float(math.floor(submitted + seconds) - math.floor(submitted)) if reported else None
    return Duration(looks[-2], looks[-1], figure)


def grown(families: Iterable[Family], *, reported: bool, seed: int, songs: int = SONGS) -> Iterator[History]:
    """One history, after so many songs of each family that the schedule itself waited for."""
    draw, luck = np.random.default_rng(seed), random.Random(seed)
    history = History(INTERVAL, random=luck)
    for family in families:
        durations = family.seen(draw.random(songs)).tolist()
        asyncio.run(wait_for_songs(history, durations, reported=reported, luck=luck))
        yield history


def learned_cost(
    family: Family, truth: Truth, *, reported: bool, seed: int, before: float = 1.0, songs: int = SONGS
) -> Cost:
    """The cost after so many songs; if `before` is not 1, after as many at another speed and then these."""
    slow = Family(family.name, lambda shares: before * family.seen(shares))
    families = [slow, family] if before != 1.0 else [family]
    *_, history = grown(families, reported=reported, seed=seed, songs=songs)
    return cost_of(history, truth)


def lasting_cost(family: Family, truth: Truth, *, songs: int, seed: int) -> Cost:
    """The average cost over a long history without reported times, taken every 50 songs."""
    return _mean(
        [cost_of(history, truth) for history in grown([family] * (songs // SONGS), reported=False, seed=seed)]
    )


def measure(scale: Scale) -> list[Outcome]:
    """Measure GETs and lag after 50 songs, after many, and 50 songs after a change; means over several histories."""
    first, songs = scale.count(len(FAMILIES), 1), scale.count(SONGS, 16)
    steady, ticking, changing = FAMILIES[:first], TICKING[:first], CHANGING[:first]
    truths = {family.name: Truth(family) for family in {*steady, *ticking, *changing}}
    return [
        _steady(truths, steady, scale.count(10, 1), songs),
        _lasting(truths, ticking, scale.count(10, 1), scale.count(_LASTING, SONGS)),
        _changed(truths, changing, CHANGES[: scale.count(len(CHANGES), 1)], scale.count(5, 1), songs),
    ]


def _steady(truths: dict[str, Truth], families: Sequence[Family], histories: int, songs: int) -> Outcome:
    rows, findings = [], []
    for family in families:
        truth = truths[family.name]
        fixed = [truth.cost(Fixed(interval, random=random.Random(0))) for interval in (0.5, 5.0, 10.0)]
        row = [gets for _, gets in fixed] + [fixed[1][0], truth.optimum(fixed[1][0])]
        for reported in (True, False):
            costs = [
                learned_cost(family, truth, reported=reported, seed=seed, songs=songs)
                for seed in range(histories)
            ]
            row += _against_optimum(costs, truth)
            findings.append(
                Finding(f"{family.name}, {_REPORTED[reported]}: GETs relative to the optimum", row[-1], 1.15)
            )
        rows.append((family.name, row))
    columns = ("GETs 0.5 s", "5 s", "10 s", "lag 5 s", "optimum", *_COLUMNS)
    return Outcome(
        f"Polling: GETs per song and mean lag (s), {songs} songs of history", columns, rows, findings
    )


def _lasting(truths: dict[str, Truth], families: Sequence[Family], histories: int, songs: int) -> Outcome:
    """Measure unreported ticks: songs that showed them drop out of the history, and later polls do not show them."""
    rows, findings = [], []
    for family in families:
        truth = truths[family.name]
        costs = [lasting_cost(family, truth, songs=songs, seed=seed) for seed in range(histories)]
        row = _against_optimum(costs, truth)
        findings.append(
            Finding(
                f"{family.name}, times not reported, {songs} songs: GETs relative to the optimum",
                row[-1],
                1.15,
            )
        )
        rows.append((family.name, row))
    return Outcome(f"Polling: every 50 songs of {songs}", _COLUMNS[3:], rows, findings)


def _changed(
    truths: dict[str, Truth],
    families: Sequence[Family],
    changes: Sequence[float],
    histories: int,
    songs: int,
) -> Outcome:
    rows, findings = [], []
    for family in families:
        truth = truths[family.name]
        for before in changes:
            name = f"{family.name}, before {_CHANGES[before]}"
            row: list[float] = []
            for reported in (True, False):
                costs = [
                    learned_cost(family, truth, reported=reported, seed=seed, before=before, songs=songs)
                    for seed in range(histories)
                ]
                row += _against_optimum(costs, truth)
                findings.append(
                    Finding(f"{name}, {_REPORTED[reported]}: GETs relative to the optimum", row[-1], 1.3)
                )
            rows.append((name, row))
    return Outcome(f"Polling: {songs} songs after a change of speed", _COLUMNS, rows, findings)


def _against_optimum(costs: Sequence[Cost], truth: Truth) -> list[float]:
    """GETs, lag, and GETs relative to the optimum at that lag."""
    lag, gets = _mean(costs)
    return [gets, lag, gets / truth.optimum(lag)]
