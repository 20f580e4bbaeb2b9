"""The result of a generation: its state, its price and its songs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from songflow.families.family import Request
from songflow.gateways import bills_nothing
from songflow.ledger.rows import Song, Submission
from songflow.ledger.states import Billed, SongState
from songflow.notebooks.html import Origin, result_html, song_html
from songflow.settings import amount

__all__ = ["GenerationResult", "SongResult", "as_plain_data", "origin_of"]

# A default model is worth naming: it decides length and price.
_ALWAYS_SHOWN = frozenset({"model", "model_type"})


@dataclass(frozen=True, slots=True)
class SongResult:
    """One take.

    Attributes:
        song_id: The gateway's id.
        duration: Seconds as decoded, else as announced.
        path: Absolute on a local store, a URL on a remote one, None if the take is not stored.
        sha256: Of the file as stored.
        error: Why it is not stored.
        whole_path: For an extension that is only the new part: the file in which it is joined with its source.
        joined_by: Who joined it: "local" (this machine) or "gateway".
        text: The words, of a take that is a text: it has no file.
        origin: Its request and cost, for its display in a notebook; not part of its data.
    """

    song_id: str | None
    title: str | None
    duration: float | None
    path: str | None
    sha256: str | None
    error: str | None
    whole_path: str | None = None
    joined_by: str | None = None
    text: str | None = None
    origin: Origin | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, song: Song, origin: Origin | None = None) -> SongResult:
        """The result of a ledger row."""
        error = None if song.state is SongState.STORED else song.error or "not collected yet"
        duration = song.seconds if song.seconds is not None else song.announced_seconds
        return cls(
            song.song_id,
            song.title,
            duration,
            song.path,
            song.sha256,
            error,
            song.whole_path,
            song.joined_by,
            song.lyrics if song.state is SongState.STORED and song.path is None else None,
            origin,
        )

    def _repr_html_(self) -> str:
        """For notebooks: a player, title, length, parameters and cost."""
        return song_html(self)


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """A generation that succeeded, with at least one song stored.

    `billed` is "no", "maybe" or "yes"; `price` is in the account's units.
    """

    key: str
    generation_id: str | None
    state: str
    billed: str
    price: float
    songs: tuple[SongResult, ...]

    @classmethod
    def of(
        cls, submission: Submission, songs: Sequence[Song], origin: Origin | None = None
    ) -> GenerationResult:
        """The result of ledger rows."""
        return cls(
            key=submission.key,
            generation_id=submission.any_id,
            state=str(submission.state),
            billed=submission.billed,
            price=submission.price,
            songs=tuple(SongResult.of(song, origin) for song in songs),
        )

    @property
    def stored(self) -> tuple[SongResult, ...]:
        """The takes that are stored."""
        return tuple(song for song in self.songs if song.error is None)

    @property
    def simulated(self) -> bool:
        """True if a simulator made it, which bills nothing."""
        return any(song.origin is not None and song.origin.simulated for song in self.songs)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return as_plain_data(self)

    def _repr_html_(self) -> str:
        """For notebooks: its takes with players, their parameters and the cost."""
        facts = {"key": self.key, "generation": self.generation_id, "state": self.state}
        return result_html(facts, self.songs)


def as_plain_data(result: Any) -> dict[str, Any]:
    """A result's fields by name, and those of the songs in it.

    What only serves their display is left out, and what is only there for a song that was joined, or for a text.
    """
    return asdict(
        result,
        dict_factory=lambda items: {
            name: value
            for name, value in items
            if name != "origin" and (value is not None or name not in ("whole_path", "joined_by", "text"))
        },
    )


def origin_of(request: Request, submission: Submission, unit: str) -> Origin:
    """The request and the cost of a submission's takes; `unit` is the library's."""
    given = request.model_dump(mode="json", exclude_defaults=True).keys() | _ALWAYS_SHOWN
    parameters = {name: value for name, value in request.model_dump(mode="json").items() if name in given}
    return Origin(parameters, _cost(submission, unit), simulated=bills_nothing(submission.gateway))


def _cost(submission: Submission, unit: str) -> str:
    price = amount(submission.price, unit)
    if bills_nothing(submission.gateway):
        return f"{price}, simulated: nothing is billed"
    return {Billed.NO: "not billed", Billed.MAYBE: f"{price}, perhaps billed"}.get(
        Billed(submission.billed), price
    )
