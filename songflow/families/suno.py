"""The Suno family: its request, its models with their limits, and its extensions.

The canonical body has the names of this request, and only the fields that say something: each gateway names them in
its own way (`songflow.gateways.relay_suno`). Models, limits and longest lengths are those of the table "Versions &
Features" on OpenAI-HK's page "Watermark-Free Suno Music Model"; CometAPI's page "Generate music clip" has the fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, Strict, model_validator

from songflow.families.extending import extending, with_mode
from songflow.families.family import (
    ExtensionResult,
    Family,
    Mode,
    Model,
    Request,
    check_rules,
    length_rules,
    plain_numbers,
)
from songflow.families.field_types import (
    LYRICS_FIELDS,
    FieldKind,
    LyricsType,
    NotBlank,
    Text,
    default_lyrics_type,
    lyrics_rules,
    one_of,
)
from songflow.families.suno_extensions import extension_fields
from songflow.families.suno_join import SUNO_JOIN

__all__ = ["LIMITS", "MODELS", "SUNO", "Limits", "SunoRequest"]

MODELS: Mapping[str, Model] = {
    "chirp-auk": Model(seconds=240.0, price=1.0),
    "chirp-auk-turbo": Model(seconds=240.0, price=1.0),
    "chirp-bluejay": Model(seconds=480.0, price=1.0),
    "chirp-crow": Model(seconds=480.0, price=1.0),
    "chirp-v4": Model(seconds=150.0, price=1.0),
    "chirp-v3-5": Model(seconds=120.0, price=1.0),
}
"""`seconds` is the longest length of a song; both songs of a request cost one price."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most characters that a model takes: of an idea or of lyrics, and of a style."""

    words: int
    style: int


_FORMER, _LATER = Limits(3000, 200), Limits(5000, 1000)
LIMITS: Mapping[str, Limits] = {
    name: _FORMER if name in ("chirp-v4", "chirp-v3-5") else _LATER for name in MODELS
}

ENVELOPE = "suno"
ModelName = Annotated[str, Strict(), one_of(*MODELS)]
_ALWAYS_SENT = ("prompt", "lyrics_type", "model_type")
_SENT_FIELDS = (
    "prompt",
    "lyrics",
    "lyrics_type",
    "title",
    "negative_prompt",
    "model_type",
    "continue_at",
    "source_song_id",
    "source_generation_id",
)
_REQUIRED_OF_SOURCE: Mapping[str, str] = {
    "source_song_id": "its id",
    "continue_at": "the second of it; on the command line --at",
}
# Only some gateways need it, and those say so (`songflow.gateways.relay_suno`).
_SOURCE = (*_REQUIRED_OF_SOURCE, "source_generation_id")
_TEXTS = ("prompt", "lyrics", "title", "negative_prompt", "source_song_id", "source_generation_id")
_ALLOWED: Mapping[str, str] = {
    **dict.fromkeys(("lyrics", "title", "negative_prompt"), "allowed is a text in valid Unicode"),
    **dict.fromkeys(
        ("prompt", "source_song_id", "source_generation_id"),
        "allowed is a text that is not blank, in valid Unicode",
    ),
    "model_type": f"allowed are {', '.join(MODELS)}",
    "lyrics_type": "allowed are user, instrumental, generate",
    "mode": "allowed are regular, continuation",
    "continue_at": "allowed is a number of seconds above 0",
}
_KINDS: Mapping[str, FieldKind] = {
    **dict.fromkeys(_TEXTS, FieldKind.TEXT),
    **dict.fromkeys(("lyrics_type", "model_type", "mode"), FieldKind.CHOICE),
    "continue_at": FieldKind.NUMBER,
}


class SunoRequest(Request):
    """One paid generation of Suno: two songs from an idea, or from words of one's own in a style.

    `continue_at` is in seconds of the source song. There is no seed: the same request makes other songs.
    """

    allowed_values: ClassVar[Mapping[str, str]] = _ALLOWED
    source_generation_field: ClassVar[str | None] = "source_generation_id"
    replaced_together: ClassVar[frozenset[str]] = LYRICS_FIELDS

    prompt: NotBlank = Field(description="What the song is like; with lyrics of your own, its style.")
    lyrics: Text = Field("", description="The words to sing; only with lyrics_type 'user'.")
    lyrics_type: LyricsType = Field(
        LyricsType.GENERATE,
        description="'user' sings `lyrics`, 'generate' invents words, 'instrumental' none.",
    )
    title: Text = Field("", description="The song's title; with lyrics of your own, or for an extension.")
    negative_prompt: Text = Field(
        "",
        description="What the song should not have; with lyrics of your own, or for an extension.",
    )
    model_type: ModelName = Field(
        "chirp-auk", description="The model; later ones make longer songs and take longer texts."
    )
    mode: Mode = Field(Mode.REGULAR, description="'regular', or 'continuation' of the source song.")
    continue_at: Annotated[float, Strict()] | None = Field(
        None, gt=0, allow_inf_nan=False, description="Where in the source song the new part begins (s)."
    )
    source_song_id: NotBlank | None = Field(None, description="The gateway's id of the song to extend.")
    source_generation_id: NotBlank | None = Field(
        None, description="The gateway's id of the generation that made the song to extend."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_dependent_defaults(cls, data: Any) -> Any:
        """Lyrics without a type mean 'user'."""
        if not isinstance(data, Mapping) or data.get("lyrics_type") is not None:
            return data
        return {**data, "lyrics_type": default_lyrics_type(data.get("lyrics"))}

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        check_rules((*_rules(self), *_limits(self)))
        return self

    @property
    def model(self) -> Model:
        """The published facts of the request's model."""
        return MODELS[self.model_type]

    @property
    def start(self) -> float | None:
        """Where the new part begins, in seconds of the source song."""
        return self.continue_at

    @property
    def is_random(self) -> bool:
        """Always true: there is no seed."""
        return True

    @property
    def texts(self) -> tuple[str, ...]:
        """Prompt, lyrics, title and negative prompt."""
        return self.prompt, self.lyrics, self.title, self.negative_prompt

    def body(self) -> dict[str, Any]:
        """The canonical body: no field that is empty, and whole numbers as integers."""
        fields = {name: getattr(self, name) for name in _SENT_FIELDS}
        fields["lyrics_type"] = self.lyrics_type.value
        sent = {name: value for name, value in fields.items() if name in _ALWAYS_SENT or value}
        plain: dict[str, Any] = plain_numbers({ENVELOPE: sent})
        return plain

    @classmethod
    def fields_of(cls, body: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a canonical body."""
        return with_mode(body[ENVELOPE])


def _rules(request: SunoRequest) -> list[tuple[bool, str]]:
    """The rules that concern several fields: (whether it is broken, its message)."""
    extends, own_words = request.mode is Mode.CONTINUATION, request.lyrics_type is LyricsType.USER
    # The gateways document title and negative tags beside words of one's own or a clip, and not beside an idea.
    unheard = () if own_words or extends else ("title", "negative_prompt")
    return [
        (request.mode is Mode.PRECEDE, f"mode is precede: {_ALLOWED['mode']}"),
        *lyrics_rules(request.lyrics_type, request.lyrics),
        *(
            (bool(getattr(request, name)), f"{name} is forbidden without lyrics of your own")
            for name in unheard
        ),
        *(_rule_of_source(extends, name, getattr(request, name)) for name in _SOURCE),
    ]


def _rule_of_source(extends: bool, name: str, value: object) -> tuple[bool, str]:
    """An extension names its source and where it is continued, and nothing else has a field of a source."""
    if extends:
        missing = name in _REQUIRED_OF_SOURCE and value is None
        return missing, f"{name} is required to extend a song ({_REQUIRED_OF_SOURCE.get(name)})"
    return value is not None, f"{name} is forbidden with mode regular (use continuation)"


def _limits(request: SunoRequest) -> list[tuple[bool, str]]:
    """The limits of the request's model."""
    limits = LIMITS[request.model_type]
    is_style = request.lyrics_type is LyricsType.USER or request.mode is Mode.CONTINUATION
    longest = {"prompt": limits.style if is_style else limits.words, "lyrics": limits.words}
    return length_rules(request, longest, request.model_type)


SUNO = Family(
    name="suno",
    request=SunoRequest,
    envelope=ENVELOPE,
    field_kinds=_KINDS,
    compared_fields=("prompt", "model_type", "lyrics_type"),
    models=MODELS,
    hashed_fields={1: _SENT_FIELDS},
    places={},
    start_field="continue_at",
    # CometAPI's page "Submit concatenation" exists to join the parts. A gateway that returned the whole song all the
    # same would do no harm: joining drops what both contain.
    extension_result=ExtensionResult.NEW_PART,
    joined_by=SUNO_JOIN.name,
    extend=extending(SunoRequest, extension_fields),
    extension_only=("continue_at", "source_generation_id"),
)
