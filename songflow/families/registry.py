"""The registry of model families: finds a request's family by its model, and a stored body's by its envelope.

To add a family, write its file beside this one, list it here, and add a service for it to the gateways that sell it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from songflow.errors import InvalidRequest
from songflow.families.family import ExtensionResult, Family, Mode, Model, Request, invalid_request
from songflow.families.field_types import FieldKind
from songflow.families.suno import SUNO
from songflow.families.udio import UDIO

__all__ = [
    "FAMILIES",
    "SHORT_NAMES",
    "body_hash",
    "check_extension",
    "check_start",
    "compared_fields",
    "differing_fields",
    "extension_only",
    "extension_request",
    "family_of",
    "family_of_fields",
    "family_of_model",
    "family_that_has",
    "field_fault",
    "field_kinds",
    "fields_of_kind",
    "has_field",
    "models",
    "oldest_version",
    "parse_request",
    "place_at",
    "place_names",
    "request_fields",
    "request_of",
    "returns_new_part",
    "sent_fields",
    "source_fields",
    "start_field",
    "start_fields",
    "wire_name",
]

FAMILIES: dict[str, Family] = {family.name: family for family in (UDIO, SUNO)}
"""The families by name; the first is that of a request that names no model."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})

SHORT_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "model": "model_type",
        "quality": "generation_quality",
        "section_start": "song_section_start",
        "section_end": "song_section_end",
        "lyrics_start": "lyrics_placement_start",
        "lyrics_end": "lyrics_placement_end",
        "raw_prompt": "bypass_prompt_optimization",
        "song_id": "source_song_id",
        "at": "continue_at",
    }
)
"""The command line's names of request fields, where they are not the wire names."""


def wire_name(name: str) -> str:
    """The wire name of a field that is named as on the command line (`model`, `negative-prompt`) or as on the wire."""
    plain = name.replace("-", "_")
    return SHORT_NAMES.get(plain, plain)


def models() -> dict[str, Model]:
    """The models of all families by wire name."""
    return {name: model for family in FAMILIES.values() for name, model in family.models.items()}


def family_of_model(model_type: str) -> Family:
    """The family of a model; that of an unknown name is the first, whose request names the models that there are."""
    first = next(iter(FAMILIES.values()))
    return next((family for family in FAMILIES.values() if model_type in family.models), first)


def family_that_has(model_type: str) -> Family:
    """The family of a stored model name.

    Raises:
        InvalidRequest: this version knows no such model.
    """
    for family in FAMILIES.values():
        if model_type in family.models:
            return family
    raise InvalidRequest(
        f"The model {model_type!r} belongs to no model family that this version of Songflow knows.",
        next="update Songflow to the version that made it.",
    )


def family_of_fields(fields: Mapping[str, Any]) -> Family:
    """The family of a request that is not built yet, by its `model_type`."""
    given = fields.get("model_type")
    return family_of_model(given if isinstance(given, str) else "")


def family_of(body: Mapping[str, Any]) -> Family:
    """The family of a canonical body.

    Raises:
        InvalidRequest: it belongs to no family that this version knows.
    """
    for family in FAMILIES.values():
        if family.envelope in body:
            return family
    raise InvalidRequest(
        "The request belongs to no model family that this version of Songflow knows.",
        next="update Songflow to the version that made it.",
    )


def parse_request(fields: Mapping[str, Any]) -> Request:
    """Validate a request of any family.

    Raises:
        InvalidRequest: names each wrong field, its value and what is allowed.
    """
    try:
        return family_of_fields(fields).request.parse(fields)
    except InvalidRequest as error:
        if not error.faults or fields.get("model_type") in models():
            raise
        raise invalid_request(*(_with_all_models(fault) for fault in error.faults)) from None


def _with_all_models(fault: str) -> str:
    """The fault of an unknown model, with the models of every family in place of the first one's."""
    first = next(iter(FAMILIES.values()))
    return fault.replace(f"allowed are {', '.join(first.models)}", f"allowed are {', '.join(models())}")


def request_of(body: Mapping[str, Any]) -> Request:
    """Rebuild the request that makes a canonical body.

    Raises:
        InvalidRequest: the body is not valid, or of no known family.
    """
    return family_of(body).request.from_body(body)


def extension_request(
    parent: Request | None,
    song_id: str,
    *,
    generation_id: str | None = None,
    seconds: float | None = None,
    mode: Mode | str | None = None,
    place: str | None = None,
    overrides: Mapping[str, Any] = _NOTHING,
) -> Request:
    """Build the request that extends a song; everything that is not given is inherited.

    Args:
        parent: The request that made the song; None for a song that only the gateway knows.
        song_id: The gateway's id of the song.
        generation_id: The gateway's id of the generation that made it, which some families send.
        seconds: The length of the song's own file; None if it is not known.
        mode: "precede" or "continuation"; None: that of the place, else continuation.
        place: One of the family's named placements; None: the family's default for the mode.
        overrides: Fields that differ from the parent's.

    Raises:
        InvalidRequest: mode and place contradict each other, or a field is wrong, missing or unknown, or the new part
            would begin behind the song's end.
    """
    family = family_of_fields(overrides) if parent is None else family_of_model(parent.model_type)
    field = family.request.source_generation_field
    if field is not None and generation_id is not None:
        overrides = {field: generation_id, **overrides}
    request = family.extend(parent, song_id, mode=mode, place=place, overrides=overrides)
    check_start(request, seconds)
    return request


def check_start(request: Request, seconds: float | None) -> None:
    """Check that an extension of a song of this length (None: unknown) does not begin behind its end.

    Only models that return the new part alone begin at a second. A gateway would take such a request, and bill it.

    Raises:
        InvalidRequest: it does.
    """
    start = request.start
    if seconds is None or start is None or not returns_new_part(request.model_type) or start <= seconds:
        return
    raise invalid_request(
        f"{start_field(request.model_type)} is {start:g} s, and the song's own part is {seconds:g} s long "
        "(seconds count in its own part)"
    )


def check_extension(
    song_id: str, *, mode: Mode | str | None, place: str | None, overrides: Mapping[str, Any]
) -> None:
    """Check an extension of a song whose own model is not known yet: some family must be able to make it.

    Raises:
        InvalidRequest: of the family of the model that is given, else of the first that has all of the fields.
    """
    given = overrides.get("model_type")
    families = list(FAMILIES.values()) if given is None else [family_of_fields(overrides)]
    # A family that has all of the given fields names their fault best.
    families = [one for one in families if overrides.keys() <= one.request.model_fields.keys()] or families
    faults: list[InvalidRequest] = []
    for family in families:
        model = next(iter(family.models)) if given is None else given
        anything = {"prompt": "anything", **overrides, "model_type": model}
        try:
            extension_request(None, song_id, generation_id="any", mode=mode, place=place, overrides=anything)
        except InvalidRequest as error:
            faults.append(error)
        else:
            return
    raise faults[0]


def sent_fields(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of a canonical body, as they were sent."""
    return family_of(body).sent_fields(body)


def body_hash(body: Mapping[str, Any], version: int | None = None) -> str:
    """The SHA-256 (hex) of a canonical body over the fields of a hash version (None: its family's newest)."""
    return family_of(body).body_hash(body, version)


def oldest_version(body: Mapping[str, Any]) -> int:
    """The oldest hash version that covers a canonical body (see `Family.oldest_version`)."""
    return family_of(body).oldest_version(body)


def differing_fields(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The fields in which two canonical bodies differ; of two families, the models alone."""
    family = family_of(one)
    return family.differing_fields(one, other) if family is family_of(other) else ["model_type"]


def request_fields() -> tuple[str, ...]:
    """The names of all fields that a request of some family has."""
    names = {name: None for family in FAMILIES.values() for name in family.request.model_fields}
    return tuple(names)


def source_fields() -> frozenset[str]:
    """The fields that name the song to extend and where it comes from."""
    more = {family.request.source_generation_field for family in FAMILIES.values()}
    return frozenset({"source_song_id", *(name for name in more if name is not None)})


def has_field(model_type: str, name: str) -> bool:
    """True if the requests of a model's family have a field."""
    return name in family_of_model(model_type).request.model_fields


def field_kinds() -> dict[str, FieldKind]:
    """The kind of every field that a request of some family has; of two families' kinds, the first one's."""
    kinds: dict[str, FieldKind] = {}
    for family in FAMILIES.values():
        for name in family.request.model_fields:
            kinds.setdefault(name, family.field_kinds[name])
    return kinds


def fields_of_kind(*kinds: FieldKind) -> frozenset[str]:
    """The names of all fields of these kinds."""
    return frozenset(name for name, kind in field_kinds().items() if kind in kinds)


def compared_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a canonical body by which people compare songs; None for one that was not sent."""
    family = family_of(body)
    fields = family.sent_fields(body)
    return {name: fields.get(name) for name in family.compared_fields}


def extension_only() -> frozenset[str]:
    """The fields that only extensions have."""
    common = {"mode", "source_song_id"}
    return frozenset(common.union(*(family.extension_only for family in FAMILIES.values())))


def start_fields() -> tuple[str, ...]:
    """The fields that say where an extension starts, as named placements do."""
    return tuple({family.start_field: None for family in FAMILIES.values()})


def start_field(model_type: str) -> str:
    """The field of a model's request that says where an extension starts."""
    return family_of_model(model_type).start_field


def returns_new_part(model_type: str) -> bool:
    """True if a model's extensions are only their new part, without the song that they extend."""
    return family_of_model(model_type).extension_result is ExtensionResult.NEW_PART


def field_fault(name: str, value: Any) -> str | None:
    """Describe what is wrong with one field's value; None if it is valid in a family that has the field."""
    having = [family.request for family in FAMILIES.values() if name in family.request.model_fields]
    faults = [request.field_fault(name, value) for request in having]
    if not faults or None in faults:
        return None
    return _with_all_models(faults[0] or "")


def place_names() -> tuple[str, ...]:
    """The names of all placements of an extension."""
    return tuple({name: None for family in FAMILIES.values() for name in family.places})


def place_at(model_type: str, mode: str, start: float | None) -> str | None:
    """The name of the placement that an extension has; None if it has none."""
    return family_of_model(model_type).place_at(mode, start)
