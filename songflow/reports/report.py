"""A whole report: made from the manifest alone, as often as wanted, and written as files that need nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from songflow.audio.features import Measures
from songflow.errors import InputError
from songflow.reports.effects import Effect, effect_of
from songflow.reports.facts import OUTCOMES, Outcome, VariedField, facts_of, varied_fields

if TYPE_CHECKING:
    import pandas

__all__ = ["Picture", "Report", "make_report", "write_report"]

HTML_NAME, TABLE_NAME = "report.html", "songs.csv"
_MOST_PAIRED = 3
_MOST_EFFECT_PICTURES = 16


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG: a name for its file, and what it shows."""

    name: str
    title: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """What was found.

    Attributes:
        facts: The manifest's rows with the outcomes as columns (`songflow.reports.facts`).
        fields: What varied.
        outcomes: Those that are not the same everywhere.
        same: Those that are, with their value.
        effects: Of each field on each outcome, the strongest first.
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
        """How many generations it rests on."""
        return int(self.facts["key"].nunique())

    @property
    def songs(self) -> int:
        """How many stored songs it rests on."""
        return int(self.facts["path"].notna().sum())


def make_report(
    frame: pandas.DataFrame,
    title: str,
    *,
    measures: Mapping[str, Measures] | None = None,
    fields: Sequence[str] | None = None,
) -> Report:
    """Everything that can be said of the manifest's rows; nothing is read but the arguments.

    Args:
        measures: Of the files, by sha256 (`songflow.audio.features.measure_songs`).
        fields: Wire names of the fields to look at (None: those that varied).

    Raises:
        InputError: there are no rows, or a name is no field.
    """
    if frame.empty:
        raise InputError(
            "There is nothing to report on: no generation is chosen.", next="choose others, or make some."
        )
    facts = facts_of(frame, measures)
    varied = varied_fields(facts, fields)
    known = [outcome for outcome in OUTCOMES if facts[outcome.name].notna().any()]
    outcomes = tuple(outcome for outcome in known if facts[outcome.name].nunique() > 1)
    same = tuple(
        (outcome, float(facts[outcome.name].dropna().iloc[0])) for outcome in known if outcome not in outcomes
    )
    effects = _effects(facts, varied, outcomes)
    return Report(
        title, facts, varied, outcomes, same, effects, tuple(_pictures(facts, varied, outcomes, effects))
    )


def _effects(
    facts: pandas.DataFrame, fields: Sequence[VariedField], outcomes: Sequence[Outcome]
) -> tuple[Effect, ...]:
    found = (effect_of(facts, field, outcome) for field, outcome in itertools.product(fields, outcomes))
    return tuple(
        sorted((effect for effect in found if effect is not None), key=lambda one: -(one.strength or 0.0))
    )


def _pictures(
    facts: pandas.DataFrame,
    fields: Sequence[VariedField],
    outcomes: Sequence[Outcome],
    effects: Sequence[Effect],
) -> list[Picture]:
    """One for each field, one for each pair of the fields that matter most, and one of everything."""
    # matplotlib takes half a second to load: only those who draw pay.
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
            pictures.append(Picture(f"effect-{field.name}", f"What goes with {field.name}", data))
    strongest = list(dict.fromkeys(effect.field for effect in effects))[:_MOST_PAIRED]
    for down, across in itertools.combinations(strongest, 2):
        data = draw_heat_map(facts, across, down, outcomes)
        pictures.append(Picture(f"heat-{down.name}-{across.name}", f"{down.name} and {across.name}", data))
    data = draw_parallel(facts, fields, outcomes, outcomes[0])
    return [*pictures, Picture("parallel", "All of it, song by song", data)]


def write_report(report: Report, folder: Path) -> Path:
    """Write `report.html`, `songs.csv` and `plots/*.png` into a folder; what returns is the page.

    Those of an earlier report in the same folder are replaced.

    Raises:
        InputError: the folder cannot be written.
    """
    from songflow.reports.page import render_page

    plots = folder / "plots"
    try:
        plots.mkdir(parents=True, exist_ok=True)
        for old in (*plots.glob("effect-*.png"), *plots.glob("heat-*.png"), *plots.glob("parallel.png")):
            old.unlink()
        for picture in report.pictures:
            (plots / f"{picture.name}.png").write_bytes(picture.data)
        report.facts.to_csv(folder / TABLE_NAME, index=False)
        page = folder / HTML_NAME
        page.write_text(render_page(report, folder), encoding="utf-8", newline="\n")
    except OSError as error:
        raise InputError(
            f"The report cannot be written to {folder}: {error.strerror or error}.",
            next="choose another --output.",
        ) from None
    return page
