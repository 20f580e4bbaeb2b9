"""`songflow song`: a whole song from a recipe."""

from __future__ import annotations

import asyncio
import builtins
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from cli.accounts import access_of, resolve
from cli.options import Common, Gateway, Paying, Waiting
from cli.output import Output
from cli.paid_command import guarded, hint_at_unused_keys, named
from cli.prefect_mode import use_prefect
from cli.song_pages import show_plan, show_shelf, show_song, told_take
from songflow.accounts import Access, access_from_environment, fallbacks_from_environment
from songflow.errors import (
    ChoiceNeeded,
    InputError,
    MissingCredentials,
    RequestNotSent,
    SongflowError,
    StillRunning,
)
from songflow.generation.lifecycle import mint_key
from songflow.generation.policy import PayingPolicy
from songflow.generation.session import Session
from songflow.ledger.states import RULES, State
from songflow.library.library import Library
from songflow.recipes.answers import given_answers
from songflow.recipes.making import make_whole_song
from songflow.recipes.model import Recipe
from songflow.recipes.plain import PlainCrew, settings_for
from songflow.recipes.plan import Paid, Plan, plan_recipe, refuse_over_budget
from songflow.recipes.results import WholeSong, read_whole_song
from songflow.recipes.shelf import find_recipe, portable

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
    waiting: Waiting = Waiting(),
    common: Common = Common(),
) -> int:
    """Make a whole song from a recipe: a core, and what extends it before and after.

    Parameters
    ----------
    recipe
        A YAML file, or one of those that come with Songflow (see --list).
    set
        A variable of the recipe, as in --set prompt="a slow waltz" (can be given several times).
    choose
        Which take a step goes on with, as in --choose core=2; --choose core=again1 makes another pair
        (can be given several times).
    plan
        Only tell what it takes and costs; nothing is sent.
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
        wish = _Wish(
            recipe, _pairs("--set", set), _pairs("--choose", choose), paying, gateway, waiting, common
        )
        if plan:
            show_plan(output, asyncio.run(wish.planned()))
            return 0
        return wish.made(output)


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or name.strip() in pairs:
            why = "is given twice" if name.strip() in pairs else "has to be NAME=VALUE"
            raise InputError(f"{option} {text!r} {why}.", next="correct it; nothing was sent.")
        pairs[name.strip()] = value
    return pairs


@dataclass
class _Wish:
    """One command line's recipe, with everything that was said about it."""

    recipe: str
    variables: dict[str, str]
    choices: dict[str, str]
    paying: Paying
    gateway: Gateway
    waiting: Waiting
    common: Common

    async def planned(self) -> Plan:
        """What the recipe takes and costs; what stands under its key already is not paid for again."""
        access = await self._prices()
        recipe = self._read(access)
        paid = Paid()
        settings, key = self.common.library_settings(), self.paying.key or ""
        async with AsyncExitStack() as opened:
            library = await opened.enter_async_context(Library(settings)) if settings.exists() else None
            if library is not None and key:
                paid = Paid.of(await read_whole_song(library.ledger, recipe, key))
            plan = plan_recipe(recipe, access, budget=self.paying.budget, paid=paid)
            await refuse_over_budget(library.ledger if library else None, settings, plan, paid, key)
        return plan

    def made(self, output: Output) -> int:
        """Make it, asking at the terminal where there is one; what returns is the exit code."""
        asyncio.run(self._check())
        key = self.paying.key or mint_key()
        if self.paying.key is None:
            # Always, even with --quiet: without it a killed command could not be come back to.
            output.err.print(f"key: {key}", markup=False)
        hint_at_unused_keys(self.gateway)
        come_back = f"run the same command with --key {key}"
        while True:
            try:
                whole = guarded(
                    lambda: self._make(output, key), key, self.common, come_back, lambda: self._left(key)
                )
            except ChoiceNeeded as needed:
                if output.as_json or not sys.stdin.isatty():
                    return self._failed(output, needed, key)
                self.choices[needed.step] = _asked(output, needed)
            except SongflowError as error:
                return self._failed(output, error, key)
            else:
                show_song(output, whole)
                return 0

    async def _check(self) -> None:
        """A recipe's faults are told before there is a key to come back with."""
        self._read(await self._prices())

    async def _make(self, output: Output, key: str) -> WholeSong:
        fallbacks = fallbacks_from_environment(
            self.paying.fallback
        )  # a missing key is said before anything is sent
        if use_prefect():
            return await self._as_flow(key)
        access = await access_of(self.gateway)
        recipe = self._read(access)
        settings = settings_for(recipe, key, self.paying.session_settings(self.waiting))
        async with (
            Session(self.common.library_settings(), settings, resolve) as session,
            output.waiting(recipe.name) as progress,
        ):
            policy = PayingPolicy(
                if_unsettled=self.paying.if_unsettled, retry_errors=self.paying.retry_errors
            )
            crew = PlainCrew(session, policy, progress)
            return await make_whole_song(
                session, recipe, [access, *fallbacks], crew, key=key, choices=self.choices
            )

    async def _as_flow(self, key: str) -> WholeSong:
        from blocks import SongLibrary
        from blocks.resolver import load_credentials
        from flows.song import make_song

        named_block = self.gateway.credentials
        whole: WholeSong = await make_song(
            recipe=portable(self.recipe),
            variables=self.variables,
            choices=self.choices,
            asking="stop",  # the command asks itself
            credentials=await load_credentials(named_block) if named_block is not None else None,
            gateway=self.gateway.gateway,
            base_url=self.gateway.base_url,
            submit_path=self.gateway.submit_path,
            fetch_path=self.gateway.fetch_path,
            shape=self.gateway.shape,
            library=SongLibrary.of(self.common.library_settings()),
            key=key,
            if_unsettled=self.paying.if_unsettled,
            retry_errors=self.paying.retry_errors,
            retries=self.paying.retries,
            poll_interval=self.waiting.poll_interval,
            deadline=self.waiting.deadline,
            budget=self.paying.budget,
            fallback_gateways=builtins.list(self.paying.fallback) or None,
        )
        return whole

    def _read(self, access: Access) -> Recipe:
        recipe = find_recipe(self.recipe, self.variables, access.prices)
        given_answers(recipe, self.choices)
        return recipe

    async def _prices(self) -> Access:
        """An account to price with: a plan needs no key."""
        try:
            return await access_of(self.gateway)
        except MissingCredentials:
            if self.gateway.credentials is not None:
                raise
            return access_from_environment()

    def _failed(self, output: Output, error: SongflowError, key: str) -> int:
        """The failure, and with --json what is kept all the same."""
        kept: dict[str, Any] = {}
        if output.as_json:
            with suppress(SongflowError):
                whole = asyncio.run(self._kept(key))
                kept = {name: value for name, value in whole.as_dict().items() if name in ("songs", "steps")}
            if isinstance(error, ChoiceNeeded):
                kept |= {"step": error.step, "takes": error.takes}
        output.error(error, kept)
        return error.exit_code

    async def _kept(self, key: str) -> WholeSong:
        recipe = self._read(await self._prices())
        async with Library(self.common.existing_library()) as library:
            return await read_whole_song(library.ledger, recipe, key)

    async def _left(self, key: str) -> SongflowError:
        """What Ctrl-C leaves behind, read from the ledger."""
        try:
            steps = (await self._kept(key)).steps
        except InputError:
            steps = ()
        if not steps:
            return RequestNotSent(
                "Interrupted before anything was sent.", key=key, next="run the command again."
            )
        running = [
            f"{piece.path} ({piece.generation_id})" for piece in steps if RULES[State(piece.state)].waits
        ]
        said = f"{', '.join(running)} goes on at the gateway and is billed" if running else "nothing runs now"
        return StillRunning(
            f"Detached: {said}; what was made is kept.",
            key=key,
            state=steps[-1].state,
            next=f"go on with the same command and --key {key}, or collect with `songflow rescue`.",
        )


def _asked(output: Output, needed: ChoiceNeeded) -> str:
    """Ask at the terminal until the answer can be meant."""
    output.say(f"{needed.step}: which take shall the song go on with?")
    for take in needed.takes:
        output.say(told_take(take))
    numbers = {str(take["take"]) for take in needed.takes}
    more = f", or a for another pair ({needed.another:g} units)" if needed.another is not None else ""
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
        output.say(f"{answer or 'Nothing'} is none of these.")
