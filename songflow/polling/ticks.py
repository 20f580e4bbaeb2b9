"""Ticks: gateways that look at their upstream every so many seconds show a finish only at those moments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from songflow.polling.density import Array, Density, Evidence, estimate

__all__ = ["Ticks", "best_density"]

# Periods that people configure, in intervals of fixed polling (5 s): 5, 6, 10, 12, 15, 20, 30 and 60 s.
_PERIODS = (1.0, 1.2, 2.0, 2.4, 3.0, 4.0, 6.0, 12.0)
_BINS = 40
_STEPS = 80
# An observation agrees with a phase if it does by half, and tells of a period if there are phases with which it does
# not: in all longer than polls are put off (0.4 s where polling is every 5 s).
_AGREES, _TELLS = 0.5, 0.08
# How many must tell of a period.
_FEWEST = 10
# Ticks are narrow: a fifth of the period, and no more than an interval, holds all but the odd one. There are several.
_WINDOW, _IN_WINDOW = 8, 0.97
_TICKS = 3
# In nats. Of 700 histories of smooth laws none came beyond 18.9; of 200 with ticks, none of them told, all beyond 20.8.
_SURELY_TICKS = 20.0


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


def best_density(evidence: Evidence, interval: float, newest: int) -> tuple[Density, Ticks | None]:
    """The density of the newest observations (the last is the newest), and the ticks it stands on, where it does.

    Ticks are looked for in all of the observations, the longest period first: one of 15 s also shows on one of 5 s.
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
    """The ticks of a period (seconds), if there surely are some.

    Only the observations that tell of them are asked. Looks right after each tick agree with every phase: were they
    asked too, those that found the ticks would be outvoted by those that followed.
    """
    fits = _folded(evidence, period)
    against = (fits < _AGREES).mean(axis=1) * period
    tells = np.flatnonzero(against > _TELLS * interval)[-newest:]
    if len(tells) < _FEWEST:
        return None
    fits, evidence = fits[tells], evidence.only(tells)
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
    surely = _better(evidence, ticks, fits, places, interval) + _surprise(fits, ticks)
    return ticks if surely > _SURELY_TICKS else None


def _better(evidence: Evidence, ticks: Ticks, fits: Array, places: Array, interval: float) -> float:
    """How much better than a smooth law the ticks foresee each observation from the others, in nats.

    `fits` says how well each observation (row) agrees with each phase, `places` where in the period it lies.
    """
    _, smooth = estimate(evidence, interval)
    _, hidden = estimate(_hidden(evidence, ticks), interval)
    share = 1 / (evidence.size + 2)
    others = (1 - share) * (places.sum(axis=0) - places) / (evidence.size - 1) + share / _BINS
    return hidden + float(np.log((fits * others).sum(axis=1)).sum()) - smooth


def _surprise(fits: Array, ticks: Ticks) -> float:
    """How improbable it is that chance lets all of the observations agree with the ticks, in nats.

    A smooth law with a few narrow peaks can foresee what it was shown, but not that the peaks are a period apart.
    """
    chance = np.minimum(1.0, fits.mean(axis=1) + len(ticks.shape) / _BINS)
    return -float(np.log(chance).sum())


def _ticks_seen(evidence: Evidence, ticks: Ticks) -> int:
    """How many different ticks the observations show that cannot belong to two."""
    low, high = evidence.bounds
    clear = high - low < ticks.period / 2
    return len(np.unique(np.floor((high[clear] - ticks.start) / ticks.period)))


def _folded(evidence: Evidence, period: float) -> Array:
    """How well each observation (row) agrees with each phase of the period (column): 0..1."""
    phases = (np.arange(_BINS) + 0.5) * period / _BINS
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
