"""Whole songs from plain Python: `await songflow.make_song("radio-edit", variables={"prompt": "a slow waltz"})`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from songflow.accounts import access_from_environment
from songflow.generation.ending import Progress
from songflow.generation.lifecycle import generate_in, mint_key
from songflow.generation.policy import PAY_ONCE, IfUnsettled, PayingPolicy
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.recipes.answers import Answer, Question, nobody_here
from songflow.recipes.crew import Order
from songflow.recipes.making import make_whole_song
from songflow.recipes.model import Recipe
from songflow.recipes.results import WholeSong
from songflow.recipes.shelf import find_recipe
from songflow.settings import LibrarySettings

__all__ = ["PlainCrew", "make_song", "settings_for"]


async def make_song(
    recipe: str | Mapping[str, Any],
    *,
    variables: Mapping[str, Any] | None = None,
    choices: Mapping[str, str] | None = None,
    key: str | None = None,
    gateway: str | None = None,
    base_url: str | None = None,
    library: str | None = None,
    settings: SessionSettings | None = None,
    if_unsettled: IfUnsettled = "stop",
) -> WholeSong:
    """Make a whole song from a recipe: each step is paid for once, even if the run is killed and started again.

    Args:
        recipe: The name of a shipped recipe, a file, YAML text, or the same as plain data.
        variables: Values of the recipe's `${...}`.
        choices: Takes chosen beforehand, by step: `{"core": "2"}`.
        key: Continues the song begun under it (None: a new song).
        gateway: "simulator" (the default: no key, no cost), "cometapi", "openai-hk" or "custom".
        base_url: The gateway's address if it is not the published one.
        library: The library's folder (None: SONGFLOW_LIBRARY, else `./songs`).
        settings: Polling, deadline, retries and budget.
        if_unsettled: If a crashed run left the same request unsettled: "stop", or pay for a "new" one.

    Raises:
        InvalidDocument: with every fault of the recipe; nothing was sent.
        ChoiceNeeded: a person has to choose; call again with the same key and the choice in `choices`.
        SongflowError: a step failed; what was made is kept, and the same key continues from there.
    """
    access = access_from_environment(gateway, base_url)
    read = find_recipe(recipe, variables or {}, access.prices)
    key = key or mint_key()
    chosen = settings_for(read, key, settings or SessionSettings())
    async with Session(LibrarySettings.from_environment(library), chosen) as session:
        crew = PlainCrew(session, PayingPolicy(if_unsettled=if_unsettled))
        return await make_whole_song(session, read, [access], crew, key=key, choices=choices or {})


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
            progress=self._progress,
        )

    async def ask(self, question: Question) -> Answer:
        """Stop: nobody is waited for."""
        raise nobody_here(question)
