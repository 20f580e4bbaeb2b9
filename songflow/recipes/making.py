"""A recipe on its way: every step a paid step of its own, every choice committed before the next one is paid for.

    wave      all steps of one depth, for all their sources: made together, and their ends waited for
    choices   then one after the other: what the ledger has, what was given, the rule, or a person
    next wave from the chosen songs, at the gateway and account that took the core

How a generation is made and how a person is asked is the crew's: plain Python, Prefect's tasks, a command line.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

from songflow.accounts import Access, that_took
from songflow.errors import GenerationFailed, InputError, NotCollected, SongflowError
from songflow.families.family import Request
from songflow.generation.error_texts import paid_from_here
from songflow.generation.policy import PayingPolicy
from songflow.generation.session import Session
from songflow.ledger.choices import Choice
from songflow.ledger.queries import leading_submission
from songflow.ledger.states import Billed, SongState, State
from songflow.recipes.answers import Answer, Question, given_answers
from songflow.recipes.branches import Branch, again_key
from songflow.recipes.model import CORE, Recipe, Rule, Step
from songflow.recipes.plan import Paid, Plan, plan_recipe, refuse_over_budget
from songflow.recipes.results import WholeSong, read_whole_song, takes_of
from songflow.recipes.takes import NoTake, Take, picked
from songflow.runtime.concurrency import all_ended

__all__ = ["MOST_PAIRS", "Crew", "Order", "make_whole_song"]

log = logging.getLogger(__name__)

MOST_PAIRS = 20
"""How many further pairs one step may be given."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Order:
    """One generation to make.

    Attributes:
        path: Its place in the recipe's tree.
        key: Its request key.
        request: What to make.
        accounts: Who may take it, in order: the caller's for the core, then only the account that took the core.
        again: True for a further pair: the same request was made before, on purpose.
    """

    path: str
    key: str
    request: Request
    accounts: Sequence[Access]
    again: bool = False

    def policy(self, given: PayingPolicy) -> PayingPolicy:
        """The caller's policy, with this order's fallbacks; a further pair does not stop at the first one."""
        if_unsettled = "new" if self.again else given.if_unsettled
        return replace(given, if_unsettled=if_unsettled, fallbacks=tuple(self.accounts[1:]))


class Crew(Protocol):
    """Who does the work of a recipe."""

    async def make(self, order: Order) -> None:
        """Make one generation and store its takes, or come back to it by its key. Raises SongflowError."""

    async def ask(self, question: Question) -> Answer:
        """Have a person choose. Raises ChoiceNeeded where there is nobody to wait for."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A step at one branch of the tree."""

    step: Step
    branch: Branch

    @property
    def key(self) -> str:
        return self.branch.key


async def make_whole_song(
    session: Session,
    recipe: Recipe,
    accounts: Sequence[Access],
    crew: Crew,
    *,
    key: str,
    choices: Mapping[str, str] = _NOTHING,
) -> WholeSong:
    """Make a recipe's songs, or go on where an earlier run under the same key stood still.

    Args:
        accounts: Who may take the core, in their order; what extends it goes to the one that did.
        key: The base of every step's request key.
        choices: Answers given beforehand, by path: a take's number, or `again` for another pair.

    Raises:
        InputError, SpendingStopped: before anything is sent, where the whole plan cannot be carried out.
        ChoiceNeeded: a person has to choose; come back with the same key.
        SongflowError: a step's own failure. What was made is kept, and the same key goes on from there.
    """
    answers = given_answers(recipe, choices)
    before = await read_whole_song(session.library.ledger, recipe, key)
    paid = Paid.of(before)
    plan = plan_recipe(recipe, accounts[0], budget=session.settings.budget, paid=paid)
    _require_short(recipe, key)
    await refuse_over_budget(session.library.ledger, session.library.settings, plan, paid, key)
    _tell(plan)
    await _Maker(session, recipe, tuple(accounts), crew, key, answers).run()
    return await read_whole_song(session.library.ledger, recipe, key)


def _require_short(recipe: Recipe, key: str) -> None:
    longest = max(len(step.name) + 4 * recipe.branching(step) for step in recipe.steps) + len(".again99") + 1
    if len(key) + longest > 255:
        raise InputError(
            f"The key is {len(key)} characters long, and with the steps' names behind it more than 255.",
            key=key,
            next="choose a shorter one; nothing was sent.",
        )


def _tell(plan: Plan) -> None:
    posts = (
        f"{plan.posts_min}" if plan.posts_min == plan.posts_max else f"{plan.posts_min} to {plan.posts_max}"
    )
    before = f", {plan.existing} of them paid for before" if plan.existing else ""
    log.info("%s: %s generations, up to %g units%s.", plan.recipe, posts, plan.price_max, before)


class _Maker:
    """One run of a recipe."""

    def __init__(
        self,
        session: Session,
        recipe: Recipe,
        accounts: tuple[Access, ...],
        crew: Crew,
        key: str,
        answers: Mapping[str, Answer],
    ) -> None:
        self._session = session
        self._ledger = session.library.ledger
        self._recipe = recipe
        self._accounts = accounts
        self._crew = crew
        self._key = key
        self._answers = answers

    async def run(self) -> None:
        """Make what is missing, and commit every choice."""
        branches: dict[str | None, list[Branch]] = {None: [Branch.root(self._key)]}
        for wave in self._recipe.waves():
            places = [_Place(step, source.below(step)) for step in wave for source in branches[step.source]]
            alive = await self._make_all(places)
            if wave[0].name == CORE:
                # Before it is chosen: a further pair of the core stays there, too, for whichever take is extended.
                self._accounts = (await self._account_of_the_core(),)
            for step in wave:
                branches[step.name] = []
            for place in alive:
                branches[place.step.name] += await self._choose(place)

    async def _account_of_the_core(self) -> Access:
        """The gateway and the account that have the core: nobody else can extend it."""
        core = leading_submission(await self._ledger.submissions.of_key(f"{self._key}:{CORE}"))
        assert core is not None, "the core was made"
        return await self._session.gateways.access_for(core, that_took(self._accounts, core))

    async def _make_all(self, places: Sequence[_Place]) -> list[_Place]:
        """Every place comes to its end, whatever happens to another; those that can be gone on from."""
        ends = await all_ended(*(self._make(place) for place in places))
        failures = {place: end for place, end in zip(places, ends, strict=True) if end is not None}
        alive = [place for place in places if place not in failures]
        for place, error in failures.items():
            others = any(other.step.name == place.step.name for other in alive)
            if not (isinstance(error, GenerationFailed) and others and not place.step.stop_at_failed):
                raise error
            log.warning("%s Going on without the branch %s.", error.message, place.branch.path)
        return alive

    async def _make(self, place: _Place) -> None:
        if await self._ledger.choices.get(place.key) is None:
            with _told_of(place):
                await self._crew.make(self._order(place, place.key))

    def _order(self, place: _Place, key: str, *, again: bool = False) -> Order:
        request = place.step.request
        if place.branch.song_id is not None:
            request = request.model_copy(update={"source_song_id": place.branch.song_id})
        return Order(key.removeprefix(f"{self._key}:"), key, request, self._accounts, again)

    # --- choosing ------------------------------------------------------------------------------------------------

    async def _choose(self, place: _Place) -> list[Branch]:
        standing = await self._ledger.choices.get(place.key)
        answer = self._answers.get(place.branch.path)
        if standing is None:
            chosen, by = await self._decided(place, answer)
            made = await takes_of(self._ledger, place.key)
            with paid_from_here(made[0][1]):
                ids = [take.song.song_id or "" for take in chosen]
                standing = await self._ledger.choices.choose(place.key, ids, by)
            log.info("Going on from %s with %s (%s).", place.branch.path, _named(chosen), standing.chosen_by)
        takes = await self._takes(place)
        _refuse_other(place, standing, answer, takes)
        return place.branch.chosen(place.step, [take.song for take in takes], standing.song_ids)

    async def _decided(self, place: _Place, answer: Answer | None) -> tuple[list[Take], str]:
        """The takes to go on with, and who says so."""
        trouble = await self._come_back_to_pairs(place)
        if answer is not None and answer.take is None:
            trouble = await self._have_pairs(place, answer.pairs) or trouble
            answer = None
            if trouble is not None:
                raise trouble
        while True:
            takes = await self._takes(place)
            if answer is None and place.step.take.rule is not Rule.ASK:
                return self._by_rule(place, takes), str(place.step.take)
            if answer is None:
                question = self._question(place, takes, await self._pairs(place), trouble)
                answer = await self._crew.ask(question)
            if answer.take is None:
                pairs = await self._pairs(place)
                trouble = await self._have_pairs(place, min(pairs + 1, MOST_PAIRS))
                answer = None
                continue
            found = next((take for take in takes if take.number == answer.take), None)
            if found is not None and found.good:
                return [found], answer.by
            raise _not_there(place, answer, found)

    def _by_rule(self, place: _Place, takes: Sequence[Take]) -> list[Take]:
        try:
            return picked(place.step.take, takes, stop_at_failed=place.step.stop_at_failed)
        except NoTake as none:
            raise _no_take(place, takes, none.take) from None

    def _question(
        self, place: _Place, takes: Sequence[Take], pairs: int, trouble: SongflowError | None
    ) -> Question:
        good = tuple(take for take in takes if take.good)
        if not good:
            raise _no_take(place, takes, None)
        [fallback] = picked(self._recipe.ask_default, good, stop_at_failed=False)
        return Question(
            base=self._key,
            path=place.branch.path,
            takes=good,
            fallback=fallback,
            timeout=self._recipe.ask_timeout,
            another=self._accounts[0].price_of(place.step.request) if pairs < MOST_PAIRS else None,
            pairs=pairs,
            trouble=trouble,
        )

    async def _takes(self, place: _Place) -> list[Take]:
        made = await takes_of(self._ledger, place.key)
        songs = [song for _, _, songs in made for song in songs]
        return [Take(number, song) for number, song in enumerate(songs, start=1)]

    async def _come_back_to_pairs(self, place: _Place) -> SongflowError | None:
        """Further pairs that an earlier run has begun are collected first; why one could not be."""
        return await self._have_pairs(place, await self._pairs(place))

    async def _pairs(self, place: _Place) -> int:
        """How many further pairs there are; one that was refused, or never sent, is none."""
        made = await takes_of(self._ledger, place.key)
        return sum(submission.billed != Billed.NO for _, submission, _ in made[1:])

    async def _have_pairs(self, place: _Place, number: int) -> SongflowError | None:
        """So many further pairs, each under its own key; the reason why the last one could not be made."""
        trouble: SongflowError | None = None
        for pair in range(1, number + 1):
            key = again_key(place.key, pair)
            if await self._has_ended(key):
                continue
            try:
                with _told_of(place):
                    await self._crew.make(self._order(place, key, again=True))
                trouble = None
            except SongflowError as error:
                trouble = error
        return trouble

    async def _has_ended(self, key: str) -> bool:
        """Whether a further pair is stored or has failed: then it is made no more, and the next wish is for another."""
        made = leading_submission(await self._ledger.submissions.of_key(key))
        if made is not None and made.state is State.FAILED:
            return True
        songs = await self._ledger.songs.of_key(key)
        return bool(songs) and all(song.state is not SongState.ANNOUNCED for song in songs)


@contextmanager
def _told_of(place: _Place) -> Iterator[None]:
    """A step's failure in the words of the whole song: which step, and the key to come back with."""
    try:
        yield
    except SongflowError as error:
        told = error.key or place.key
        ours = told.startswith(f"{place.branch.base}:")
        # A twin is the same step of another run.
        whole = place.branch.base if ours else told.removesuffix(f":{place.branch.path}")
        error.message = f"{place.branch.path}: {error.message}"
        error.next = error.next and error.next.replace(f"--key {told}", f"--key {whole}")
        error.key = whole
        raise


def _named(takes: Sequence[Take]) -> str:
    return ", ".join(f"take {take.number}" for take in takes)


def _refuse_other(place: _Place, standing: Choice, answer: Answer | None, takes: Sequence[Take]) -> None:
    """A choice that stands has perhaps been paid for already."""
    if answer is None or answer.take is None:
        return
    chosen = [take.number for take in takes if take.song.song_id in standing.song_ids]
    if answer.take not in chosen:
        raise InputError(
            f"{place.branch.path} goes on with take {', '.join(map(str, chosen))} since "
            f"{standing.chosen_at:%Y-%m-%d %H:%M} UTC ({standing.chosen_by}), and not with take {answer.take}.",
            key=place.key,
            next="leave that choice out; for another song begin with another key.",
        )


def _not_there(place: _Place, answer: Answer, take: Take | None) -> InputError:
    why = "there is none" if take is None else (take.song.error or "it is not stored")
    return InputError(
        f"{place.branch.path} cannot go on with take {answer.take}: {why}.",
        key=place.key,
        billed="yes",
        next="choose another take; what was made is kept, and the same key goes on from here.",
    )


def _no_take(place: _Place, takes: Sequence[Take], failed: Take | None) -> SongflowError:
    """Why a step has nothing to go on with: the take that the recipe stops at, or every take."""
    bad = [failed] if failed is not None else list(takes)
    reasons = "; ".join(f"take {take.number}: {take.song.error or 'not stored yet'}" for take in bad)
    told = (
        "the recipe stops there, and what was made is kept"
        if failed is not None
        else "none of its takes can be gone on with"
    )
    waits = any(take.song.state is SongState.ANNOUNCED for take in bad)
    kind = NotCollected if waits else GenerationFailed
    other = next((take.number for take in takes if take.good), None)
    choose = f", or go on with the other: --choose {place.branch.path}={other}" if other else ""
    return kind(
        f"{place.branch.path}: {told} ({reasons}).",
        key=place.key,
        state="succeeded",
        billed="yes",
        next=f"run the same command with its --key again{choose}.",
    )
