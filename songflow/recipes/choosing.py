"""Select the takes that the next steps of a recipe continue from, and commit each choice before they are paid for.

A committed choice is final. Without one, an answer given beforehand decides, then the step's rule, then a person, who
may ask for further pairs of takes first.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from songflow.errors import GenerationFailed, InputError, NotCollected, SongflowError
from songflow.generation.error_texts import paid_from_here
from songflow.ledger import Ledger
from songflow.ledger.choices import Choice
from songflow.ledger.queries import leading_submission
from songflow.ledger.states import Billed, SongState, State
from songflow.library.review import MEASURED, discarded, measured_songs
from songflow.recipes.answers import Answer, Question
from songflow.recipes.branches import Branch, again_key
from songflow.recipes.crew import Orders, Place
from songflow.recipes.model import Recipe, Rule
from songflow.recipes.results import takes_of
from songflow.recipes.takes import NoTake, Take, picked

__all__ = ["MOST_PAIRS", "Chooser"]

log = logging.getLogger(__name__)

MOST_PAIRS = 20
"""The most further pairs of one step."""


class Chooser:
    """Makes the choices of one recipe run.

    Args:
        ledger: Where choices are committed.
        recipe: The recipe.
        base: The base of every step's request key.
        orders: Where further pairs are ordered and people are asked.
        answers: Answers given beforehand, by path.
    """

    def __init__(
        self, ledger: Ledger, recipe: Recipe, base: str, orders: Orders, answers: Mapping[str, Answer]
    ) -> None:
        self._ledger = ledger
        self._recipe = recipe
        self._base = base
        self._orders = orders
        self._answers = answers

    async def choose(self, place: Place) -> list[Branch]:
        """The branches that continue from a place, by its committed choice or a new one.

        Raises:
            InputError: an answer contradicts the committed choice, or names a take that cannot be continued from.
            ChoiceNeeded: a person has to choose, and nobody can be waited for.
            SongflowError: no take can be continued from, or a further pair could not be made.
        """
        choice = await self._ledger.choices.get(place.key)
        answer = self._answers.get(place.branch.path)
        if choice is None:
            chosen, by = await self._decide(place, answer)
            made = await takes_of(self._ledger, place.key)
            with paid_from_here(made[0][1]):
                ids = [take.song.song_id or "" for take in chosen]
                choice = await self._ledger.choices.choose(place.key, ids, by)
            log.info("Continuing %s with %s (%s).", place.branch.path, _named(chosen), choice.chosen_by)
        takes = await self._takes(place)
        _refuse_other(place, choice, answer, takes)
        return place.branch.chosen(place.step, [take.song for take in takes], choice.song_ids)

    async def _decide(self, place: Place, answer: Answer | None) -> tuple[list[Take], str]:
        """The takes to continue from, and who decided."""
        # Further pairs that an earlier run has begun are collected first.
        trouble = await self._make_pairs(place, await self._pairs(place))
        if answer is not None and answer.take is None:
            trouble = await self._make_pairs(place, answer.pairs) or trouble
            answer = None
            if trouble is not None:
                raise trouble
        while True:
            takes = await self._takes(place)
            if answer is None:
                takes = await self._with_better(place, takes)
            if answer is None and place.step.take.rule is not Rule.ASK:
                return self._by_rule(place, takes), str(place.step.take)
            if answer is None:
                question = self._question(place, takes, await self._pairs(place), trouble)
                answer = await self._orders.ask(question)
            if answer.take is None:
                pairs = await self._pairs(place)
                trouble = await self._make_pairs(place, min(pairs + 1, MOST_PAIRS))
                answer = None
                continue
            found = next((take for take in takes if take.number == answer.take), None)
            if found is not None and found.stored:
                return [found], answer.by
            raise _unusable_take_error(place, answer, found)

    async def _with_better(self, place: Place, takes: list[Take]) -> list[Take]:
        """The takes, with further pairs as long as a review discards all of them and may have more made."""
        most = 0 if place.step.review is None else place.step.review.again
        for _ in range(most):
            pairs = await self._pairs(place)
            if pairs >= most or any(take.good for take in takes) or not any(take.discarded for take in takes):
                break
            trouble = await self._make_pairs(place, pairs + 1)
            if trouble is not None:
                raise trouble
            takes = await self._takes(place)
        return takes

    def _by_rule(self, place: Place, takes: Sequence[Take]) -> list[Take]:
        try:
            return picked(place.step.take, takes, stop_at_failed=place.step.stop_at_failed)
        except NoTake as none:
            raise _no_take_error(place, takes, none.take) from None

    def _question(
        self, place: Place, takes: Sequence[Take], pairs: int, trouble: SongflowError | None
    ) -> Question:
        good = tuple(take for take in takes if take.good)
        if not good:
            raise _no_take_error(place, takes, None)
        [fallback] = picked(self._recipe.ask_default, good, stop_at_failed=False)
        another = self._orders.accounts[0].price_of(place.step.request)
        return Question(
            base=self._base,
            path=place.branch.path,
            takes=good,
            fallback=fallback,
            timeout=self._recipe.ask_timeout,
            another=another if pairs < MOST_PAIRS else None,
            pairs=pairs,
            trouble=trouble,
        )

    async def _takes(self, place: Place) -> list[Take]:
        made = await takes_of(self._ledger, place.key)
        songs = [song for _, _, songs in made for song in songs]
        review, measure = place.step.review, place.step.take.measure
        measures = await measured_songs(
            self._ledger, songs, measure=review is not None or measure in MEASURED
        )
        out = set() if review is None else await discarded(self._ledger, review, songs, measures)
        return [
            Take(number, song, measures.get(song.id), song.id in out)
            for number, song in enumerate(songs, start=1)
        ]

    async def _pairs(self, place: Place) -> int:
        """The number of further pairs; one that was refused or never sent does not count."""
        made = await takes_of(self._ledger, place.key)
        return sum(submission.billed != Billed.NO for _, submission, _ in made[1:])

    async def _make_pairs(self, place: Place, number: int) -> SongflowError | None:
        """Make so many further pairs, each under its own key; returns why the last one could not be made."""
        trouble: SongflowError | None = None
        for pair in range(1, number + 1):
            key = again_key(place.key, pair)
            if await self._has_ended(key):
                continue
            try:
                await self._orders.make(place, key, again=True)
                trouble = None
            except SongflowError as error:
                trouble = error
        return trouble

    async def _has_ended(self, key: str) -> bool:
        """True if a further pair is stored or has failed: it is not made again."""
        made = leading_submission(await self._ledger.submissions.of_key(key))
        if made is not None and made.state is State.FAILED:
            return True
        songs = await self._ledger.songs.of_key(key)
        return bool(songs) and all(song.state is not SongState.ANNOUNCED for song in songs)


def _named(takes: Sequence[Take]) -> str:
    return ", ".join(f"take {take.number}" for take in takes)


def _refuse_other(place: Place, choice: Choice, answer: Answer | None, takes: Sequence[Take]) -> None:
    """Refuse an answer other than the committed choice, whose next step may be paid for already."""
    if answer is None or answer.take is None:
        return
    chosen = [take.number for take in takes if take.song.song_id in choice.song_ids]
    if answer.take not in chosen:
        raise InputError(
            f"{place.branch.path} continues with take {', '.join(map(str, chosen))} since "
            f"{choice.chosen_at:%Y-%m-%d %H:%M} UTC ({choice.chosen_by}), and not with take {answer.take}.",
            key=place.key,
            next="leave that choice out; for another song use another key.",
        )


def _unusable_take_error(place: Place, answer: Answer, take: Take | None) -> InputError:
    why = "there is none" if take is None else take.reason
    return InputError(
        f"{place.branch.path} cannot continue with take {answer.take}: {why}.",
        key=place.key,
        billed="yes",
        next="choose another take; what was made is kept, and the same key continues from here.",
    )


def _no_take_error(place: Place, takes: Sequence[Take], failed: Take | None) -> SongflowError:
    """Why a step has nothing to continue from: the take that the recipe stops at, or all takes."""
    bad = [failed] if failed is not None else list(takes)
    reasons = "; ".join(f"take {take.number}: {take.reason}" for take in bad)
    why = (
        "the recipe stops there, and what was made is kept"
        if failed is not None
        else "none of its takes can be continued from"
    )
    waits = any(take.song.state is SongState.ANNOUNCED for take in bad)
    kind = NotCollected if waits else GenerationFailed
    other = next((take.number for take in takes if take.good), None)
    choose = f", or continue with the other: --choose {place.branch.path}={other}" if other else ""
    return kind(
        f"{place.branch.path}: {why} ({reasons}).",
        key=place.key,
        state="succeeded",
        billed="yes",
        next=f"run the same command with --key {place.branch.base}{choose}.",
    )
