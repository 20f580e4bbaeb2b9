"""Whole songs without Prefect: each generation is made in this process, and nobody is asked."""

from __future__ import annotations

from dataclasses import replace

from songflow.generation.ending import Progress
from songflow.generation.lifecycle import generate_in
from songflow.generation.policy import PAY_ONCE, PayingPolicy
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.recipes.answers import Answer, Question, nobody_here
from songflow.recipes.crew import Order
from songflow.recipes.model import Recipe

__all__ = ["PlainCrew", "settings_for"]


def settings_for(recipe: Recipe, key: str, settings: SessionSettings) -> SessionSettings:
    """The settings of a recipe's session: all steps are one run, with the smaller of both budgets."""
    caps = [cap for cap in (settings.budget, recipe.budget) if cap is not None]
    return replace(settings, budget=min(caps) if caps else None, budget_run=settings.budget_run or key)


class PlainCrew:
    """Makes each generation in this process, without Prefect; stops where a person has to choose."""

    def __init__(
        self,
        session: Session,
        policy: PayingPolicy = PAY_ONCE,
        progress: Progress | None = None,
    ) -> None:
        self._session = session
        self._policy = policy
        self._progress = progress

    async def make(self, order: Order) -> None:
        """Run one generation's life cycle."""
        await generate_in(
            self._session,
            order.request,
            order.accounts[0],
            key=order.key,
            policy=order.policy(self._policy),
            progress=await self.progress_of(order),
        )

    async def progress_of(self, _order: Order) -> Progress | None:
        """The callback that the wait for this generation reports to."""
        return self._progress

    async def ask(self, question: Question) -> Answer:
        """Stop: nobody is waited for."""
        raise nobody_here(question)
