"""Draw points over several fields: at random, from a Sobol sequence, or as a Latin hypercube.

The same seed gives the same points on every machine. With `random` and `sobol`, a larger count only adds points,
so that a sweep that grows pays only for new ones; a Latin hypercube changes as a whole.
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
    """A list of values to draw from."""

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = tuple(values)

    def at(self, share: float) -> Any:
        """The value at a fraction (0..1) of the list."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]


def draw(kind: str, count: int, seed: int, axes: Mapping[str, Range | Choices]) -> list[dict[str, Any]]:
    """Draw `count` points over the axes, each as values by field."""
    points = KINDS[kind](len(axes), count, seed)
    return [
        {name: axis.at(share) for (name, axis), share in zip(axes.items(), point, strict=True)}
        for point in points
    ]


def _random(dimensions: int, count: int, seed: int) -> Iterable[Sequence[float]]:
    generator = random.Random(seed)
    return ([generator.random() for _ in range(dimensions)] for _ in range(count))


def _sobol(dimensions: int, count: int, seed: int) -> Iterable[Sequence[float]]:
    from scipy.stats import qmc  # takes a second to import, so only when needed

    with warnings.catch_warnings():
        # Balance is best at powers of two; any other count is the user's choice.
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
"""Samplers of the unit cube by their names in a spec: (dimensions, count, seed) to points."""
