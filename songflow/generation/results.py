"""The result of a generation: its state, its price and its songs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from songflow.ledger.rows import Song, Submission
from songflow.ledger.states import SongState

__all__ = ["GenerationResult", "SongResult"]


@dataclass(frozen=True, slots=True)
class SongResult:
    """One take.

    Attributes:
        song_id: The gateway's id.
        duration: Seconds as decoded, else as announced.
        path: Absolute on a local store, a URL on a remote one, None if the take is not stored.
        sha256: Of the file as stored.
        error: Why it is not stored.
    """

    song_id: str | None
    title: str | None
    duration: float | None
    path: str | None
    sha256: str | None
    error: str | None

    @classmethod
    def of(cls, song: Song) -> SongResult:
        """The result of a ledger row."""
        error = None if song.state is SongState.STORED else song.error or "not collected yet"
        duration = song.seconds if song.seconds is not None else song.announced_seconds
        return cls(song.song_id, song.title, duration, song.path, song.sha256, error)


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
    def of(cls, submission: Submission, songs: Sequence[Song]) -> GenerationResult:
        """The result of ledger rows."""
        return cls(
            key=submission.key,
            generation_id=submission.any_id,
            state=str(submission.state),
            billed=submission.billed,
            price=submission.price,
            songs=tuple(SongResult.of(song) for song in songs),
        )

    @property
    def stored(self) -> tuple[SongResult, ...]:
        """The takes that are stored."""
        return tuple(song for song in self.songs if song.path is not None)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)
