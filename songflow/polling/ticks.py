"""Ticks: gateways that look at their upstream every so many seconds show a finish only at those moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from songflow.polling.density import Array, Density, Evidence, estimate

__all__ = ["Ticks", "best_density", "find_ticks"]

# Periods that people configure, in intervals of fixed polling (5 s): 5, 6, 10, 12, 15, 20, 30 and 60 s.
_PERIODS = (1.0, 1.2, 2.0, 2.4, 3.0, 4.0, 6.0, 12.0)
_BINS = 40
_STEPS = 80
_AGREES = 0.5
_WINDOW = 8
_IN_WINDOW = 0.97
_FEWEST = 12
_TICKS = 3
# Of eight periods one may fit by luck: a smooth law must not be taken for ticks.
_HANDICAP = 10.0


@dataclass(frozen=True, slots=True)
class Ticks:
    """Finishes show only at `period * k + start + [0, width]` seconds, where `shape` (sums to 1) says how."""

    period: float
    start: float
    shape: Array

    @property
    def width(self) -> float:
        """Seconds from the first to the last moment of one tick."""
        return len(self.shape) * self.period / _BINS

    def before(self, times: Array) -> Array:
        """The end of the last tick that was certainly over at these times."""
        end = self.start + self.width
        return np.floor((times - end) / self.period + 1e-9) * self.period + end


def best_density(evidence: Evidence, interval: float) -> tuple[Density, Ticks | None]:
    """The density that foresees the observations best, whether it is smooth or stands on ticks."""
    smooth, score = estimate(evidence, interval)
    if evidence.size < _FEWEST:
        return smooth, None
    found = [one for period in _PERIODS if (one := find_ticks(evidence, period * interval)) is not None]
    for ticks, fits in reversed(found):
        hidden, hidden_score = estimate(_hidden(evidence, ticks), interval)
        if hidden_score + fits > score + _HANDICAP:
            return _on_ticks(hidden, smooth, ticks, evidence.size), ticks
    return smooth, None


def find_ticks(evidence: Evidence, period: float) -> tuple[Ticks, float] | None:
    """The ticks of a period, if the observations fall into a small part of it; with their log-likelihood there."""
    phases = (np.arange(_BINS) + 0.5) * period / _BINS
    fits = _folded(evidence, phases, period)
    # A look right after each tick agrees with every phase: many of those would only slow the estimate down.
    telling = fits[(fits < _AGREES).any(axis=1)]
    shape = np.full(_BINS, 1 / _BINS)
    for _ in range(_STEPS if len(telling) else 0):
        places = telling * shape
        shape = (places / places.sum(axis=1, keepdims=True)).mean(axis=0)
    around = np.concatenate((shape, shape))
    inside = np.array([around[first : first + _WINDOW].sum() for first in range(_BINS)])
    first = int(np.argmax(inside))
    if inside[first] < _IN_WINDOW:
        return None
    window = around[first : first + _WINDOW]
    kept = np.flatnonzero(window > 0.002)
    window = window[kept[0] : kept[-1] + 1] / window[kept[0] : kept[-1] + 1].sum()
    start = (first + kept[0]) * period / _BINS
    if _ticks_seen(evidence, period, start) < _TICKS:
        return None
    score = float(np.log((fits * shape).sum(axis=1)).sum())
    return Ticks(period, start, window), score


def _ticks_seen(evidence: Evidence, period: float, start: float) -> int:
    """How many different ticks the observations show that cannot belong to two."""
    low, high = evidence.bounds
    clear = high - low < period / 2
    return len(np.unique(np.floor((high[clear] - start) / period)))


def _folded(evidence: Evidence, phases: Array, period: float) -> Array:
    """How well each observation (row) agrees with each phase of the period (column): 0..1."""
    low, high = evidence.low[:, None], evidence.high[:, None]
    first = low + np.mod(phases[None, :] - low, period)  # the first moment of that phase after `low`
    told, blur = evidence.told[:, None], evidence.blur[:, None]
    nearest = told + np.mod(phases[None, :] - told + period / 2, period) - period / 2
    figure = np.clip(1 - np.abs(nearest - told) / blur, 0, None) * (nearest > low) * (nearest <= high)
    both = np.where(np.isnan(told), (first <= high).astype(float), figure)
    return np.where(both.sum(axis=1, keepdims=True) > 0, both, 1.0) + 1e-9


def _hidden(evidence: Evidence, ticks: Ticks) -> Evidence:
    """The observations of what lies behind the ticks: it ended between two of them."""
    low, high = evidence.bounds
    after = ticks.before(low)
    until = ticks.before(high + ticks.width)
    until = np.maximum(until, after + ticks.period)
    nothing = np.full(evidence.size, np.nan)
    return Evidence(np.clip(after, 0, None), until, nothing, evidence.blur)


def _on_ticks(hidden: Density, smooth: Density, ticks: Ticks, size: int) -> Density:
    """What lies behind the ticks, seen through them; a little of it is seen as it is."""
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
