"""Detect ticks: a gateway that polls its upstream periodically shows finishes only at those moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from songflow.polling.density import Array, Density, Evidence, estimate

__all__ = ["Ticks", "best_density"]

# Periods that people configure, in intervals of fixed polling (5 s): 5, 6, 10, 12, 15, 20, 30 and 60 s.
_PERIODS = (1.0, 1.2, 2.0, 2.4, 3.0, 4.0, 6.0, 12.0)
_BINS = 40
_STEPS = 80
# An observation agrees with a phase above this likelihood, and is informative about a period if it excludes phases
# longer than the jitter of polls (0.4 s at an interval of 5 s).
_AGREES, _TELLS = 0.5, 0.08
# Informative observations required per period.
_FEWEST = 10
# Ticks are narrow: a window of a fifth of the period, at most an interval, has nearly all. Several must be seen.
_WINDOW, _IN_WINDOW = 8, 0.97
_TICKS = 3
# In nats. Of 700 histories without ticks none exceeded 18.9; all of 200 with unreported ticks exceeded 20.8.
_SURELY_TICKS = 20.0


@dataclass(frozen=True, slots=True)
class Ticks:
    """Finishes show only at `period * k + start + [0, width]` seconds, distributed as `shape` (sums to 1)."""

    period: float
    start: float
    shape: Array

    @property
    def width(self) -> float:
        """Seconds from the first to the last moment of one tick."""
        return len(self.shape) * self.period / _BINS

    def before(self, times: Array) -> Array:
        """The end of the last tick that was over at these times."""
        end = self.start + self.width
        return np.floor((times - end) / self.period + 1e-9) * self.period + end


def best_density(evidence: Evidence, interval: float, newest: int) -> tuple[Density, Ticks | None]:
    """The density of the newest observations (oldest first), and its ticks, if there are any.

    Ticks are searched in all observations, the longest period first: a period of 15 s also fits one of 5 s.
    `interval` (seconds) is that of fixed polling.
    """
    recent = evidence.only(slice(-newest, None))
    smooth, _ = estimate(recent, interval)
    for period in reversed(_PERIODS):
        ticks = _find(evidence, period * interval, interval, newest)
        if ticks is not None:
            hidden, _ = estimate(_hidden(recent, ticks), interval)
            return _on_ticks(hidden, smooth, ticks, recent.size), ticks
    return smooth, None


def _find(evidence: Evidence, period: float, interval: float, newest: int) -> Ticks | None:
    """Find the ticks of a period (seconds), if they are significant.

    Only informative observations are used. Polls right after each tick agree with every phase: if they counted, later
    observations would outweigh those that detected the ticks.
    """
    fits = _folded(evidence, period)
    against = (fits < _AGREES).mean(axis=1) * period
    informative = np.flatnonzero(against > _TELLS * interval)[-newest:]
    if len(informative) < _FEWEST:
        return None
    fits, evidence = fits[informative], evidence.only(informative)
    shape = np.full(_BINS, 1 / _BINS)
    for _ in range(_STEPS):
        places = fits * shape
        places /= places.sum(axis=1, keepdims=True)
        shape = places.mean(axis=0)
    around = np.concatenate((shape, shape))
    width = min(_WINDOW, int(_BINS * interval / period))
    inside = np.array([around[first : first + width].sum() for first in range(_BINS)])
    first = int(np.argmax(inside))
    if inside[first] < _IN_WINDOW:
        return None
    window = around[first : first + width]
    kept = np.flatnonzero(window > 0.002)
    window = window[kept[0] : kept[-1] + 1] / window[kept[0] : kept[-1] + 1].sum()
    ticks = Ticks(period, (first + kept[0]) * period / _BINS, window)
    if _ticks_seen(evidence, ticks) < _TICKS:
        return None
    surely = _likelihood_gain(evidence, ticks, fits, places, interval) + _chance_agreement(fits, ticks)
    return ticks if surely > _SURELY_TICKS else None


def _likelihood_gain(evidence: Evidence, ticks: Ticks, fits: Array, places: Array, interval: float) -> float:
    """Leave-one-out log-likelihood gain of the ticks over a smooth distribution, in nats.

    `fits` is the likelihood of each observation (row) for each phase, `places` its posterior phase.
    """
    _, smooth = estimate(evidence, interval)
    _, hidden = estimate(_hidden(evidence, ticks), interval)
    share = 1 / (evidence.size + 2)
    others = (1 - share) * (places.sum(axis=0) - places) / (evidence.size - 1) + share / _BINS
    return hidden + float(np.log((fits * others).sum(axis=1)).sum()) - smooth


def _chance_agreement(fits: Array, ticks: Ticks) -> float:
    """Improbability, in nats, that all observations agree with the ticks by chance.

    A smooth distribution with narrow peaks can fit them, but does not predict peaks a period apart.
    """
    chance = np.minimum(1.0, fits.mean(axis=1) + len(ticks.shape) / _BINS)
    return -float(np.log(chance).sum())


def _ticks_seen(evidence: Evidence, ticks: Ticks) -> int:
    """Number of different ticks among the observations that fit only one."""
    low, high = evidence.bounds
    clear = high - low < ticks.period / 2
    return len(np.unique(np.floor((high[clear] - ticks.start) / ticks.period)))


def _folded(evidence: Evidence, period: float) -> Array:
    """Likelihood of each observation (row) for each phase of the period (column): 0..1."""
    phases = (np.arange(_BINS) + 0.5) * period / _BINS
    low, high = evidence.low[:, None], evidence.high[:, None]
    first = low + np.mod(phases[None, :] - low, period)  # the first moment of that phase after `low`
    reported, tolerance = evidence.reported[:, None], evidence.tolerance[:, None]
    nearest = reported + np.mod(phases[None, :] - reported + period / 2, period) - period / 2
    triangle = (
        np.clip(1 - np.abs(nearest - reported) / tolerance, 0, None) * (nearest > low) * (nearest <= high)
    )
    both = np.where(np.isnan(reported), (first <= high).astype(float), triangle)
    return np.where(both.sum(axis=1, keepdims=True) > 0, both, 1.0) + 1e-9


def _hidden(evidence: Evidence, ticks: Ticks) -> Evidence:
    """Observations of the true finish, which is between two ticks."""
    low, high = evidence.bounds
    after = ticks.before(low)
    until = ticks.before(high + ticks.width)
    until = np.maximum(until, after + ticks.period)
    nothing = np.full(evidence.size, np.nan)
    return Evidence(np.clip(after, 0, None), until, nothing, evidence.tolerance)


def _on_ticks(hidden: Density, smooth: Density, ticks: Ticks, size: int) -> Density:
    """Project the density of the true finish onto the ticks, mixed with some of the smooth density."""
    first = ticks.before(hidden.edges[:1])[0]
    ends = np.arange(first, hidden.edges[-1], ticks.period)
    ends = ends[ends > ticks.width]
    cells = np.diff(hidden.below(np.concatenate(([0.0], ends))))
    edges = (ends[:, None] + np.linspace(-ticks.width, 0.0, len(ticks.shape) + 1)[None, :]).ravel()
    # Within each tick the shape, from its end to the next one's start nothing.
    mass = np.column_stack((cells[:, None] * ticks.shape[None, :], np.zeros(len(cells)))).ravel()[:-1]
    share = 1 / (size + 2)
    spread = np.diff(smooth.below(edges))
    return Density(edges, (1 - share) * mass / mass.sum() + share * spread / spread.sum())
