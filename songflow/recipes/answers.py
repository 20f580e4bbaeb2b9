"""Questions to a person and their answers: the take to continue from, or another pair of takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from songflow.errors import ChoiceNeeded, InputError, SongflowError
from songflow.recipes.model import Recipe
from songflow.recipes.takes import Take
from songflow.settings import amount

__all__ = ["Answer", "Question", "described", "given_answers", "nobody_here"]

_ANSWER = re.compile(r"(?P<take>[1-9][0-9]{0,3})|again(?P<pairs>[1-9]|1[0-9]|20)?")


@dataclass(frozen=True, slots=True)
class Question:
    """Which take should the next steps continue from?

    Attributes:
        base: The base of the recipe's request keys.
        path: The step's place in the tree.
        takes: The takes to choose from.
        fallback: The recipe's choice if nobody answers within `timeout` seconds.
        another: The price of a further pair of takes (None: there are enough).
        pairs: Further pairs made so far.
        trouble: Why the last answer could not be carried out.
    """

    base: str
    path: str
    takes: tuple[Take, ...]
    fallback: Take
    timeout: float
    another: float | None
    pairs: int = 0
    trouble: SongflowError | None = None

    @property
    def key(self) -> str:
        """The step's request key."""
        return f"{self.base}:{self.path}"

    @property
    def again(self) -> str:
        """The text of the answer that asks for one more pair."""
        return f"again{self.pairs + 1}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A take's number, or None for further pairs: `pairs` is then their number in all."""

    take: int | None
    by: str
    pairs: int = 1


def given_answers(
    recipe: Recipe, choices: Mapping[str, str], by: str = "given beforehand"
) -> dict[str, Answer]:
    """Parse answers given as text: `{"core": "2", "outro.1": "again"}`.

    `again` asks for one further pair, `again2` for two in all: the same command, given twice, pays once.

    Raises:
        InputError: names each answer that is not valid; nothing was sent.
    """
    answers: dict[str, Answer] = {}
    faults: list[str] = []
    for path, text in choices.items():
        name, *takes = path.split(".")
        step = recipe.step(name)
        found = _ANSWER.fullmatch(str(text))
        if step is None or not all(take.isdecimal() for take in takes):
            there = ", ".join(one.name for one in recipe.steps)
            faults.append(f"{path} is not a step of {recipe.name} (there are: {there})")
        elif len(takes) != recipe.branching(step):
            splits = recipe.branching(step)
            faults.append(
                f"{path} must name {splits or 'no'} take{'s' if splits != 1 else ''} after the step's name, "
                "one for each step above it whose every take is extended"
            )
        elif found is None:
            faults.append(f"{path} is {text!r}: allowed are a take's number, again, and again2 to again20")
        else:
            take = int(found["take"]) if found["take"] else None
            answers[path] = Answer(take, by, int(found["pairs"] or 1))
    if faults:
        raise InputError(
            f"Some choices are not valid: {'; '.join(faults)}.", next="correct it; nothing was sent."
        )
    return answers


def nobody_here(question: Question) -> ChoiceNeeded:
    """The error of a choice that nobody is present to make; finished songs are kept."""
    path, takes = question.path, question.takes
    more = ""
    if question.another is not None:
        more = f", or {path}={question.again} for another pair ({amount(question.another)})"
    return ChoiceNeeded(
        f"{path} waits for a choice: {'; '.join(described(take) for take in takes)}.",
        step=path,
        takes=tuple(take.as_dict() for take in takes),
        another=question.another,
        again=question.again,
        key=question.base,
        state="succeeded",
        next=f"listen, then run the same command with --key {question.base} --choose {path}={takes[0].number}"
        f"{more}; nothing is paid for twice.",
    )


def described(take: Take) -> str:
    """One take on one line, for display."""
    song = take.song
    facts = [f"{song.seconds:.1f} s"] if song.seconds is not None else []
    facts += [f"{song.rms_db:.1f} dBFS"] if song.rms_db is not None else []
    facts += [f"holds its source: {song.source_score:.2f}"] if song.source_score is not None else []
    return f"{take.number} '{song.title or song.song_id}' ({', '.join(facts) or 'not measured'}) {song.path}"
