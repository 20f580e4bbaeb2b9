"""Estimate the distribution of durations from some tens of interval-censored observations.

No parametric family is assumed. Each estimate is a kernel density of log T with kernels shrunk towards the mean so that
the sample's variance is preserved (West 1993): width 1 gives a log-normal, width 0 the sample itself. Kernels of
several widths, around one centre or two, are weighted by their leave-one-out likelihood. The EM algorithm places each
observation within its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from songflow.polling.durations import Duration
from songflow.polling.optimum import Law

__all__ = ["Density", "Evidence", "estimate", "evidence_of"]

Array = NDArray[np.float64]

_BINS = 160
# (centres, width): the width is in standard deviations of the logarithm around each centre.
_KERNELS = (
    (1, 0.05), (1, 0.1), (1, 0.2), (1, 0.35), (1, 0.6), (1, 0.85), (1, 1.0), (2, 0.35), (2, 0.6), (2, 1.0),
)  # fmt: skip
_PILOT = (1, 0.35)
_PILOT_STEPS, _STEPS = 20, 4
_SETTLED = 1e-3
_SMALLEST_PART = 0.06
_TINY = 1e-300

# Support beyond the sample: some mass from a quarter of the shortest to four times the longest.
_REACH = 4.0
_REACH_INTERVALS = 10.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """Observations as arrays (seconds): each is in (low, high], and near `reported` if that is not NaN."""

    low: Array
    high: Array
    reported: Array
    tolerance: Array

    @property
    def size(self) -> int:
        """Number of observations."""
        return len(self.low)

    def only(self, which: NDArray[np.intp] | slice) -> Evidence:
        """A subset of the observations."""
        return Evidence(self.low[which], self.high[which], self.reported[which], self.tolerance[which])

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Bounds of each finish from our polls and the reported durations."""
        return np.fmax(self.low, self.reported - self.tolerance), np.fmin(
            self.high, self.reported + self.tolerance
        )

    def likelihood(self, edges: Array) -> Array:
        """Likelihood of each observation (row) for each bin (column) between the edges: 0..1."""
        below, above = edges[None, :-1], edges[None, 1:]
        width = above - below
        low, high = self.low[:, None], self.high[:, None]
        inside = np.clip(np.minimum(above, high) - np.maximum(below, low), 0, None) / width
        reported, tolerance = self.reported[:, None], self.tolerance[:, None]
        # The difference of two clock readings in whole seconds has a triangular error.
        triangle = (
            tolerance
            * (_triangle((above - reported) / tolerance) - _triangle((below - reported) / tolerance))
            / width
        )
        both = np.where(np.isnan(reported), inside, inside * triangle)
        agreement: Array = np.where(both.sum(axis=1, keepdims=True) > 0, both, inside) + _TINY
        return agreement


@dataclass(frozen=True, slots=True)
class Density:
    """Probability masses, spread evenly within bins; `edges` (seconds) has one more than `mass`."""

    edges: Array
    mass: Array

    def below(self, times: Array) -> Array:
        """P(T <= t)."""
        below: Array = np.interp(times, self.edges, np.concatenate(([0.0], np.cumsum(self.mass))))
        return below

    def law(self, finest: float) -> Law:
        """The distribution at times `finest` seconds apart, or a 200th of the time if that is more."""
        turn = 200 * finest
        first, last = self.edges[0], self.edges[-1]
        dense = np.arange(first, min(turn, last), finest)
        sparse = np.exp(np.arange(np.log(max(turn, first)), np.log(max(turn, last)), 1 / 200))
        return self.law_at(np.concatenate((dense, sparse, [last])))

    def law_at(self, times: Array) -> Law:
        """The distribution at these times; the last must be the last edge."""
        times = np.unique(np.concatenate(([0.0], times)))
        below = self.below(times)
        # The moment is piecewise quadratic between edges; with both kinds of times it is summed exactly.
        knots = np.union1d(times, self.edges)
        at_knots = self.below(knots)
        moment = np.concatenate(([0.0], np.cumsum(np.diff(at_knots) * (knots[1:] + knots[:-1]) / 2)))
        return Law(
            times.tolist(),
            (below / at_knots[-1]).tolist(),
            (np.interp(times, knots, moment) / at_knots[-1]).tolist(),
        )


def evidence_of(durations: Sequence[Duration]) -> Evidence:
    """Durations as arrays, without reported values that contradict our polls."""
    reported = [
        one.reported if one.reported is not None and not one.contradicts else np.nan for one in durations
    ]
    return Evidence(
        np.array([one.low for one in durations], dtype=float),
        np.array([one.high for one in durations], dtype=float),
        np.array(reported, dtype=float),
        np.array([one.tolerance for one in durations], dtype=float),
    )


def estimate(evidence: Evidence, interval: float) -> tuple[Density, float]:
    """The density of T, and the leave-one-out log-likelihood of the observations.

    `interval` (seconds) is that of fixed polling: it only sets the resolution and the range.
    """
    edges = _edges(evidence, interval)
    likelihood = evidence.likelihood(edges)
    centres = (np.log(edges[1:]) + np.log(edges[:-1])) / 2
    evenly = _normalised(likelihood * np.diff(edges))
    pilot, _ = _resolve(likelihood, centres, evenly, _PILOT, _PILOT_STEPS)
    fits = [_fit(likelihood, centres, pilot, kind) for kind in _KERNELS]
    scores = np.array([score for _, score in fits])
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    return Density(edges, weights @ np.array([mass for mass, _ in fits])), float(weights @ scores)


def _edges(evidence: Evidence, interval: float) -> Array:
    low, high = evidence.bounds
    shortest = min(np.min(high), np.min(np.where(low > 0, low, np.inf)))
    first = max(interval / 10, shortest / _REACH)
    last = _REACH * np.max(high) + _REACH_INTERVALS * interval
    return np.geomspace(first, last, _BINS + 1)


def _fit(likelihood: Array, centres: Array, places: Array, kind: tuple[int, float]) -> tuple[Array, float]:
    """The density for one kind of kernel, and its leave-one-out log-likelihood."""
    places, kernel = _resolve(likelihood, centres, places, kind, _STEPS)
    size = len(places)
    each = _product(places, kernel)
    total = each.sum(axis=0)
    others = _with_uniform_share((total - each) / (size - 1), size)
    score = float(np.log((likelihood * others).sum(axis=1)).sum())
    return _with_uniform_share(total / size, size), score


def _resolve(
    likelihood: Array, centres: Array, places: Array, kind: tuple[int, float], steps: int
) -> tuple[Array, Array]:
    """EM: the posterior position of each observation (row), given its interval and the density of all."""
    mass = places.mean(axis=0)
    for _ in range(steps):
        kernel = _kernel(centres, mass, *kind)
        places = _normalised(likelihood * ((mass[:, None] * kernel).sum(axis=0) + _TINY))
        before, mass = mass, places.mean(axis=0)
        if np.abs(mass - before).sum() < _SETTLED:
            break
    return places, kernel


def _kernel(centres: Array, mass: Array, parts: int, width: float) -> Array:
    """The kernel of each bin, one per row."""
    labels = np.zeros(len(centres), dtype=int) if parts == 1 else _halves(centres, mass)
    drawn, widths = np.empty_like(centres), np.empty_like(centres)
    step = centres[1] - centres[0]
    for part in np.unique(labels):
        mine = labels == part
        weight = mass[mine] / mass[mine].sum()
        mean = weight @ centres[mine]
        spread = np.sqrt(max(weight @ (centres[mine] - mean) ** 2, step**2))
        drawn[mine] = mean + np.sqrt(1 - width**2) * (centres[mine] - mean)
        widths[mine] = max(width * spread, step / 2)
    shape = np.exp(-0.5 * ((centres[None, :] - drawn[:, None]) / widths[:, None]) ** 2)
    return _normalised(shape)


def _halves(centres: Array, mass: Array) -> NDArray[np.int_]:
    """Split the bins into two clusters of least variance; one cluster if the other would be too small."""
    weight = np.cumsum(mass)
    first = np.cumsum(mass * centres)
    inside = (weight > _SMALLEST_PART) & (weight < 1 - _SMALLEST_PART)
    if not inside.any():
        return np.zeros(len(mass), dtype=int)
    between = np.full(len(mass), -np.inf)
    part = weight[inside]
    between[inside] = (first[inside] - part * first[-1]) ** 2 / (part * (1 - part))
    return (np.arange(len(mass)) > np.argmax(between)).astype(int)


def _with_uniform_share(mass: Array, size: int) -> Array:
    """Mix the mass with a uniform share worth two of `size + 2` observations."""
    share = 1 / (size + 2)
    return (1 - share) * mass + share / _BINS


def _normalised(rows: Array) -> Array:
    normalised: Array = rows / rows.sum(axis=1, keepdims=True)
    return normalised


def _product(rows: Array, kernel: Array) -> Array:
    # In pieces that BLAS computes on one thread: starting threads costs ten times the work.
    return np.concatenate([part @ kernel for part in np.array_split(rows, len(rows) // 10 + 1)])


def _triangle(x: Array) -> Array:
    """The integral of max(0, 1 - |x|) up to x."""
    x = np.clip(x, -1, 1)
    return np.where(x < 0, (1 + x) ** 2 / 2, 1 - (1 - x) ** 2 / 2)
