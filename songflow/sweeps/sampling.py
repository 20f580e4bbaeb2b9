"""Points drawn from several fields at once: at random, from a Sobol sequence, or as a Latin hypercube.

The same seed gives the same points on every machine. Of `random` and `sobol`, more points are the earlier
ones and some more, so that a sweep that grows pays only for what is new; a Latin hypercube is another one.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from songflow.sweeps.values import Range

__all__ = ["KINDS", "MAX_SEED", "Choices", "draw"]

MAX_SEED = 2**32 - 1


class Choices:
    """Values of which one is drawn."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = tuple(values)

    def at(self, share: float) -> Any:
        """The value at a share (0..1) of the way."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]


def draw(kind: str, count: int, seed: int, axes: Mapping[str, Range | Choices]) -> list[dict[str, Any]]:
    """`count` points over the axes, each as values by field."""
    points = KINDS[kind](len(axes), count, seed)
    return [
        {name: axis.at(share) for (name, axis), share in zip(axes.items(), point, strict=True)}
        for point in points
    ]


def _random(dimensions: int, count: int, seed: int) -> Iterable[Sequence[float]]:
    luck = random.Random(seed)
    return ([luck.random() for _ in range(dimensions)] for _ in range(count))


def _sobol(dimensions: int, count: int, seed: int) -> Iterable[Sequence[float]]:
    from scipy.stats import qmc  # takes a second to load: only those who use it pay

    with warnings.catch_warnings():
        # Balance is best at powers of two; any other number is a person's choice.
        warnings.filterwarnings("ignore", message="The balance properties of Sobol", category=UserWarning)
        points: Iterable[Sequence[float]] = (
            qmc.Sobol(dimensions, scramble=True, seed=seed).random(count).tolist()
        )
        return points


def _latin_hypercube(dimensions: int, count: int, seed: int) -> Iterable[Sequence[float]]:
    from scipy.stats import qmc

    points: Iterable[Sequence[float]] = qmc.LatinHypercube(dimensions, seed=seed).random(count).tolist()
    return points


KINDS: Mapping[str, Callable[[int, int, int], Iterable[Sequence[float]]]] = {
    "random": _random,
    "sobol": _sobol,
    "lhs": _latin_hypercube,
}
"""The ways to draw points in the unit cube, by their names in a spec: (dimensions, count, seed)."""
