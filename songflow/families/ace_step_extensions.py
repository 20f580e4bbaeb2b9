"""ACE-Step extensions: which fields are inherited from the parent's request. A song is continued at a second of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from songflow.families.ace_step_facts import SET_WITH_THE_WORDS
from songflow.families.extending import inherited_fields
from songflow.families.family import Mode
from songflow.families.field_types import LyricsType

__all__ = ["NEW_PART_SECONDS", "extension_fields"]

NEW_PART_SECONDS = 30.0
"""The length of a new part, if none is asked for."""

# These describe the parent's own length and plan, and how it continued its own source.
_NOT_INHERITED = frozenset(
    {"mode", "source_song_id", "continue_at", "duration", "thinking", "negative_prompt"}
)


def extension_fields(
    parent: Mapping[str, Any] | None,
    song_id: str,
    *,
    mode: Mode | str | None,
    place: str | None,
    overrides: Mapping[str, Any],
) -> dict[str, Any]:
    """The fields of the request that continues a song (see `songflow.families.extending.inherited_fields`).

    Words that are invented bring their own tempo and key, and another model has its own number of steps.

    Args:
        song_id: The gateway's id of the song.
        overrides: Fields that differ from the parent's, `continue_at` and `duration` among them.
    """
    inherited = inherited_fields(parent, _NOT_INHERITED, mode=mode, place=place, overrides=overrides)
    if overrides.get("lyrics_type") == LyricsType.GENERATE:
        inherited = {name: value for name, value in inherited.items() if name not in SET_WITH_THE_WORDS}
    if overrides.get("model_type") not in (None, inherited.get("model_type")):
        inherited.pop("inference_steps", None)
    return {
        "duration": NEW_PART_SECONDS,
        **inherited,
        **overrides,
        "mode": Mode.CONTINUATION,
        "source_song_id": song_id,
    }
