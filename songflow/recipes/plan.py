"""Plan a recipe before anything is sent: requests, price, time, and whether it fits the budgets.

If every take is extended, the size of the tree depends on how many takes succeed: a plan has the minimum (one of each)
and the maximum (the usual two), and the maximum must fit the budget.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Self

from songflow.accounts import Access, reason_not_to_ask
from songflow.errors import InputError, SpendingStopped
from songflow.generation.expected import usual_seconds
from songflow.ledger import Ledger
from songflow.ledger.money import LIBRARY_SCOPE
from songflow.ledger.states import Billed, State
from songflow.recipes.model import TAKES_EXPECTED, Recipe, Rule, Step
from songflow.recipes.results import WholeSong
from songflow.recipes.sizes import Link, widths
from songflow.settings import LibrarySettings, amount, number_text

__all__ = ["Paid", "Plan", "PlannedStep", "plan_recipe", "refuse_over_budget"]

_ROUNDING = 1e-6
_LARGEST_TREE = 1000


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step: how often it is made at least and at most, and the price of each time."""

    step: str
    source: str | None
    mode: str
    at: float | None
    model_type: str
    take: str
    posts_min: int
    posts_max: int
    price_each: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole recipe. Prices are in the account's units; `seconds` is an estimate; `existing` were paid for before."""

    recipe: str
    posts_min: int
    posts_max: int
    price_min: float
    price_max: float
    budget: float | None
    seconds: float
    existing: int
    asks: tuple[str, ...]
    steps: tuple[PlannedStep, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Paid:
    """The generations of a recipe that are or may be paid for under its key already, and their price."""

    posts: int = 0
    price: float = 0.0

    @classmethod
    def of(cls, whole: WholeSong) -> Self:
        """Count the planned generations in the ledger: no further pairs, and none that failed."""
        planned = [
            piece
            for piece in whole.steps
            if piece.again == 0 and piece.billed != Billed.NO and piece.state != State.FAILED
        ]
        return cls(len(planned), sum(piece.price for piece in planned))


def plan_recipe(recipe: Recipe, access: Access, *, budget: float | None = None, paid: Paid = Paid()) -> Plan:
    """Plan a recipe with an account's prices.

    Args:
        budget: The caller's budget; the smaller of it and the recipe's own counts.

    Raises:
        InputError: the tree is larger than anybody can want, or the account's gateway cannot make one of the steps of a
            song that is not begun yet.
    """
    if not paid.posts:
        for step in recipe.steps:
            if (reason := reason_not_to_ask(access, step.request)) is not None:
                raise reason
    links = {step.name: Link(step.source, step.splits) for step in recipe.steps}
    least, most = widths(links, 1), widths(links, TAKES_EXPECTED)
    steps = [_planned(step, access, least[step.name], most[step.name]) for step in recipe.steps]
    if sum(most.values()) > _LARGEST_TREE:
        raise InputError(
            f"The recipe {recipe.name} would make up to {sum(most.values())} songs: every `take: all` doubles "
            f"what follows, and {_LARGEST_TREE} is the most.",
            next="take one take at some of its steps; nothing was sent.",
        )
    caps = [cap for cap in (budget, recipe.budget) if cap is not None]
    return Plan(
        recipe=recipe.name,
        posts_min=sum(least.values()),
        posts_max=sum(most.values()),
        price_min=sum(step.price_each * step.posts_min for step in steps),
        price_max=sum(step.price_each * step.posts_max for step in steps),
        budget=min(caps) if caps else None,
        seconds=sum(
            max(usual_seconds(access, step.request.model_type) for step in wave) for wave in recipe.waves()
        ),
        existing=paid.posts,
        asks=tuple(step.name for step in recipe.steps if step.take.rule is Rule.ASK),
        steps=tuple(steps),
    )


def _planned(step: Step, access: Access, least: int, most: int) -> PlannedStep:
    return PlannedStep(
        step=step.name,
        source=step.source,
        mode=step.request.mode.value,
        at=step.request.start,
        model_type=step.request.model_type,
        take=str(step.take),
        posts_min=least,
        posts_max=most,
        price_each=access.price_of(step.request),
    )


async def refuse_over_budget(
    ledger: Ledger | None, settings: LibrarySettings, plan: Plan, paid: Paid, key: str
) -> None:
    """Check that the remaining payments fit the budgets.

    Args:
        ledger: None if there is no library yet, so that nothing was spent.

    Raises:
        SpendingStopped: it does not fit, or spending is paused.
    """
    due = plan.price_max - paid.price
    if due <= 0:
        return
    if plan.budget is not None and plan.price_max > plan.budget + _ROUNDING:
        raise _refused(
            key,
            f"the recipe costs up to {amount(plan.price_max, settings.unit)}, and the budget is "
            f"{number_text(plan.budget)}",
        )
    stopped = await ledger.money.stop_reason() if ledger else None
    if stopped is not None:
        raise _refused(key, stopped, "`songflow resume`, where that is meant")
    day = f"day:{datetime.now(UTC).date().isoformat()}"
    for scope, cap, name in (
        (LIBRARY_SCOPE, settings.budget, "library's"),
        (day, settings.budget_per_day, "day's"),
    ):
        balance = await ledger.money.balance(scope) if ledger else None
        taken = balance.spent + balance.reserved if balance else 0.0
        if cap is not None and taken + due > cap + _ROUNDING:
            raise _refused(
                key,
                f"the recipe still costs up to {amount(due, settings.unit)}, and of the {name} budget of "
                f"{number_text(cap)} are {number_text(max(0.0, cap - taken))} left",
            )


def _refused(key: str, reason: str, advice: str = "raise the budget, or take fewer steps") -> SpendingStopped:
    return SpendingStopped(f"Nothing was sent: {reason}.", key=key, next=f"{advice}.")
