"""Suno extensions: which fields are inherited from the parent's request. A song is continued at a second of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from songflow.families.extending import inherited_fields
from songflow.families.family import Mode

__all__ = ["extension_fields"]

# These describe how the parent continued its own source.
_NOT_INHERITED = frozenset({"mode", "source_song_id", "source_generation_id", "continue_at"})


def extension_fields(
    parent: Mapping[str, Any] | None,
    song_id: str,
    *,
    mode: Mode | str | None,
    place: str | None,
    overrides: Mapping[str, Any],
) -> dict[str, Any]:
    """The fields of the request that continues a song (see `songflow.families.extending.inherited_fields`).

    Args:
        song_id: The gateway's id of the song.
        overrides: Fields that differ from the parent's, `continue_at` and `source_generation_id` among them.
    """
    inherited = inherited_fields(parent, _NOT_INHERITED, mode=mode, place=place, overrides=overrides)
    return {**inherited, **overrides, "mode": Mode.CONTINUATION, "source_song_id": song_id}
