"""Lyrics as a family of their own: a gateway writes the words of a song from a prompt, and makes no music.

It is a generation like any other, whose takes are texts: they are complete with the gateway's report, and nothing is
downloaded. A model is the name of what a gateway calls generating lyrics, and of its price.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, Strict

from songflow.families.family import Family, Mode, Model, Product, Request
from songflow.families.field_types import FieldKind, NotBlank, one_of

__all__ = ["LYRICS", "MODELS", "LyricsRequest"]

# The open relay's default prices are 0.1 for `suno_music` and 0.01 for `suno_lyrics` (`defaultModelPrice` in its
# source). No other price is published: the same share of a song is assumed.
_PRICE = 0.1
MODELS: Mapping[str, Model] = {
    "suno-lyrics": Model(seconds=0.0, price=_PRICE),
    "udio-lyrics": Model(seconds=0.0, price=_PRICE),
}
ENVELOPE: Final = "lyrics"
_SENT_FIELDS = ("prompt", "model_type")


class LyricsRequest(Request):
    """The words of one song, from a prompt."""

    allowed_values: ClassVar[Mapping[str, str]] = {
        "prompt": "allowed is a text that is not blank, in valid Unicode",
        "model_type": f"allowed are {', '.join(MODELS)}",
        "mode": "allowed is regular",
    }

    prompt: NotBlank = Field(description="What the words are about.")
    model_type: Annotated[str, Strict(), one_of(*MODELS)] = Field(
        "suno-lyrics", description="Whose generator of lyrics is asked: that of the gateway."
    )
    mode: Literal[Mode.REGULAR] = Field(Mode.REGULAR, description="Always 'regular': nothing is extended.")
    source_song_id: None = Field(None, description="Always empty: nothing is extended.")

    @property
    def model(self) -> Model:
        """The default price; no music is made."""
        return MODELS[self.model_type]

    @property
    def is_random(self) -> bool:
        """Always true: the same prompt makes other words."""
        return True

    @property
    def texts(self) -> tuple[str, ...]:
        """The prompt."""
        return (self.prompt,)

    def body(self) -> dict[str, Any]:
        """The canonical body."""
        return {ENVELOPE: {name: getattr(self, name) for name in _SENT_FIELDS}}

    @classmethod
    def fields_of(cls, body: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that a canonical body was made from."""
        return dict(body[ENVELOPE])


LYRICS = Family(
    name="lyrics",
    request=LyricsRequest,
    envelope=ENVELOPE,
    field_kinds={
        **dict.fromkeys(("prompt", "source_song_id"), FieldKind.TEXT),
        **dict.fromkeys(("model_type", "mode"), FieldKind.CHOICE),
    },
    compared_fields=(),
    models=MODELS,
    hashed_fields={1: _SENT_FIELDS},
    makes=Product.LYRICS,
)
