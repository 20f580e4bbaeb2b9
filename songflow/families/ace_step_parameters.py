"""Parameter groups of an ACE-Step request: what only these models take.

Texts are those of `AceStepRequest`. Parameters that are left empty are those of the model, or of the song to extend.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, JsonValue

from songflow.families.ace_step import AceStepRequest
from songflow.families.ace_step_extensions import NEW_PART_SECONDS
from songflow.families.ace_step_facts import LANGUAGES, LONGEST_PART, SHORTEST_SONG
from songflow.families.parameter_group import ParameterGroup, field_text

__all__ = ["ExtensionMusic", "Music"]

_LANGUAGES: list[JsonValue] = [*LANGUAGES]

# Strict: a text or a bool is not a number, whatever it looks like.
Length = Annotated[float, Field(ge=SHORTEST_SONG, le=600, strict=True)]
PartLength = Annotated[float, Field(ge=SHORTEST_SONG, le=LONGEST_PART, strict=True)]
Tempo = Annotated[int, Field(ge=30, le=300, strict=True)]
Language = Annotated[str, Field(json_schema_extra={"enum": _LANGUAGES})]
Steps = Annotated[int, Field(ge=1, le=200, strict=True)]
Songs = Annotated[int, Field(ge=1, le=8, strict=True)]


def _for_some(name: str, title: str, more: str = "Only for models that take it.") -> Any:
    return Field(default=None, title=title, description=f"{field_text(AceStepRequest, name)} {more}")


class ExtensionMusic(ParameterGroup):
    """Length, tempo, key, language and effort of an extension."""

    duration: PartLength | None = _for_some(
        "duration", "Duration", f"Empty: {NEW_PART_SECONDS:g} s. Only for models that take it."
    )
    bpm: Tempo | None = _for_some("bpm", "Tempo")
    key_scale: str | None = _for_some("key_scale", "Key")
    vocal_language: Language | None = _for_some("vocal_language", "Language")
    inference_steps: Steps | None = _for_some("inference_steps", "Inference steps")
    batch_size: Songs | None = _for_some("batch_size", "Songs")


class Music(ExtensionMusic):
    """The same of a new song."""

    model_config = ConfigDict(title="Music")

    duration: Length | None = _for_some("duration", "Duration")
    thinking: Annotated[bool, Field(strict=True)] | None = _for_some("thinking", "Thinking")
