"""Output of `songflow song`: the recipes, a plan, a take to choose, and the tree of steps made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.output import SIMULATED, Output, cost_text
from songflow.recipes.plan import Plan
from songflow.recipes.results import Piece, WholeSong
from songflow.recipes.shelf import described_recipe, shipped_names
from songflow.settings import amount, number_text, range_text

__all__ = ["show_plan", "show_shelf", "show_song", "told_take"]


def show_shelf(output: Output) -> None:
    """The recipes that come with Songflow, with their variables."""
    recipes = [described_recipe(name) for name in shipped_names()]
    if output.as_json:
        output.object({"recipes": recipes})
        return
    for recipe in recipes:
        output.line(f"{recipe['name']}: {recipe['description']}")
        for name, default in recipe["variables"].items():
            value = "required" if default is None else f"default {default!r}"
            output.line(f"    --set {name}=...  ({value})")


def show_plan(output: Output, plan: Plan, unit: str, *, simulated: bool = False) -> None:
    """What a recipe takes and costs, in `unit`."""
    if output.as_json:
        output.object(plan.as_dict())
        return
    for step in plan.steps:
        place = "a place of the model's choice" if step.at is None else f"{step.at:g}"
        source = f"{step.mode} of {step.source} at {place}" if step.source else "the core"
        output.line(
            f"{step.step}: {source}, {step.model_type}, {range_text(step.posts_min, step.posts_max)} x "
            f"{amount(step.price_each, unit)}, then {step.take}"
        )
    budget = "no budget" if plan.budget is None else f"budget {number_text(plan.budget)}"
    billed = f" ({SIMULATED})" if simulated else ""
    before = f", {plan.existing} of them paid for already" if plan.existing else ""
    output.line(
        f"{plan.recipe}: {range_text(plan.posts_min, plan.posts_max)} generations{before}, "
        f"{range_text(plan.price_min, plan.price_max)} {unit} ({budget}), about {plan.seconds:.0f} s{billed}."
    )
    if plan.asks:
        output.line(f"A person chooses at {', '.join(plan.asks)}.")


def show_song(output: Output, whole: WholeSong, unit: str) -> None:
    """The whole songs, after the tree of steps made."""
    if output.as_json:
        output.object(whole.as_dict())
        return
    for piece in whole.steps:
        _show_piece(output, piece)
    output.songs(whole.songs)
    output.line(
        f"key {whole.key}, {len(whole.steps)} generations, "
        f"{cost_text(whole.price, unit, whole.billed, whole.simulated)}"
    )


def told_take(take: Mapping[str, Any]) -> str:
    """One take that can be chosen, as `Take.as_dict` gives it, on one line."""
    facts = [
        f"{take[name]:{form}} {unit}".strip()
        for name, form, unit in (
            ("seconds", ".1f", "s"),
            ("rms_db", ".1f", "dBFS"),
            ("source_score", ".2f", "holds its source"),
        )
        if name in take
    ]
    where = take["path"] or take["song_url"] or ""
    return f"  {take['take']}  {take['title'] or take['song_id']} ({', '.join(facts)})  {where}"


def _show_piece(output: Output, piece: Piece) -> None:
    for number, song in enumerate(piece.songs, start=1):
        mark = ">" if song.song_id in piece.chosen else " "
        length = f"{song.duration:.1f} s" if song.duration else "no length"
        note = f"  {song.error}" if song.error else ""
        output.line(f"{mark} {piece.path} {number}: {song.title or song.song_id} ({length}){note}")
    if not piece.songs:
        output.line(f"- {piece.path}: {piece.state}")
