"""The joins of Suno: a gateway makes the whole song of an extension that is only its new part.

It is a generation like any other, with a request, a price and one take, and no song that people ask for: the whole song
belongs to the new part's own row. No page names a price, and Suno itself takes none, so the default is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from songflow.families.family import Family, Mode, Model, Product, Request
from songflow.families.field_types import FieldKind, NotBlank

__all__ = ["SUNO_JOIN", "JoinRequest"]

NAME: Final = "suno-join"
ENVELOPE: Final = "suno_join"
MODELS: Mapping[str, Model] = {NAME: Model(seconds=480.0, price=0.0)}
_SENT_FIELDS = ("source_song_id", "model_type")


class JoinRequest(Request):
    """The whole song of one extension, which is named by the id of its new part."""

    allowed_values: ClassVar[Mapping[str, str]] = {
        "source_song_id": "allowed is a text that is not blank, in valid Unicode"
    }

    prompt: Literal["the whole song"] = Field("the whole song", description="Its name; not sent.")
    source_song_id: NotBlank = Field(description="The gateway's id of the new part.")
    model_type: Literal["suno-join"] = Field(NAME, description="The name of its price.")
    mode: Literal[Mode.CONTINUATION] = Field(
        Mode.CONTINUATION, description="It holds the new part at its end."
    )

    @property
    def model(self) -> Model:
        """The length of the longest song, and the default price."""
        return MODELS[self.model_type]

    @property
    def is_random(self) -> bool:
        """False: it is the same whole song again."""
        return False

    @property
    def texts(self) -> tuple[str, ...]:
        """None."""
        return ()

    def body(self) -> dict[str, Any]:
        """The canonical body."""
        return {ENVELOPE: {name: getattr(self, name) for name in _SENT_FIELDS}}

    @classmethod
    def fields_of(cls, body: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a canonical body."""
        return dict(body[ENVELOPE])


SUNO_JOIN = Family(
    name=NAME,
    request=JoinRequest,
    envelope=ENVELOPE,
    field_kinds={
        **dict.fromkeys(("prompt", "source_song_id"), FieldKind.TEXT),
        **dict.fromkeys(("model_type", "mode"), FieldKind.CHOICE),
    },
    compared_fields=(),
    models=MODELS,
    hashed_fields={1: _SENT_FIELDS},
    makes=Product.WHOLE_SONG,
)
