"""The result of a recipe, read from the ledger: its tree of generations, and the whole songs at its ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from songflow.generation.results import SongResult, as_plain_data, origin_of
from songflow.ledger import Ledger
from songflow.ledger.queries import leading_submission
from songflow.ledger.rows import Song, Submission
from songflow.ledger.states import Billed
from songflow.notebooks.html import result_html
from songflow.recipes.branches import Branch, again_key
from songflow.recipes.model import Recipe
from songflow.settings import number_text

__all__ = ["Piece", "WholeSong", "read_whole_song", "takes_of"]

_BILLED = (Billed.NO, Billed.MAYBE, Billed.YES)


@dataclass(frozen=True, slots=True)
class Piece:
    """One generation of a recipe.

    Attributes:
        path: Its place in the tree.
        again: 0 for the first pair of takes, then the number of the further pair.
        source: The id of the song that it extends.
        key: Its request key.
        chosen: The ids of the songs that the recipe continues from.
        chosen_by: The rule or the person that chose.
    """

    path: str
    step: str
    again: int
    source: str | None
    key: str
    generation_id: str | None
    state: str
    billed: str
    price: float
    songs: tuple[SongResult, ...]
    chosen: tuple[str, ...]
    chosen_by: str | None


@dataclass(frozen=True, slots=True)
class WholeSong:
    """A recipe's result: `songs` are the whole songs, `steps` every generation, and `price` what all of them cost.

    `generation_id` and `state` are those of the last step. `finished` are the copies that the recipe's `finish` made.
    """

    key: str
    recipe: str
    generation_id: str | None
    state: str
    billed: str
    price: float
    songs: tuple[SongResult, ...]
    steps: tuple[Piece, ...]
    finished: tuple[str, ...] = ()

    @property
    def stored(self) -> tuple[SongResult, ...]:
        """The whole songs that are stored."""
        return tuple(song for song in self.songs if song.path is not None)

    @property
    def simulated(self) -> bool:
        """True if a simulator made it, which bills nothing."""
        songs = (song for songs in (self.songs, *(piece.songs for piece in self.steps)) for song in songs)
        return any(song.origin is not None and song.origin.simulated for song in songs)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return as_plain_data(self)

    def _repr_html_(self) -> str:
        """For notebooks: the whole songs with players, their last parameters, and what all steps cost."""
        facts = {"recipe": self.recipe, "key": self.key, "generations": str(len(self.steps))}
        return result_html(
            {**facts, "price of all": number_text(self.price), "state": self.state}, self.songs
        )


async def takes_of(ledger: Ledger, key: str) -> list[tuple[str, Submission, list[Song]]]:
    """Every generation of a step: its own, then the further pairs that a person asked for."""
    made: list[tuple[str, Submission, list[Song]]] = []
    number, at = 0, key
    while (current := leading_submission(await ledger.submissions.of_key(at))) is not None:
        made.append((at, current, await ledger.songs.of_key(at)))
        number += 1
        at = again_key(key, number)
    return made


async def read_whole_song(ledger: Ledger, recipe: Recipe, key: str, unit: str = "units") -> WholeSong:
    """Read what the ledger has of a recipe begun under a key, however far it came; `unit` is the library's."""
    branches: dict[str | None, list[Branch]] = {None: [Branch.root(key)]}
    pieces: list[Piece] = []
    ends: list[SongResult] = []
    leaves = {step.name for step in recipe.leaves()}
    for step in recipe.steps:
        branches[step.name] = []
        for branch in (source.below(step) for source in branches[step.source]):
            standing = await ledger.choices.get(branch.key)
            chosen = standing.song_ids if standing else ()
            made = await takes_of(ledger, branch.key)
            results: dict[str | None, SongResult] = {}
            for number, (at, submission, songs) in enumerate(made):
                generation = await ledger.submissions.generation(at)
                assert generation is not None, "a submission has a generation (foreign key)"
                origin = origin_of(generation.request, submission, unit)
                ids = tuple(song.song_id for song in songs if song.song_id in chosen and song.song_id)
                pieces.append(
                    Piece(
                        path=at.removeprefix(f"{key}:"),
                        step=step.name,
                        again=number,
                        source=branch.song_id,
                        key=at,
                        generation_id=submission.any_id,
                        state=str(submission.state),
                        billed=submission.billed,
                        price=submission.price,
                        songs=tuple(SongResult.of(song, origin) for song in songs),
                        chosen=ids,
                        chosen_by=standing.chosen_by if standing and ids else None,
                    )
                )
                for song in pieces[-1].songs:
                    results.setdefault(song.song_id, song)
            all_songs = [song for _, _, songs in made for song in songs]
            branches[step.name] += branch.chosen(step, all_songs, chosen)
            if step.name in leaves:
                ends += [results[song_id] for song_id in chosen]
    return _whole(recipe, key, pieces, ends)


def _whole(recipe: Recipe, key: str, pieces: Sequence[Piece], ends: Sequence[SongResult]) -> WholeSong:
    last = pieces[-1] if pieces else None
    return WholeSong(
        key=key,
        recipe=recipe.name,
        generation_id=last.generation_id if last else None,
        state=last.state if last else "none",
        billed=str(max((Billed(piece.billed) for piece in pieces), key=_BILLED.index, default=Billed.NO)),
        price=sum(piece.price for piece in pieces if piece.billed != Billed.NO),
        songs=tuple(ends),
        steps=tuple(pieces),
    )
