"""Lyrics from a gateway: which request asks for them, and what comes back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from songflow.accounts import Access
from songflow.families.family import Product, Request
from songflow.families.registry import lyrics_request, makes, models_without_songs
from songflow.generation.results import GenerationResult

__all__ = ["Lyrics", "LyricsResult", "request_for"]


@dataclass(frozen=True, slots=True)
class Lyrics:
    """The words of one song. `text_id` is the gateway's id, if it gave one."""

    text_id: str | None
    title: str | None
    text: str


@dataclass(frozen=True, slots=True)
class LyricsResult:
    """Lyrics that were paid for: usually one text, several where a gateway offers a choice.

    `billed` is "no", "maybe" or "yes"; `price` is in the account's units, for all texts together. `simulated`: a
    simulator wrote them, which bills nothing.
    """

    key: str
    generation_id: str | None
    state: str
    billed: str
    price: float
    lyrics: tuple[Lyrics, ...]
    simulated: bool = False

    @classmethod
    def of(cls, made: GenerationResult) -> LyricsResult:
        """The lyrics in the result of a generation."""
        return cls(
            made.key,
            made.generation_id,
            made.state,
            made.billed,
            made.price,
            tuple(Lyrics(one.song_id, one.title, one.text) for one in made.songs if one.text is not None),
            made.simulated,
        )

    @property
    def text(self) -> str:
        """The words of the first of them."""
        return self.lyrics[0].text

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {name: value for name, value in asdict(self).items() if name != "simulated"}


def request_for(prompt: str, access: Access, model_type: str | None = None) -> Request:
    """The request for lyrics at a gateway.

    Args:
        prompt: What they are about.
        access: The account that pays.
        model_type: Whose generator is asked (None: the one that the gateway has, else the first).

    Raises:
        InvalidRequest: the prompt is blank, or there is no such model.
    """
    if model_type is None:
        writers = (name for name in models_without_songs() if makes(name) is Product.LYRICS)
        model_type = next((name for name in writers if access.sells_model(name)), None)
    return lyrics_request(prompt, model_type)
