"""What the extensions of several families share: the request from inherited fields, and continuing at a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from types import MappingProxyType
from typing import Any, TypeVar

from songflow.families.family import Mode, Request, invalid_request, refuse_overrides

__all__ = ["extending", "inherited_fields", "with_mode"]

_R = TypeVar("_R", bound=Request)


def extending(request: type[_R], fields: Callable[..., Mapping[str, Any]]) -> Callable[..., _R]:
    """The `Family.extend` of a family.

    Args:
        request: The class of its requests.
        fields: Makes the fields of the extension: `fields(parent, song_id, mode=, place=, overrides=)`. Its parent is a
            dict of the fields of the request that made the song, or None.
    """

    def extend_song(
        parent: _R | None,
        song_id: str,
        *,
        mode: Mode | str | None = None,
        place: str | None = None,
        overrides: Mapping[str, Any] = MappingProxyType({}),
    ) -> _R:
        inherited = None if parent is None else parent.model_dump()
        return request.parse(fields(inherited, song_id, mode=mode, place=place, overrides=overrides))

    return extend_song


def with_mode(sent: Mapping[str, Any]) -> dict[str, Any]:
    """A request's fields from those that were sent, in families whose bodies do not name the mode."""
    mode = Mode.CONTINUATION if "source_song_id" in sent else Mode.REGULAR
    return {**sent, "mode": mode.value}


def inherited_fields(
    parent: Mapping[str, Any] | None,
    not_inherited: Set[str],
    *,
    mode: Mode | str | None,
    place: str | None,
    overrides: Mapping[str, Any],
) -> dict[str, Any]:
    """What an extension inherits in families that continue a song at a second of it.

    Lyrics in the overrides make `lyrics_type` "user"; another `lyrics_type` drops the parent's lyrics.

    Args:
        parent: The fields of the request that made the song; None for a song that only the gateway knows.
        not_inherited: The fields that are the parent's own.
        mode: "continuation", or None for the same.
        place: None; named placements belong to other families.
        overrides: Fields that differ from the parent's.

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
    inherited = {name: value for name, value in (parent or {}).items() if name not in not_inherited}
    if overrides.get("lyrics") or overrides.get("lyrics_type") not in (None, inherited.get("lyrics_type")):
        inherited.pop("lyrics", None)
        inherited.pop("lyrics_type", None)
    return inherited
