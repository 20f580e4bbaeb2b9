"""The messages of final states: what a run has made and what it cost, in a few words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from songflow.documents.text import counted
from songflow.generation.lyrics import LyricsResult
from songflow.generation.rescue import Rescued
from songflow.generation.results import GenerationResult
from songflow.recipes.results import WholeSong
from songflow.settings import amount
from songflow.sweeps.tally import SweepResult

__all__ = ["made", "made_whole", "rescued", "swept", "written"]


def made(result: GenerationResult, unit: str) -> str:
    """Of a generation: "2 songs, 1 unit"."""
    lost = len(result.songs) - len(result.stored)
    more = f" ({lost} not stored)" if lost else ""
    return f"{counted(len(result.stored), 'song')}{more}, {_cost(result, unit)}"


def made_whole(whole: WholeSong, unit: str) -> str:
    """Of a recipe: "1 whole song in 3 generations, 3 units"."""
    songs, steps = counted(len(whole.stored), "whole song"), counted(len(whole.steps), "generation")
    return f"{songs} in {steps}, {_cost(whole, unit)}"


def written(result: LyricsResult, unit: str) -> str:
    """Of lyrics: "1 text, 0.1 units"."""
    return f"{counted(len(result.lyrics), 'text')}, {_cost(result, unit)}"


def swept(result: SweepResult, unit: str) -> str:
    """Of a sweep: its counts."""
    return result.summary(unit)


def rescued(found: Sequence[Rescued], _unit: str) -> str:
    """Of a rescue: what it has collected, and what needs a person."""
    if not found:
        return "nothing to collect"
    collected = [one for one in found if one.error is None]
    songs = sum(song.path is not None for one in collected for song in one.songs)
    left = Counter(str(one.state) for one in found if one.error is not None)
    others = ", ".join(f"{number} {state}" for state, number in sorted(left.items()))
    return f"{counted(songs, 'song')} of {counted(len(collected), 'generation')} collected" + (
        f"; left: {others}" if others else ""
    )


def _cost(result: GenerationResult | LyricsResult | WholeSong, unit: str) -> str:
    cost = amount(result.price, unit)
    return f"{cost} (simulated: nothing is billed)" if result.simulated else cost
