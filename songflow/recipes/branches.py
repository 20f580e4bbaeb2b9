"""The place of a generation in a recipe's tree, and its request key.

    song-5f1c:core             the core
    song-5f1c:outro.2          the step `outro` of the second take of a step above it whose takes are all extended
    song-5f1c:intro.again1     another pair of takes for `intro`, asked for by a person

A key depends on the recipe and on take numbers only, so that a later run finds the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from songflow.ledger.rows import Song
from songflow.recipes.model import Step

__all__ = ["Branch", "again_key"]


def again_key(key: str, number: int) -> str:
    """The request key of a step's further pair of takes, counted from 1."""
    return f"{key}.again{number}"


@dataclass(frozen=True, slots=True)
class Branch:
    """A place in the tree: the base key, the step there, the song it extends, and the takes at splits above it."""

    base: str
    step: str = ""
    song_id: str | None = None
    takes: tuple[int, ...] = ()

    @classmethod
    def root(cls, base: str) -> Self:
        """The place of the core."""
        return cls(base)

    @property
    def path(self) -> str:
        """The step and the takes above it, as in `outro.2`."""
        return ".".join([self.step, *map(str, self.takes)])

    @property
    def key(self) -> str:
        """The request key of the generation here."""
        return f"{self.base}:{self.path}"

    def below(self, step: Step) -> Self:
        """The place of a step that continues from here, with the same song and takes."""
        return replace(self, step=step.name)

    def chosen(self, step: Step, songs: Sequence[Song], chosen: Sequence[str]) -> list[Self]:
        """The branches that continue from here with the chosen songs."""
        if not step.splits:
            return [replace(self, song_id=song_id) for song_id in chosen[:1]]
        numbers = {song.song_id: number for number, song in reversed(list(enumerate(songs, start=1)))}
        return [
            replace(self, song_id=song_id, takes=(*self.takes, numbers[song_id]))
            for song_id in chosen
            if song_id in numbers
        ]
