"""Suno extensions: which fields are inherited from the parent's request. A song is continued at a second of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from songflow.families.family import Mode, invalid_request, refuse_overrides

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
    """The fields of the request that continues a song, inheriting from the parent every field that is not given.

    Lyrics in the overrides make `lyrics_type` "user"; another `lyrics_type` drops the parent's lyrics.

    Args:
        parent: The fields of the request that made the song; None for a song that only the gateway knows.
        song_id: The gateway's id of the song.
        mode: "continuation", or None for the same.
        place: None; named placements belong to other families.
        overrides: Fields that differ from the parent's, `continue_at` and `source_generation_id` among them.

    Raises:
        InvalidRequest: a field cannot be overridden or is missing, or the song would be extended in another way.
    """
    refuse_overrides(overrides, "mode", "source_song_id")
    if mode not in (None, Mode.CONTINUATION):
        raise invalid_request(f"mode is {str(mode)!r}: allowed is continuation")
    if place is not None:
        raise invalid_request(
            f"place is {place!r}: these models continue a song at a second of it (continue_at)"
        )
    if parent is None and "prompt" not in overrides:
        raise invalid_request("prompt is required to extend a song that is not in this library")
    inherited = {name: value for name, value in (parent or {}).items() if name not in _NOT_INHERITED}
    if overrides.get("lyrics") or overrides.get("lyrics_type") not in (None, inherited.get("lyrics_type")):
        inherited.pop("lyrics", None)
        inherited.pop("lyrics_type", None)
    return {**inherited, **overrides, "mode": Mode.CONTINUATION, "source_song_id": song_id}
