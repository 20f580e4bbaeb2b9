"""Analyse the manifest: the effect of each varied field on each outcome, with plots."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from songflow.errors import InputError
from songflow.reports.effects import Effect, effect_of
from songflow.reports.facts import OUTCOMES, Outcome, VariedField, facts_of, varied_fields

if TYPE_CHECKING:
    import pandas

__all__ = ["Picture", "Report", "make_report"]

_MOST_PAIRED = 3
_MOST_EFFECT_PICTURES = 16


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot as PNG data, with its file name (without suffix) and its title."""

    name: str
    title: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """The analysis of a set of generations.

    Attributes:
        facts: The manifest's rows with the outcomes as columns (`songflow.reports.facts`).
        fields: The request fields that varied, in the order of their first effect.
        outcomes: The outcomes that varied, in the order of `OUTCOMES`.
        same: The outcomes that were equal everywhere, with their value.
        effects: One per pair of field and outcome: on the rating first, on length and cost last, and among these the
            strongest first.
    """

    title: str
    facts: pandas.DataFrame
    fields: tuple[VariedField, ...]
    outcomes: tuple[Outcome, ...]
    same: tuple[tuple[Outcome, float], ...]
    effects: tuple[Effect, ...]
    pictures: tuple[Picture, ...]

    @property
    def generations(self) -> int:
        """The number of generations analysed."""
        return int(self.facts["key"].nunique())

    @property
    def songs(self) -> int:
        """The number of stored songs analysed."""
        return int(self.facts["path"].notna().sum())


def make_report(
    frame: pandas.DataFrame,
    title: str,
    *,
    fields: Sequence[str] | None = None,
) -> Report:
    """Analyse rows of the manifest. Reads no files and no ledger.

    Args:
        frame: Rows of the manifest (`songflow.catalog.manifest`).
        title: The report's heading.
        fields: Wire names of the fields to analyse; None selects those that varied.

    Raises:
        InputError: the frame has no rows, or a name is not a request field.
    """
    if frame.empty:
        raise InputError(
            "There is nothing to report on: no generation is selected.",
            next="select others, or make some songs first.",
        )
    facts = facts_of(frame)
    varied = varied_fields(facts, fields)
    known = [outcome for outcome in OUTCOMES if facts[outcome.name].notna().any()]
    outcomes = tuple(outcome for outcome in known if facts[outcome.name].nunique() > 1)
    same = tuple(
        (outcome, float(facts[outcome.name].dropna().iloc[0])) for outcome in known if outcome not in outcomes
    )
    effects = _effects(facts, varied, outcomes)
    found = list(dict.fromkeys(effect.field for effect in effects))
    varied = (*found, *(field for field in varied if field not in found))
    return Report(
        title, facts, varied, outcomes, same, effects, tuple(_pictures(facts, varied, outcomes, effects))
    )


def _effects(
    facts: pandas.DataFrame, fields: Sequence[VariedField], outcomes: Sequence[Outcome]
) -> tuple[Effect, ...]:
    found = (effect_of(facts, field, outcome) for field, outcome in itertools.product(fields, outcomes))
    return tuple(
        sorted(
            (effect for effect in found if effect is not None),
            key=lambda one: (one.outcome.rank, -(one.strength or 0.0)),
        )
    )


def _pictures(
    facts: pandas.DataFrame,
    fields: Sequence[VariedField],
    outcomes: Sequence[Outcome],
    effects: Sequence[Effect],
) -> list[Picture]:
    """One plot per field, one per pair of the strongest fields, and one with all fields and outcomes."""
    # matplotlib takes half a second to import, so only reports import it.
    from songflow.reports.effect_plots import draw_effects
    from songflow.reports.heat_maps import draw_heat_map
    from songflow.reports.parallel import draw_parallel

    pictures: list[Picture] = []
    if not fields or not outcomes:
        return pictures
    for field in fields[:_MOST_EFFECT_PICTURES]:
        own = {effect.outcome: effect for effect in effects if effect.field == field}
        if own:
            data = draw_effects(facts, field, [own[outcome] for outcome in outcomes if outcome in own])
            pictures.append(Picture(f"effect-{field.name}", f"Effects of {field.name}", data))
    for down, across in itertools.combinations(fields[:_MOST_PAIRED], 2):
        data = draw_heat_map(facts, across, down, outcomes)
        pictures.append(Picture(f"heat-{down.name}-{across.name}", f"{down.name} and {across.name}", data))
    data = draw_parallel(facts, fields, outcomes, outcomes[0])
    return [*pictures, Picture("parallel", "All fields and outcomes, song by song", data)]
