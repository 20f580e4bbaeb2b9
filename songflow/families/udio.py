"""The Udio family: its request, its wire body (`gen_params`), its models and its extensions.

The fields, ranges and defaults are those of the gateways' published tables. A field with a default is always sent,
because one gateway's table marks nearly all of them as required. The canonical body is the wire body of the two
gateways that publish it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, Strict, model_validator

from songflow.families.extending import extending
from songflow.families.family import (
    ExtensionResult,
    Family,
    Mode,
    Model,
    Request,
    check_rules,
    plain_numbers,
)
from songflow.families.field_types import (
    LYRICS_FIELDS,
    FieldKind,
    Fraction,
    FractionOrAuto,
    LyricsType,
    NotBlank,
    Text,
    default_lyrics_type,
    lyrics_rules,
    one_of,
)
from songflow.families.udio_extensions import extension_fields

__all__ = ["MODELS", "PLACES", "UDIO", "LyricsType", "SongRequest"]


MODELS: Mapping[str, Model] = {
    "udio32-v1.5": Model(seconds=32.81, price=1.0),
    "udio130-v1.5": Model(seconds=130.0, price=2.0),
}

PLACES: Mapping[str, tuple[Mode, float]] = {
    "intro": (Mode.PRECEDE, 0.0),
    "front": (Mode.PRECEDE, 0.4),
    "back": (Mode.CONTINUATION, 0.4),
    "outro": (Mode.CONTINUATION, 0.9),
}
"""Named placements of an extension: its mode and its `song_section_start`."""

ENVELOPE = "gen_params"
RANDOM_SEED = -1
DEFAULT_CONTEXT_LENGTH = 130.0
MAX_SEED = 2**63 - 1
"""The largest whole number that databases, frames and the relays' own code hold."""

_QUALITIES = (0.25, 0.5, 0.75, 1.0)

Quality = Annotated[float, Strict(), one_of(*_QUALITIES)]
ModelName = Annotated[str, Strict(), one_of(*MODELS)]

_SENT_FIELDS = (
    "prompt",
    "lyrics",
    "lyrics_type",
    "bypass_prompt_optimization",
    "seed",
    "song_section_start",
    "song_section_end",
    "lyrics_placement_start",
    "lyrics_placement_end",
    "prompt_strength",
    "clarity_strength",
    "lyrics_strength",
    "generation_quality",
    "negative_prompt",
    "model_type",
)


_SECTION = ("song_section_start", "song_section_end")
_NO_SECTION = dict.fromkeys(_SECTION)
_PLACED = (*_SECTION, "lyrics_placement_start", "lyrics_placement_end")
_FRACTIONS = (
    *_PLACED,
    "prompt_strength",
    "clarity_strength",
    "lyrics_strength",
)
_ALLOWED: Mapping[str, str] = {
    "prompt": "allowed is a text that is not blank, in valid Unicode",
    "lyrics": "allowed is a text in valid Unicode",
    "negative_prompt": "allowed is a text in valid Unicode",
    "source_song_id": "allowed is a text that is not blank, in valid Unicode",
    "model_type": f"allowed are {', '.join(MODELS)}",
    "lyrics_type": "allowed are user, instrumental, generate",
    "mode": "allowed are regular, precede, continuation",
    "seed": f"allowed is -1 (random) or a whole number from 0 to {MAX_SEED}",
    "bypass_prompt_optimization": "allowed are true and false",
    "context_length": "allowed is a number of seconds from 1 to 130",
    "generation_quality": "allowed are 0.25, 0.5, 0.75, 1",
    **dict.fromkeys(_FRACTIONS, "allowed is a number from 0 to 1"),
    **dict.fromkeys(_PLACED, "allowed is a number from 0 to 1, or auto (the model chooses)"),
}


_KINDS: Mapping[str, FieldKind] = {
    **dict.fromkeys(("prompt", "lyrics", "negative_prompt", "source_song_id"), FieldKind.TEXT),
    **dict.fromkeys(("lyrics_type", "model_type", "mode"), FieldKind.CHOICE),
    **dict.fromkeys((*_FRACTIONS, "context_length"), FieldKind.NUMBER),
    "generation_quality": FieldKind.LEVEL,
    "bypass_prompt_optimization": FieldKind.SWITCH,
    "seed": FieldKind.SEED,
}


class SongRequest(Request):
    """One paid generation with the fields of the gateways' `gen_params`.

    Fractions are 0..1; `context_length` is in seconds, 1..130.
    """

    allowed_values: ClassVar[Mapping[str, str]] = _ALLOWED
    replaced_together: ClassVar[frozenset[str]] = LYRICS_FIELDS

    prompt: NotBlank = Field(description="What the song is like; with lyrics of your own, tags of its style.")
    lyrics: Text = Field("", description="The words to sing; only with lyrics_type 'user'.")
    lyrics_type: LyricsType = Field(
        LyricsType.GENERATE,
        description="'user' sings `lyrics`, 'generate' invents words, 'instrumental' none.",
    )
    negative_prompt: Text = Field("", description="What the song should not have.")
    model_type: ModelName = Field(
        "udio32-v1.5", description="udio32-v1.5 (32.81 s) or udio130-v1.5 (130 s, twice the price)."
    )
    seed: Annotated[int, Strict()] = Field(
        -1, ge=-1, le=MAX_SEED, description="A seed from 0, or -1 for a random one."
    )
    bypass_prompt_optimization: Annotated[bool, Strict()] = Field(
        False, description="True sends the prompt to the model as it is."
    )
    song_section_start: FractionOrAuto = Field(
        0.0, description="Where in the whole song the new part starts, 0..1; null leaves it to the model."
    )
    song_section_end: FractionOrAuto = Field(
        1.0, description="Where in the whole song the new part ends, 0..1; null leaves it to the model."
    )
    lyrics_placement_start: FractionOrAuto = Field(None, description="Where the words start, 0..1.")
    lyrics_placement_end: FractionOrAuto = Field(None, description="Where the words end, 0..1.")
    prompt_strength: Fraction = Field(0.5, description="How closely the prompt is followed, 0..1.")
    clarity_strength: Fraction = Field(0.25, description="Clarity and separation of instruments, 0..1.")
    lyrics_strength: Fraction = Field(0.5, description="How closely the words are followed, 0..1.")
    generation_quality: Quality = Field(
        0.75, description="0.25, 0.5, 0.75 or 1; higher is better and slower."
    )
    mode: Mode = Field(
        Mode.REGULAR, description="'regular', or 'precede' / 'continuation' of the source song."
    )
    context_length: Annotated[float, Strict()] | None = Field(
        None,
        ge=1,
        le=130,
        description="Seconds of the source that the model hears, 1..130 (130 when left out).",
    )
    source_song_id: NotBlank | None = Field(None, description="The gateway's id of the song to extend.")

    @model_validator(mode="before")
    @classmethod
    def _fill_dependent_defaults(cls, data: Any) -> Any:
        """Lyrics without a type mean 'user'; an extension without a context length means 130 s."""
        if not isinstance(data, Mapping):
            return data
        filled = dict(data)
        if filled.get("lyrics_type") is None:
            filled["lyrics_type"] = default_lyrics_type(filled.get("lyrics"))
        if filled.get("context_length") is None and filled.get("mode") in (Mode.PRECEDE, Mode.CONTINUATION):
            filled["context_length"] = DEFAULT_CONTEXT_LENGTH
        return filled

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        check_rules(_rules(self))
        return self

    @property
    def model(self) -> Model:
        """The published facts of the request's model."""
        return MODELS[self.model_type]

    @property
    def start(self) -> float | None:
        """Where the new part starts in the whole song, 0..1; None leaves it to the model."""
        return self.song_section_start

    @property
    def is_random(self) -> bool:
        """True without a seed of its own."""
        return self.seed == RANDOM_SEED

    @property
    def texts(self) -> tuple[str, ...]:
        """Prompt, lyrics and negative prompt."""
        return self.prompt, self.lyrics, self.negative_prompt

    def body(self) -> dict[str, Any]:
        """The wire body in the order of the gateways' documents; whole numbers are integers."""
        config: dict[str, Any] = {"mode": self.mode.value}
        if self.mode is not Mode.REGULAR:
            config["context_length"] = self.context_length
            config["source"] = {"source_type": "song", "song_id": self.source_song_id}
        params: dict[str, Any] = {name: getattr(self, name) for name in _SENT_FIELDS}
        params["lyrics_type"] = self.lyrics_type.value
        sent = {name: value for name, value in params.items() if value is not None}
        plain: dict[str, Any] = plain_numbers({ENVELOPE: {**sent, "config": config}})
        return plain

    @classmethod
    def from_sent_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Rebuild a request; an end of its section that was not sent stays unsent."""
        return cls.parse({**_NO_SECTION, **fields})

    @classmethod
    def fields_of(cls, body: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a wire body; an end of its section that was not sent stays unsent."""
        params = dict(body[ENVELOPE])
        config = params.pop("config")
        source = config.get("source") or {}
        return {
            **_NO_SECTION,
            **params,
            "mode": config["mode"],
            "context_length": config.get("context_length"),
            "source_song_id": source.get("song_id"),
        }


def _rules(request: SongRequest) -> list[tuple[bool, str]]:
    """The rules that concern several fields: (whether it is broken, its message)."""
    extends = request.mode is not Mode.REGULAR
    start, end = request.song_section_start, request.song_section_end
    first, last = request.lyrics_placement_start, request.lyrics_placement_end
    return [
        *lyrics_rules(request.lyrics_type, request.lyrics),
        (
            extends and request.source_song_id is None,
            f"source_song_id is required with mode {request.mode}",
        ),
        (
            not extends and request.source_song_id is not None,
            "source_song_id is forbidden with mode regular (use precede or continuation)",
        ),
        (
            not extends and request.context_length is not None,
            "context_length is forbidden with mode regular (it belongs to precede and continuation)",
        ),
        (
            start is not None and end is not None and start >= end,
            f"song_section_start is {start or 0:g}: "
            f"allowed is a number below song_section_end, which is {end or 0:g}",
        ),
        (
            first is not None and last is not None and first >= last,
            f"lyrics_placement_start is {first or 0:g}: "
            f"allowed is a number below lyrics_placement_end, which is {last or 0:g}",
        ),
    ]


UDIO = Family(
    name="udio",
    request=SongRequest,
    envelope=ENVELOPE,
    field_kinds=_KINDS,
    compared_fields=(
        "prompt",
        "model_type",
        "seed",
        "prompt_strength",
        "clarity_strength",
        "lyrics_strength",
        "generation_quality",
    ),
    models=MODELS,
    hashed_fields={1: (*_SENT_FIELDS, "config")},
    places=PLACES,
    start_field="song_section_start",
    # No published example proves it: a result that is not longer than its source is noted on the song.
    extension_result=ExtensionResult.WHOLE_SONG,
    extend=extending(SongRequest, partial(extension_fields, places=PLACES)),
    extension_only=("context_length",),
)
