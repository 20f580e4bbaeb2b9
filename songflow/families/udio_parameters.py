"""Parameter groups of a Udio request: how it sounds, and where the new part is placed.

Texts and defaults are those of `SongRequest`, so a parameter means the same in a form, on the command line and in
a sweep. The groups of an extension have no defaults of their own: an empty parameter is inherited from the song.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict, Field, JsonValue

from songflow.families.field_types import auto_is_none
from songflow.families.model_names import ModelName, models_text
from songflow.families.parameter_group import ParameterGroup, field_text
from songflow.families.udio import PLACES, SongRequest

__all__ = ["ExtensionPlacement", "ExtensionSound", "Placement", "Sound", "inherited_text", "request_text"]

_QUALITIES: list[JsonValue] = [0.25, 0.5, 0.75, 1]

# Strict: a text or a bool is not a number, whatever it looks like.
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Quality = Annotated[float, Field(ge=0.25, le=1, strict=True, json_schema_extra={"enum": _QUALITIES})]
ShareOrAuto = Annotated[Share | None, BeforeValidator(auto_is_none)]
Inherited = Annotated[
    Share | Annotated[Literal["auto"], Field(title="Left to the model")] | None,
    Field(union_mode="left_to_right"),
]
Switch = Annotated[bool, Field(strict=True)]
Seconds = Annotated[float, Field(ge=1, le=130, strict=True)]


def request_text(name: str) -> str:
    """The description of a field of `SongRequest`."""
    return field_text(SongRequest, name)


def _asked(name: str, title: str) -> Any:
    """A field with the request's description and default."""
    return Field(default=SongRequest.model_fields[name].default, title=title, description=request_text(name))


def inherited_text(name: str) -> str:
    """The description of a field of an extension, which is inherited from the song when it is empty."""
    return f"{request_text(name)} Empty: as for the song itself."


def _inherited(name: str, title: str) -> Any:
    return Field(default=None, title=title, description=inherited_text(name))


class Sound(ParameterGroup):
    """How closely the model follows prompt and lyrics, and how the result sounds."""

    model_config = ConfigDict(title="Sound")

    prompt_strength: Share = _asked("prompt_strength", "Prompt strength")
    clarity_strength: Share = _asked("clarity_strength", "Clarity strength")
    lyrics_strength: Share = _asked("lyrics_strength", "Lyrics strength")
    generation_quality: Quality = _asked("generation_quality", "Quality")
    bypass_prompt_optimization: Switch = _asked("bypass_prompt_optimization", "Bypass prompt optimization")


class Placement(ParameterGroup):
    """Which section of the whole song is made, and where the lyrics are sung."""

    model_config = ConfigDict(title="Placement")

    song_section_start: ShareOrAuto = _asked("song_section_start", "Section start")
    song_section_end: ShareOrAuto = _asked("song_section_end", "Section end")
    lyrics_placement_start: ShareOrAuto = _asked("lyrics_placement_start", "Lyrics start")
    lyrics_placement_end: ShareOrAuto = _asked("lyrics_placement_end", "Lyrics end")


class ExtensionSound(ParameterGroup):
    """The same for an extension, with the model and what to avoid; empty parameters are inherited."""

    model_config = ConfigDict(title="Sound")

    model_type: ModelName | None = Field(
        default=None, title="Model", description=f"{models_text()}. Empty: as for the song itself."
    )
    negative_prompt: str | None = _inherited("negative_prompt", "Negative prompt")
    prompt_strength: Share | None = _inherited("prompt_strength", "Prompt strength")
    clarity_strength: Share | None = _inherited("clarity_strength", "Clarity strength")
    lyrics_strength: Share | None = _inherited("lyrics_strength", "Lyrics strength")
    generation_quality: Quality | None = _inherited("generation_quality", "Quality")
    bypass_prompt_optimization: Switch | None = _inherited(
        "bypass_prompt_optimization", "Bypass prompt optimization"
    )


class ExtensionPlacement(ParameterGroup):
    """Where an extension is placed, in more detail than by the name of its place."""

    LEFT_TO_MODEL: ClassVar = ("song_section_start", "lyrics_placement_start", "lyrics_placement_end")
    """What may be "auto", since an empty parameter is that of the place or of the song."""

    model_config = ConfigDict(title="Placement")

    mode: Literal["precede", "continuation"] | None = Field(
        default=None,
        title="Mode",
        description="Add before the song (precede) or after it (continuation, the default).",
    )
    context_length: Seconds | None = Field(
        default=None, title="Context length", description=request_text("context_length")
    )
    song_section_start: Inherited = Field(
        default=None,
        title="Section start",
        description="The place as a number, 0..1, or auto (the model chooses), with the mode; named places are "
        f"{', '.join(f'{name} {start:g}' for name, (_, start) in PLACES.items())}. Empty: that of the place.",
    )
    song_section_end: ShareOrAuto = Field(
        default=None,
        title="Section end",
        description="Where in the whole song the new part ends, 0..1. Empty: left to the model.",
    )
    lyrics_placement_start: Inherited = _inherited("lyrics_placement_start", "Lyrics start")
    lyrics_placement_end: Inherited = _inherited("lyrics_placement_end", "Lyrics end")
