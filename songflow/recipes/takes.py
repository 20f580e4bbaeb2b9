"""Select the takes that the next step continues from, by the step's rule; pure and repeatable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from songflow.audio.measures import Measures
from songflow.ledger.rows import Song
from songflow.ledger.states import SongState
from songflow.library.review import MEASURES
from songflow.recipes.model import Rule, TakeRule

__all__ = ["NoTake", "Take", "picked"]


class NoTake(Exception):
    """A rule finds no take to continue from; `take` is the failed one that it stops at, if it does."""

    def __init__(self, take: Take | None) -> None:
        super().__init__()
        self.take = take


@dataclass(frozen=True, slots=True)
class Take:
    """One take of a step, numbered from 1 over all its pairs; nothing continues from one that is discarded."""

    number: int
    song: Song
    measures: Measures | None = None
    discarded: bool = False

    @property
    def stored(self) -> bool:
        """True if it is stored and can be extended, for which the gateway needs its id."""
        return self.song.state is SongState.STORED and bool((self.song.song_id or "").strip())

    @property
    def good(self) -> bool:
        """True if a rule may continue from it; a person may also continue from one that is discarded."""
        return self.stored and not self.discarded

    @property
    def reason(self) -> str:
        """Why nothing can continue from it, if so."""
        return "discarded" if self.discarded else self.song.error or "not stored yet"

    def value(self, measure: str) -> Any:
        """Its value of one of `MEASURES`; None if it has none."""
        return getattr(self.song, measure, getattr(self.measures, measure, None))

    def as_dict(self) -> dict[str, Any]:
        """The facts that a person needs to choose, as plain data."""
        song = self.song
        measures = {name: self.value(name) for name in MEASURES}
        return {
            "take": self.number,
            "song_id": song.song_id,
            "title": song.title,
            **{name: value for name, value in measures.items() if value is not None},
            "path": song.path,
            "song_url": song.song_url,
        }


def picked(rule: TakeRule, takes: Sequence[Take], *, stop_at_failed: bool) -> list[Take]:
    """The stored takes that a rule selects.

    Args:
        rule: Any but `ask`.
        takes: Every take, failed ones too.
        stop_at_failed: Stop if the take that the rule selects has failed; else take the next best.

    Raises:
        NoTake: there is no take to continue from.
    """
    ranked = sorted(takes, key=lambda take: _rank(rule, take))
    wanted = ranked if rule.rule is Rule.ALL else ranked[:1]
    if stop_at_failed:
        failed = next((take for take in wanted if not take.good), None)
        if failed is not None:
            raise NoTake(failed)
    good = [take for take in ranked if take.good]
    if not good:
        raise NoTake(None)
    return _distinct(good) if rule.rule is Rule.ALL else good[:1]


def _distinct(takes: Sequence[Take]) -> list[Take]:
    """One take for each song id: two takes with one id would be extended as the same song, twice."""
    return list({take.song.song_id: take for take in reversed(takes)}.values())[::-1]


def _rank(rule: TakeRule, take: Take) -> tuple[bool, float, int]:
    """A sort key: takes without the measure last, and the earlier of two equal ones first."""
    value: float | None
    match rule.rule:
        case Rule.LONGEST:
            song = take.song
            value = song.seconds if song.seconds is not None else song.announced_seconds
        case Rule.BEST:
            value = take.value(rule.measure or "")
        case _:
            return (False, 0.0, take.number)
    if value is None:
        return (True, 0.0, take.number)
    return (False, value if rule.lowest else -value, take.number)
