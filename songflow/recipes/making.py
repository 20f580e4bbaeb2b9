"""Make a recipe's songs: each step is paid for once, each choice is committed before the next step is paid for.

wave       all steps of one depth, for all their sources: made together, and all of them awaited
choices    one after the other: the committed one, an answer given beforehand, the rule, or a person
next wave  from the chosen songs, at the gateway and account that took the core
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from songflow.accounts import Access, that_took
from songflow.errors import GenerationFailed, InputError
from songflow.generation.session import Session
from songflow.ledger.queries import leading_submission
from songflow.recipes.answers import given_answers
from songflow.recipes.branches import Branch
from songflow.recipes.choosing import Chooser
from songflow.recipes.crew import Crew, Orders, Place
from songflow.recipes.finishing import finish_songs
from songflow.recipes.model import CORE, Recipe
from songflow.recipes.plan import Paid, Plan, plan_recipe, refuse_over_budget
from songflow.recipes.results import WholeSong, read_whole_song
from songflow.runtime.concurrency import all_ended
from songflow.settings import amount

__all__ = ["make_whole_song"]

log = logging.getLogger(__name__)

_NOTHING: Mapping[str, str] = MappingProxyType({})


async def make_whole_song(
    session: Session,
    recipe: Recipe,
    accounts: Sequence[Access],
    crew: Crew,
    *,
    key: str,
    choices: Mapping[str, str] = _NOTHING,
) -> WholeSong:
    """Make a recipe's songs, or continue an earlier run under the same key.

    Args:
        accounts: Who may take the core, in order; its extensions go to the one that took it.
        crew: Makes each generation, and asks people.
        key: The base of every step's request key.
        choices: Answers given beforehand, by path: a take's number, or `again` for another pair.

    Raises:
        InputError, SpendingStopped: the whole plan cannot be carried out; nothing was sent.
        ChoiceNeeded: a person has to choose; continue with the same key.
        SongflowError: a step failed. What was made is kept, and the same key continues from there.
    """
    answers, ledger = given_answers(recipe, choices), session.library.ledger
    paid = Paid.of(await read_whole_song(ledger, recipe, key))
    plan = plan_recipe(recipe, accounts[0], budget=session.settings.budget, paid=paid)
    _require_short(recipe, key)
    await refuse_over_budget(ledger, session.library.settings, plan, paid, key)
    _log_plan(plan, session.library.settings.unit)
    orders = Orders(session, crew, key, accounts)
    chooser = Chooser(ledger, recipe, key, orders, answers)
    branches: dict[str | None, list[Branch]] = {None: [Branch.root(key)]}
    for wave in recipe.waves():
        places = [Place(step, source.below(step)) for step in wave for source in branches[step.source]]
        alive = await _make_all(session, orders, places)
        if wave[0].name == CORE:
            # Before its takes are chosen: a further pair of the core goes to the same account, whichever is extended.
            orders.accounts = (await _account_of_core(session, key, orders.accounts),)
        for step in wave:
            branches[step.name] = []
        for place in alive:
            branches[place.step.name] += await chooser.choose(place)
    whole = await read_whole_song(ledger, recipe, key, session.library.settings.unit)
    return whole if recipe.finish is None else await finish_songs(session.library, whole, recipe.finish)


def _require_short(recipe: Recipe, key: str) -> None:
    longest = max(len(step.name) + 4 * recipe.branching(step) for step in recipe.steps) + len(".again99") + 1
    if len(key) + longest > 255:
        raise InputError(
            f"The key is {len(key)} characters long, and with the steps' names behind it more than 255.",
            key=key,
            next="choose a shorter one; nothing was sent.",
        )


def _log_plan(plan: Plan, unit: str) -> None:
    posts = (
        f"{plan.posts_min}" if plan.posts_min == plan.posts_max else f"{plan.posts_min} to {plan.posts_max}"
    )
    before = f", {plan.existing} of them paid for before" if plan.existing else ""
    log.info("%s: %s generations, up to %s%s.", plan.recipe, posts, amount(plan.price_max, unit), before)


async def _account_of_core(session: Session, key: str, accounts: Sequence[Access]) -> Access:
    """The account that took the core: no other can extend it."""
    core = leading_submission(await session.library.ledger.submissions.of_key(f"{key}:{CORE}"))
    assert core is not None, "the core was made"
    return await session.gateways.access_for(core, that_took(accounts, core))


async def _make_all(session: Session, orders: Orders, places: Sequence[Place]) -> list[Place]:
    """Make all places of a wave, each to its end; returns those that can be continued from."""

    async def make(place: Place) -> None:
        if await session.library.ledger.choices.get(place.key) is None:
            await orders.make(place)

    ends = await all_ended(*(make(place) for place in places))
    failures = {place: end for place, end in zip(places, ends, strict=True) if end is not None}
    alive = [place for place in places if place not in failures]
    for place, error in failures.items():
        others = any(other.step.name == place.step.name for other in alive)
        if not (isinstance(error, GenerationFailed) and others and not place.step.stop_at_failed):
            raise error
        log.warning("%s Continuing without the branch %s.", error.message, place.branch.path)
    return alive
