"""When many waits ask together: the time of the next request for all of them (docs/waiting.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["round_time"]

# The share of an interval that is left when the time until a wait asks, and until the answer, is taken off.
_LONGEST = 0.9


def round_time(waits: Sequence[tuple[float, float]], interval: float, spread: float = 1.0) -> float:
    """The time of the next round, from each wait's last answer and the gap between its own polls, in seconds.

    Fixed polling with this `interval` has the wanted mean lag, and so have rounds that are as far apart, whatever the
    distribution (with ticks, ends are not spread over a gap). For smooth ones they may have to be closer.

    A wait of gap G would poll at the rate 1/G. A round at the rate R = sum(1/G^2) / sum(1/G) has the same mean lag for
    all of them as their own polls have. It is time when the sum of (seconds since the last answer / G)^2 is what it is
    after 1/R seconds without any answer; a `spread` other than 1 makes it sooner or later.
    """
    weights = [gap**-2 for _, gap in waits]
    total = sum(weights)
    first = waits[0][0]
    since = [at - first for at, _ in waits]
    mean = sum(weight * at for weight, at in zip(weights, since, strict=True)) / total
    variance = sum(weight * (at - mean) ** 2 for weight, at in zip(weights, since, strict=True)) / total
    wanted = spread * min(_mean_gap([gap for _, gap in waits]), _LONGEST * interval)
    return first + mean + math.sqrt(max(wanted**2 - variance, 0.0))


def _mean_gap(gaps: Sequence[float]) -> float:
    """Seconds between rounds that have the same mean lag as the polls of each wait alone."""
    return sum(1 / gap for gap in gaps) / sum(gap**-2 for gap in gaps)
