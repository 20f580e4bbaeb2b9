"""Udio extensions: which fields are inherited from the parent's request, and where the new part is placed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from songflow.families.family import Mode, invalid_request, refuse_overrides
from songflow.families.field_types import AUTO, auto_is_none

__all__ = ["extension_fields"]

_DEFAULT_PLACES: Mapping[Mode, str] = {Mode.PRECEDE: "intro", Mode.CONTINUATION: "outro"}
# These describe the parent's place in its own song.
_NOT_INHERITED = frozenset(
    {"mode", "source_song_id", "context_length", "song_section_start", "song_section_end"}
)
_OWN_LYRICS = "user"
_START = "song_section_start"
_NOT_GIVEN = object()
_PLACEMENT = ("lyrics_placement_start", "lyrics_placement_end")


def extension_fields(
    parent: Mapping[str, Any] | None,
    song_id: str,
    *,
    places: Mapping[str, tuple[Mode, float]],
    mode: Mode | str | None,
    place: str | None,
    overrides: Mapping[str, Any],
) -> dict[str, Any]:
    """The fields of the request that extends a song, inheriting from the parent every field that is not given.

    The section's end is left out of the body, as in the gateways' published example, unless `overrides` has it. Lyrics
    in the overrides make `lyrics_type` "user"; another `lyrics_type` drops the parent's lyrics. Without a place,
    the overrides' `song_section_start` counts (None or "auto": the model chooses), else intro for precede and outro for
    continuation.

    Args:
        parent: The fields of the request that made the song; None for a song that only the gateway knows.
        song_id: The gateway's id of the song.
        places: The named placements: mode and `song_section_start`.
        mode: "precede" or "continuation"; None: that of the place, else continuation.
        place: The name of a placement.
        overrides: Fields that differ from the parent's.

    Raises:
        InvalidRequest: mode and place contradict each other, or a field cannot be overridden or is missing.
    """
    refuse_overrides(overrides, "mode", "source_song_id", "config")
    if parent is None and "prompt" not in overrides:
        raise invalid_request("prompt is required to extend a song that is not in this library")
    overrides = {name: auto_is_none(value) for name, value in overrides.items()}
    chosen_mode, start = _placed(places, mode, place, overrides.get(_START, _NOT_GIVEN))
    inherited = {name: value for name, value in (parent or {}).items() if name not in _NOT_INHERITED}
    return {
        "song_section_end": None,
        **_without_replaced_lyrics(inherited, overrides),
        **{name: value for name, value in overrides.items() if (name, value) != ("lyrics_type", None)},
        "song_section_start": start,
        "mode": chosen_mode,
        "source_song_id": song_id,
    }


def _without_replaced_lyrics(inherited: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The inherited fields without the parent's lyrics and their placement, where the overrides replace them."""
    fields = dict(inherited)
    kind = overrides.get("lyrics_type")
    if "lyrics" not in overrides and kind in (None, fields.get("lyrics_type")):
        return fields
    for name in _PLACEMENT:
        fields.pop(name, None)
    # Lyrics imply the type "user", and "user" without lyrics cannot be sung: the type follows from the overrides.
    if overrides.get("lyrics") or fields.get("lyrics_type") == _OWN_LYRICS:
        fields.pop("lyrics_type", None)
    if kind not in (None, _OWN_LYRICS):
        fields.pop("lyrics", None)
    return fields


def _placed(
    places: Mapping[str, tuple[Mode, float]], mode: Mode | str | None, place: str | None, start: Any
) -> tuple[Mode, Any]:
    """The mode and `song_section_start` of an extension."""
    chosen = _extending_mode(mode)
    if place is None and start is not _NOT_GIVEN:
        if chosen is None:
            raise invalid_request("mode is required with song_section_start (precede or continuation)")
        return chosen, start
    name = place if place is not None else _DEFAULT_PLACES[chosen or Mode.CONTINUATION]
    if name not in places:
        raise invalid_request(f"place is {name!r}: allowed are {', '.join(places)}")
    needed, at = places[name]
    if chosen not in (None, needed):
        raise invalid_request(f"place {name} belongs to mode {needed}, and mode is {chosen}")
    if start not in (_NOT_GIVEN, at):
        raise invalid_request(
            f"place {name} is song_section_start {at:g}, which is given as {AUTO if start is None else repr(start)}"
        )
    return needed, at


def _extending_mode(mode: Mode | str | None) -> Mode | None:
    if mode is None:
        return None
    if mode not in tuple(_DEFAULT_PLACES):
        raise invalid_request(f"mode is {str(mode)!r}: allowed are {', '.join(_DEFAULT_PLACES)}")
    return Mode(mode)
