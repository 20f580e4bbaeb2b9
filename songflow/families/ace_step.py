"""The ACE-Step family: its request, its models with their steps, and its extensions.

The model is open and runs on one's own machine, so a song has no price. The canonical body has the names of this
request, and only the fields that say something; the server's names are in `songflow.gateways.ace_step`. Sources, in
the repository ace-step/ACE-Step-1.5: docs/en/API.md (fields, ranges, defaults), docs/en/INFERENCE.md (longest texts),
docs/en/Tutorial.md (how long a part can be that is painted anew), README.md (models and their steps), and
acestep/constants.py (languages).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, Strict, model_validator

from songflow.families.ace_step_extensions import extension_fields
from songflow.families.ace_step_facts import (
    ALLOWED,
    LANGUAGES,
    LONGEST_LYRICS,
    LONGEST_PART,
    LONGEST_PROMPT,
    MAX_SEED,
    MODELS,
    REQUIRED_OF_SOURCE,
    SET_WITH_THE_WORDS,
    SHORTEST_SONG,
    STEPS,
    check_key,
)
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

__all__ = ["ACE_STEP", "AceStepRequest"]

ENVELOPE = "ace_step"
RANDOM_SEED = -1

ModelName = Annotated[str, Strict(), one_of(*MODELS)]
Language = Annotated[str, Strict(), one_of(*LANGUAGES)]

_ALWAYS_SENT = frozenset({"prompt", "lyrics_type", "model_type", "inference_steps", "batch_size"})
_SENT_FIELDS = (
    "prompt",
    "lyrics",
    "lyrics_type",
    "negative_prompt",
    "model_type",
    "seed",
    "duration",
    "bpm",
    "key_scale",
    "vocal_language",
    "inference_steps",
    "batch_size",
    "thinking",
    "continue_at",
    "source_song_id",
)
_KINDS: Mapping[str, FieldKind] = {
    **dict.fromkeys(("prompt", "lyrics", "negative_prompt", "source_song_id"), FieldKind.TEXT),
    **dict.fromkeys(("key_scale", "vocal_language"), FieldKind.TEXT),
    **dict.fromkeys(("lyrics_type", "model_type", "mode"), FieldKind.CHOICE),
    **dict.fromkeys(("duration", "continue_at"), FieldKind.NUMBER),
    **dict.fromkeys(("bpm", "inference_steps", "batch_size"), FieldKind.WHOLE),
    "thinking": FieldKind.SWITCH,
    "seed": FieldKind.SEED,
}


class AceStepRequest(Request):
    """One generation of ACE-Step: songs from an idea, or from words of one's own (or none) in a style.

    `duration` and `continue_at` are in seconds.
    """

    allowed_values: ClassVar[Mapping[str, str]] = ALLOWED
    replaced_together: ClassVar[frozenset[str]] = LYRICS_FIELDS

    prompt: NotBlank = Field(description="What the song is like; with lyrics of your own, its style.")
    lyrics: Text = Field("", description="The words to sing; only with lyrics_type 'user'.")
    lyrics_type: LyricsType = Field(
        LyricsType.GENERATE,
        description="'user' sings `lyrics`, 'generate' invents words, 'instrumental' none.",
    )
    negative_prompt: Text = Field("", description="What the song should not have; only with thinking.")
    model_type: ModelName = Field(
        "acestep-v15-turbo", description="The model; the server must have loaded it."
    )
    seed: Annotated[int, Strict()] = Field(
        RANDOM_SEED, ge=-1, le=MAX_SEED, description="A seed from 0, or -1 for a random one."
    )
    duration: Annotated[float, Strict()] | None = Field(
        None, ge=SHORTEST_SONG, le=600, description="Length of the song, or of an extension's new part (s)."
    )
    bpm: Annotated[int, Strict()] | None = Field(
        None, ge=30, le=300, description="Beats per minute, 30..300."
    )
    key_scale: Annotated[Text, AfterValidator(check_key)] = Field(
        "", description="The key, such as C major, F# minor or Am."
    )
    vocal_language: Language | None = Field(
        None, description="The language that is sung, such as en, es or ja."
    )
    inference_steps: Annotated[int, Strict()] | None = Field(
        None, ge=1, le=200, description="Steps of the model: more are slower. Its own default: 8 or 50."
    )
    batch_size: Annotated[int, Strict()] = Field(2, ge=1, le=8, description="How many songs are made, 1..8.")
    thinking: Annotated[bool, Strict()] = Field(
        False, description="Let the server's language model plan the song first: better and slower."
    )
    mode: Mode = Field(Mode.REGULAR, description="'regular', or 'continuation' of the source song.")
    continue_at: Annotated[float, Strict()] | None = Field(
        None, gt=0, allow_inf_nan=False, description="Where in the source song the new part begins (s)."
    )
    source_song_id: NotBlank | None = Field(None, description="The gateway's id of the song to extend.")

    @model_validator(mode="before")
    @classmethod
    def _fill_dependent_defaults(cls, data: Any) -> Any:
        """Lyrics without a type mean 'user', and each model has its usual number of steps."""
        if not isinstance(data, Mapping):
            return data
        filled = dict(data)
        if filled.get("lyrics_type") is None:
            filled["lyrics_type"] = default_lyrics_type(filled.get("lyrics"))
        if filled.get("inference_steps") is None:
            model = filled.get("model_type", cls.model_fields["model_type"].default)
            known = isinstance(model, str) and model in STEPS
            filled["inference_steps"] = STEPS[model].usual if known else None
        return filled

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        check_rules((*lyrics_rules(self.lyrics_type, self.lyrics), *_rules(self)))
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
    def end(self) -> float | None:
        """Where the new part ends, in seconds of the source song."""
        return None if self.continue_at is None else self.continue_at + (self.duration or 0.0)

    @property
    def is_random(self) -> bool:
        """True without a seed of its own."""
        return self.seed == RANDOM_SEED

    @property
    def texts(self) -> tuple[str, ...]:
        """Prompt, lyrics and negative prompt."""
        return self.prompt, self.lyrics, self.negative_prompt

    def fields_with(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """As of every request; another model has its own number of steps."""
        fields = super().fields_with(overrides)
        if overrides.get("model_type") not in (None, self.model_type) and "inference_steps" not in overrides:
            del fields["inference_steps"]
        return fields

    def body(self) -> dict[str, Any]:
        """The canonical body: no field that says nothing, and whole numbers as integers."""
        fields = {name: getattr(self, name) for name in _SENT_FIELDS}
        fields["lyrics_type"] = self.lyrics_type.value
        fields["seed"] = None if self.is_random else self.seed
        # By identity: a seed of 0 says something.
        sent = {
            name: value
            for name, value in fields.items()
            if name in _ALWAYS_SENT or not (value is None or value is False or value == "")
        }
        plain: dict[str, Any] = plain_numbers({ENVELOPE: sent})
        return plain

    @classmethod
    def fields_of(cls, body: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a canonical body."""
        return with_mode(body[ENVELOPE])


def _rules(request: AceStepRequest) -> list[tuple[bool, str]]:
    """The rules that concern several fields: pairs of whether a rule is broken, and its text."""
    extends, model = request.mode is Mode.CONTINUATION, request.model_type
    steps, most = request.inference_steps or 0, STEPS[model].most
    return [
        (request.mode is Mode.PRECEDE, f"mode is precede: {ALLOWED['mode']}"),
        (steps > most, f"inference_steps is {steps}: {model} takes {most}"),
        (
            bool(request.negative_prompt) and not request.thinking,
            "negative_prompt is forbidden without thinking (only the server's language model hears it)",
        ),
        (
            extends and request.thinking,
            "thinking is forbidden to extend a song (a part is painted anew without the language model)",
        ),
        (
            extends and (request.duration or 0) > LONGEST_PART,
            f"duration is {request.duration or 0:g}: the new part of an extension is {LONGEST_PART:g} s at most",
        ),
        *_rules_of_an_idea(request, extends),
        *_rules_of_lengths(request),
        *(_rule_of_source(extends, name, getattr(request, name)) for name in REQUIRED_OF_SOURCE),
    ]


def _rules_of_an_idea(request: AceStepRequest, extends: bool) -> list[tuple[bool, str]]:
    """Words that are invented come with a tempo, a key and a length; an extension's length is that of its part."""
    idea = request.lyrics_type is LyricsType.GENERATE
    names = [name for name in SET_WITH_THE_WORDS if not (extends and name == "duration")]
    return [
        (
            idea and bool(getattr(request, name)),
            f"{name} is forbidden with lyrics_type generate, which decides on it (give lyrics, or instrumental)",
        )
        for name in names
    ]


def _rules_of_lengths(request: AceStepRequest) -> list[tuple[bool, str]]:
    """The longest texts; of an idea no limit is published."""
    idea = request.lyrics_type is LyricsType.GENERATE
    longest = {"lyrics": LONGEST_LYRICS} | ({} if idea else {"prompt": LONGEST_PROMPT})
    return length_rules(request, longest, "the model")


def _rule_of_source(extends: bool, name: str, value: object) -> tuple[bool, str]:
    """An extension names its source and its new part, and nothing else names a source."""
    if extends:
        return value is None, f"{name} is required to extend a song ({REQUIRED_OF_SOURCE[name]})"
    return (
        name != "duration" and value is not None,
        f"{name} is forbidden with mode regular (use continuation)",
    )


ACE_STEP = Family(
    name="ace-step",
    request=AceStepRequest,
    envelope=ENVELOPE,
    field_kinds=_KINDS,
    compared_fields=(
        "prompt",
        "model_type",
        "seed",
        "duration",
        "bpm",
        "key_scale",
        "inference_steps",
        "thinking",
    ),
    models=MODELS,
    hashed_fields={1: _SENT_FIELDS},
    places={},
    start_field="continue_at",
    # acestep/handler.py (prepare_padding_info) makes the source longer by silence up to the end of the part, and
    # paints only the part anew: the answer is the whole song.
    extension_result=ExtensionResult.WHOLE_SONG,
    extend=extending(AceStepRequest, extension_fields),
    extension_only=("continue_at",),
)
