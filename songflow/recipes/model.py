"""A recipe: a core, steps that extend it, and for each the rule by which the next one's source is taken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from songflow.audio.finishing import FinishSettings
from songflow.families.family import Request
from songflow.library.review import Review

__all__ = ["CORE", "TAKES_EXPECTED", "Recipe", "Rule", "Step", "TakeRule"]

CORE = "core"
"""The first step of every recipe."""

TAKES_EXPECTED = 2
"""The usual number of takes of a generation, for planning a tree's size."""

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
"""Names of steps. They are part of request keys, where a dot begins the name of a branch."""


class Rule(StrEnum):
    """How the takes are selected that a recipe continues from."""

    FIRST = "first"
    LONGEST = "longest"
    BEST = "best"
    ALL = "all"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class TakeRule:
    """A rule; `measure` is that of `best` (one of `songflow.library.review.MEASURES`), the highest unless `lowest`."""

    rule: Rule = Rule.FIRST
    measure: str | None = None
    lowest: bool = False

    def __str__(self) -> str:
        if self.rule is not Rule.BEST:
            return str(self.rule)
        return f"best ({'lowest' if self.lowest else 'highest'} {self.measure})"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its request, the step that it extends, and the rules that discard and select its takes.

    In an extension's request the name of the source step is the placeholder of the song's id.
    """

    name: str
    source: str | None
    request: Request
    take: TakeRule
    stop_at_failed: bool
    review: Review | None = None

    @property
    def splits(self) -> bool:
        """True if the recipe continues from every take, so that the steps after it are made once for each."""
        return self.take.rule is Rule.ALL


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole song as a tree of steps, the core first and each step after its source.

    `budget` is in the units of the prices; `ask_timeout` in seconds, after which `ask_default` answers for a person.
    `finish` says how copies of the whole songs are made in the end (None: none).
    """

    name: str
    description: str
    steps: tuple[Step, ...]
    budget: float | None
    ask_timeout: float
    ask_default: TakeRule
    finish: FinishSettings | None = None

    def step(self, name: str) -> Step | None:
        """The step with this name."""
        return next((step for step in self.steps if step.name == name), None)

    def place_name(self, path: str) -> str:
        """A place in the tree for people: the number of its step, and its path, as in "step 2 of 3 (intro)"."""
        names = [step.name for step in self.steps]
        return f"step {names.index(path.partition('.')[0]) + 1} of {len(names)} ({path})"

    def waves(self) -> Iterator[list[Step]]:
        """The steps by depth: the steps of one wave depend on earlier waves only."""
        depth: dict[str | None, int] = {None: 0}
        for step in self.steps:
            depth[step.name] = depth[step.source] + 1
        for level in range(1, max(depth.values()) + 1):
            yield [step for step in self.steps if depth[step.name] == level]

    def leaves(self) -> list[Step]:
        """The steps that nothing extends: their chosen takes are the whole songs."""
        extended = {step.source for step in self.steps}
        return [step for step in self.steps if step.name not in extended]

    def branching(self, step: Step) -> int:
        """The number of splits above a step, which is the number of takes in its paths."""
        splits, source = 0, self.step(step.source) if step.source else None
        while source is not None:
            splits += source.splits
            source = self.step(source.source) if source.source else None
        return splits
