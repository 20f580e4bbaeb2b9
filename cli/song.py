"""`songflow song`: a whole song from a recipe."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from cyclopts import Parameter

from cli import options
from cli.accounts import access_of, resolve
from cli.flow_calls import shared_parameters
from cli.options import Common, Gateway, Paying
from cli.output import SIMULATED, Output
from cli.paid_command import guarded, hint_at_unused_keys, named, nothing_sent
from cli.prefect_mode import use_prefect
from cli.progress import Waiting
from cli.run_display import run_display
from cli.song_pages import show_plan, show_shelf, show_song, told_take
from songflow.accounts import Access, access_from_environment
from songflow.documents.text import marks_removed
from songflow.errors import (
    ChoiceNeeded,
    InputError,
    LibraryError,
    MissingCredentials,
    OutcomeUnknown,
    SongflowError,
    StillRunning,
)
from songflow.families.family import Request
from songflow.generation.ending import Progress
from songflow.generation.lifecycle import mint_key
from songflow.generation.policy import PayingPolicy
from songflow.generation.session import Session
from songflow.ledger.rows import Submission
from songflow.ledger.states import RULES, Billed, State
from songflow.library.library import Library
from songflow.parameters import KeyedSafety, session_settings
from songflow.recipes.answers import given_answers
from songflow.recipes.crew import Order
from songflow.recipes.making import make_whole_song
from songflow.recipes.model import Recipe
from songflow.recipes.plain import PlainCrew, settings_for
from songflow.recipes.plan import Paid, Plan, plan_recipe, refuse_over_budget
from songflow.recipes.results import WholeSong, read_whole_song
from songflow.recipes.shelf import find_recipe, portable
from songflow.settings import amount

__all__ = ["song"]


def song(
    recipe: str | None = None,
    /,
    *,
    set: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    choose: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    plan: Annotated[bool, Parameter(negative="")] = False,
    list: Annotated[bool, Parameter(negative="")] = False,
    paying: Paying = Paying(),
    gateway: Gateway = Gateway(),
    waiting: options.Waiting = options.Waiting(),
    common: Common = Common(),
) -> int:
    """Make a whole song from a recipe: a core, and what extends it before and after.

    Parameters
    ----------
    recipe
        A YAML file, or a recipe that comes with Songflow (see --list).
    set
        A variable of the recipe, as in --set prompt="a slow waltz" (can be given several times).
    choose
        Which take to continue from, as in --choose core=2; --choose core=again1 makes another pair
        (can be given several times).
    plan
        Only show the steps and their price; nothing is sent.
    list
        Only list the recipes that come with Songflow.
    """
    output = Output(as_json=common.json, quiet=common.quiet)
    if list:
        show_shelf(output)
        return 0
    with named(paying.key):
        for part in (paying, gateway, waiting):
            part.check()
        if recipe is None:
            raise InputError(
                "There is no recipe to make.",
                next="give a file, or one of those that `songflow song --list` shows; nothing was sent.",
            )
        order = _SongOrder(
            recipe, _pairs("--set", set), _pairs("--choose", choose), paying, gateway, waiting, common
        )
        if plan:
            found, simulated = asyncio.run(order.planned())
            show_plan(output, found, common.library_settings().unit, simulated=simulated)
            return 0
        return order.made(output)


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or name.strip() in pairs:
            why = "is given twice" if name.strip() in pairs else "has to be NAME=VALUE"
            raise InputError(f"{option} {text!r} {why}.", next="correct it; nothing was sent.")
        pairs[name.strip()] = marks_removed(value)
    return pairs


class _ShownCrew(PlainCrew):
    """Shows each generation with the number of its step."""

    def __init__(self, session: Session, policy: PayingPolicy, recipe: Recipe, waiting: Waiting) -> None:
        super().__init__(session, policy)
        self._recipe, self._waiting = recipe, waiting

    async def progress_of(self, order: Order) -> Progress:
        """The line of one step; steps that run at the same time take turns on it."""
        line = self._waiting.named(self._recipe.place_name(order.path))
        request = order.request
        await line.expect(self._session, order.accounts[0], request.model_type, request.mode.value)
        return line


@dataclass
class _SongOrder:
    """The recipe of a command line, with its options."""

    recipe: str
    variables: dict[str, str]
    choices: dict[str, str]
    paying: Paying
    gateway: Gateway
    waiting: options.Waiting
    common: Common
    _found: Recipe | None = field(default=None, init=False)

    async def planned(self) -> tuple[Plan, bool]:
        """The steps of the recipe and their price, less what its key has already paid for; True for a simulator."""
        access = await self._prices()
        recipe = self._read(access)
        paid = Paid()
        settings, key = self.common.library_settings(), self.paying.key or ""
        async with AsyncExitStack() as opened:
            library = (
                await opened.enter_async_context(Library(settings, reads_only=True))
                if settings.exists()
                else None
            )
            if library is not None and key:
                paid = Paid.of(await read_whole_song(library.ledger, recipe, key))
            plan = plan_recipe(recipe, access, budget=self.paying.budget, paid=paid)
            await refuse_over_budget(library.ledger if library else None, settings, plan, paid, key)
        return plan, access.is_simulated

    def made(self, output: Output) -> int:
        """Make the song, asking at the terminal if there is one; return the exit code."""
        asyncio.run(self._check())
        key = self.paying.key or mint_key()
        if self.paying.key is None:
            # Even with --quiet: without the key, a killed command could not be resumed.
            output.err.print(f"key: {key}", markup=False)
        hint_at_unused_keys(self.gateway)
        come_back = f"run the same command with --key {key}"
        while True:
            try:
                whole = guarded(
                    lambda: self._make(output, key), key, self.common, come_back, lambda: self._left(key)
                )
            except ChoiceNeeded as needed:
                if output.as_json or sys.stdin is None or not sys.stdin.isatty():
                    return self._failed(output, needed, key)
                try:
                    self.choices[needed.step] = _asked(output, needed, self.common.library_settings().unit)
                except KeyboardInterrupt:  # the takes are paid for and stored; the answer can come later
                    output.say("")
                    return self._failed(output, needed, key)
            except SongflowError as error:
                return self._failed(output, error, key)
            else:
                show_song(output, whole, self.common.library_settings().unit)
                return 0

    async def _check(self) -> None:
        """Raise for a faulty recipe, before a key is printed."""
        self._read(await self._prices())

    async def _make(self, output: Output, key: str) -> WholeSong:
        safety = self.paying.safety(key)
        policy = safety.policy()  # a missing key is an error before anything is sent
        if await use_prefect():
            return await self._as_flow(output, safety)
        access = await access_of(self.gateway)
        recipe = self._read(access)
        wanted = session_settings(self.waiting.group(), safety, self.paying.budget)
        settings = settings_for(recipe, key, wanted)
        async with Session(self.common.library_settings(), settings, resolve) as session:
            with output.waiting(recipe.name) as waiting:
                crew = _ShownCrew(session, replace(policy, fallbacks=()), recipe, waiting)
                return await make_whole_song(
                    session, recipe, policy.accounts(access), crew, key=key, choices=self.choices
                )

    async def _as_flow(self, output: Output, safety: KeyedSafety) -> WholeSong:
        recipe = self._read(await self._prices())

        async def name(_session: Session, _request: Request, submission: Submission) -> str:
            return recipe.place_name(submission.key.removeprefix(f"{safety.key}:"))

        shared = await shared_parameters(self.gateway, self.waiting, safety, self.paying.budget, self.common)
        with run_display(output, name):
            from flows.song import make_song

            whole: WholeSong = await make_song(
                recipe=portable(self.recipe),
                variables=self.variables,
                choices=self.choices,
                asking="stop",  # the command asks itself
                **shared,
            )
        return whole

    def _read(self, access: Access) -> Recipe:
        """The recipe, whose file is read once: it may be a pipe, and nobody changes it under a running command."""
        if self._found is None:
            self._found = find_recipe(self.recipe, self.variables, access.prices)
        given_answers(self._found, self.choices)
        return self._found

    async def _prices(self) -> Access:
        """An account to compute prices with: a plan needs no key."""
        try:
            return await access_of(self.gateway)
        except MissingCredentials:
            if self.gateway.credentials is not None:
                raise
            return access_from_environment()

    def _failed(self, output: Output, error: SongflowError, key: str) -> int:
        """Report a failure; with --json, also the stored songs."""
        details: dict[str, Any] = {}
        if output.as_json:
            with suppress(SongflowError):
                whole = asyncio.run(self._kept(key))
                details = {
                    name: value for name, value in whole.as_dict().items() if name in ("songs", "steps")
                }
            if isinstance(error, ChoiceNeeded):
                details |= {"step": error.step, "takes": error.takes}
        output.error(error, details)
        return error.exit_code

    async def _kept(self, key: str) -> WholeSong:
        recipe = self._read(await self._prices())
        async with Library(self.common.existing_library(), reads_only=True) as library:
            return await read_whole_song(library.ledger, recipe, key)

    async def _left(self, key: str) -> SongflowError:
        """Describe what Ctrl-C leaves behind, from the ledger."""
        come_back = f"continue with the same command and --key {key}, or collect with `songflow rescue`."
        try:
            steps = (await self._kept(key)).steps
        except LibraryError as error:
            return OutcomeUnknown(
                f"Detached, and the ledger cannot be read now: {error.message}", key=key, next=come_back
            )
        except InputError as error:
            if not self.common.library_settings().exists():
                return nothing_sent(key)
            return OutcomeUnknown(
                f"Detached, and what is left cannot be told: {error.message}", key=key, next=come_back
            )
        rules = [(piece, RULES[State(piece.state)]) for piece in steps]
        if all(rule.billed is Billed.NO for _, rule in rules):
            return nothing_sent(key)
        running = [f"{piece.path} ({piece.generation_id})" for piece, rule in rules if rule.waits]
        unsure = [piece.path for piece, rule in rules if rule.unsettled and not rule.waits]
        billed = f" ({SIMULATED})" if (await self._prices()).is_simulated else " and is billed"
        states = [
            *([f"{', '.join(running)} continues at the gateway{billed}"] if running else []),
            *([f"{', '.join(unsure)} may have been taken by the gateway"] if unsure else []),
        ]
        return StillRunning(
            f"Detached: {', and '.join(states) or 'nothing is running'}; finished songs stay stored.",
            key=key,
            state=steps[-1].state,
            next=come_back,
        )


def _asked(output: Output, needed: ChoiceNeeded, unit: str) -> str:
    """Ask at the terminal until the answer is one of the choices."""
    output.say(f"{needed.step}: which take should the song continue from?")
    for take in needed.takes:
        output.say(told_take(take))
    numbers = {str(take["take"]) for take in needed.takes}
    more = f", or a for another pair ({amount(needed.another, unit)})" if needed.another is not None else ""
    while True:
        sys.stderr.write(f"Take {', '.join(sorted(numbers))}{more}: ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise needed
        answer = line.strip().lower()
        if answer in numbers:
            return answer
        if answer in {"a", "again"} and needed.another is not None:
            return needed.again
        output.say(f"{answer or 'Nothing'} is not one of these.")
