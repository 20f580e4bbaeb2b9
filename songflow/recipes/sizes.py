"""The size of a recipe's tree: order of its steps, circles, number of generations and their price."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from songflow.recipes.model import TAKES_EXPECTED

__all__ = ["Link", "circles", "in_order", "price_range", "widths"]


@dataclass(frozen=True, slots=True)
class Link:
    """A step's source (None for the core), and whether the steps after it are made for each of its takes."""

    source: str | None
    splits: bool = False


def in_order(links: Mapping[str, Link]) -> list[str]:
    """The steps, each after its source, otherwise in written order; without steps not connected to the core."""
    ordered: list[str] = []
    done: set[str | None] = {None}
    while ready := [name for name, link in links.items() if name not in done and link.source in done]:
        ordered += ready
        done.update(ready)
    return ordered


def circles(links: Mapping[str, Link]) -> list[list[str]]:
    """Every circle of steps that extend each other, once each, starting with the step written first."""
    found: list[list[str]] = []
    for name in links:
        path: list[str] = []
        at: str | None = name
        while at is not None and at in links and at not in path:
            path.append(at)
            at = links[at].source
        if at == name and not any(name in circle for circle in found):
            found.append(path)
    return found


def widths(links: Mapping[str, Link], takes: int) -> dict[str, int]:
    """How often each step is made if every generation gives so many good takes."""
    counts: dict[str, int] = {}
    for name in links:
        count, at, seen = 1, links[name].source, {name}
        while at is not None and at in links and at not in seen:
            seen.add(at)
            count *= takes if links[at].splits else 1
            at = links[at].source
        counts[name] = count
    return counts


def price_range(
    links: Mapping[str, Link], models: Mapping[str, str], prices: Mapping[str, float]
) -> tuple[float, float]:
    """The price of the tree with one good take per generation, and with the usual number."""
    return (
        _price(widths(links, 1), models, prices),
        _price(widths(links, TAKES_EXPECTED), models, prices),
    )


def _price(counts: Mapping[str, int], models: Mapping[str, str], prices: Mapping[str, float]) -> float:
    return sum(count * prices.get(models[name], 0.0) for name, count in counts.items())
