"""The registry of model families: finds a request's family by its model, and a stored body's by its envelope.

To add a family, write its file beside this one, list it here, and add a service for it to the gateways that sell it.
Other packages add theirs by an entry point of the group `songflow.families` (docs/add-a-gateway.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Any

from songflow.entry_points import Registry
from songflow.errors import InvalidRequest
from songflow.families.ace_step import ACE_STEP
from songflow.families.family import (
    ExtensionResult,
    Family,
    Mode,
    Model,
    Product,
    Request,
    invalid_request,
)
from songflow.families.field_types import FieldKind
from songflow.families.lyrics import LYRICS
from songflow.families.suno import SUNO
from songflow.families.suno_join import SUNO_JOIN
from songflow.families.udio import UDIO, SongRequest

__all__ = [
    "FAMILIES",
    "SHORT_NAMES",
    "SongRequest",
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
    "fields_of_bodies",
    "fields_of_kind",
    "has_field",
    "join_request",
    "lyrics_request",
    "makes",
    "models",
    "models_without_songs",
    "oldest_version",
    "parse_request",
    "place_at",
    "place_names",
    "priced_models",
    "request_fields",
    "request_of",
    "returns_new_part",
    "sent_fields",
    "song_families",
    "source_fields",
    "start_field",
    "start_fields",
    "starts_in_seconds",
    "wire_name",
]


def _objection(family: Family, others: Mapping[str, Family]) -> str | None:
    """Why a family cannot stand beside others: a body's envelope and a model's name decide the family."""
    for other in others.values():
        shared = ({family.envelope} & {other.envelope}) | (family.models.keys() & other.models.keys())
        if shared:
            return f"{min(shared)} belongs to the family {other.name}"
    return None


FAMILIES: Registry[Family] = Registry(
    "songflow.families", Family, (UDIO, SUNO, ACE_STEP, SUNO_JOIN, LYRICS), objection=_objection
)
"""The families by name, ours and those of other packages; the first is that of a request that names no model."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_SHORTER_THAN_ASKED_SECONDS = 0.5

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


def song_families() -> Iterator[Family]:
    """The families that make songs. What people choose and compare is theirs."""
    return (family for family in FAMILIES.values() if family.makes is Product.SONGS)


def models() -> dict[str, Model]:
    """The models of all families that make songs, by wire name."""
    return {name: model for family in song_families() for name, model in family.models.items()}


def models_without_songs() -> dict[str, Model]:
    """What else is paid for under a name of its own: no model that makes songs, and its generations are no songs."""
    return {
        name: model
        for family in FAMILIES.values()
        if family.makes is not Product.SONGS
        for name, model in family.models.items()
    }


def priced_models() -> dict[str, Model]:
    """Everything that has a price, by name."""
    return models() | models_without_songs()


def makes(model_type: str) -> Product:
    """What the generations of a model make."""
    return family_of_model(model_type).makes


def lyrics_request(prompt: str, model_type: str | None = None) -> Request:
    """The request for lyrics.

    Args:
        prompt: What they are about.
        model_type: Whose generator is asked (None: the first).

    Raises:
        InvalidRequest: the prompt is blank, or there is no such model.
    """
    family = next(family for family in FAMILIES.values() if family.makes is Product.LYRICS)
    given = {} if model_type is None else {"model_type": model_type}
    return family.request.parse({"prompt": prompt, **given})


def join_request(model_type: str, song_id: str) -> Request | None:
    """The request that lets the gateway join a new part with its source; None if a model's family has none.

    Args:
        model_type: The model that made the new part.
        song_id: The gateway's id of the new part.
    """
    joined_by = family_of_model(model_type).joined_by
    return None if joined_by is None else FAMILIES[joined_by].request.parse({"source_song_id": song_id})


_MISSING_FAMILY = (
    "update Songflow to the version that made it, or install the package that brings the family."
)


def family_of_model(model_type: str) -> Family:
    """The family of a model; that of an unknown name is the first, whose request names the models that there are."""
    return next(_with_model(FAMILIES.values(), model_type), next(song_families()))


def _with_model(families: Iterable[Family], model_type: object) -> Iterator[Family]:
    return (family for family in families if isinstance(model_type, str) and model_type in family.models)


def family_that_has(model_type: str) -> Family:
    """The family of a stored model name.

    Raises:
        InvalidRequest: this version knows no such model.
    """
    for family in _with_model(FAMILIES.values(), model_type):
        return family
    raise InvalidRequest(
        f"The model {model_type!r} belongs to no model family that this version of Songflow knows.",
        next=_MISSING_FAMILY,
    )


def family_of_fields(fields: Mapping[str, Any]) -> Family:
    """The family of a request that is not built yet, by its `model_type`."""
    return next(_with_model(song_families(), fields.get("model_type")), next(song_families()))


def family_of(body: Mapping[str, Any]) -> Family:
    """The family of a canonical body.

    Raises:
        InvalidRequest: it belongs to no family that this version knows.
    """
    family = _installed_family_of(body)
    if family is not None:
        return family
    raise InvalidRequest(
        "The request belongs to no model family that this version of Songflow knows.",
        next=_MISSING_FAMILY,
    )


def _installed_family_of(body: Mapping[str, Any]) -> Family | None:
    return next((family for family in FAMILIES.values() if family.envelope in body), None)


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
    first = next(song_families())
    return fault.replace(f"allowed are {', '.join(first.models)}", f"allowed are {', '.join(models())}")


def request_of(body: Mapping[str, Any]) -> Request:
    """Rebuild the request that makes a canonical body.

    Raises:
        InvalidRequest: the body is not valid, or of no known family.
    """
    return family_of(body).request.from_body(body)


def fields_of_bodies(bodies: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every field of the requests that make canonical bodies, as plain values, with `family`, the family's name.

    A body of a family that is not installed has none. Unlike `request_of`, it does not validate the bodies, which takes
    most of the time where many are read.
    """
    families: dict[frozenset[str], Family | None] = {}
    for body in bodies:
        envelope = frozenset(body)
        if envelope not in families:
            families[envelope] = _installed_family_of(body)
        family = families[envelope]
        yield (
            {}
            if family is None
            else {**_defaults(family.request), **family.request.fields_of(body), "family": family.name}
        )


@cache
def _defaults(request: type[Request]) -> dict[str, Any]:
    defaults = (
        (name, field.default) for name, field in request.model_fields.items() if not field.is_required()
    )
    return {name: value.value if isinstance(value, Enum) else value for name, value in defaults}


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
    """Check where an extension of a song of this length (None: unknown) begins and ends.

    Only models that begin at a second are checked. A gateway would take such a request, and bill it.

    Raises:
        InvalidRequest: it begins behind the song's end, or its new part would not go beyond it.
    """
    family, start, end = family_of_model(request.model_type), request.start, request.end
    if seconds is None or start is None or not family.starts_in_seconds:
        return
    own_part = family.extension_result is ExtensionResult.NEW_PART
    # A whole song that was to have 60 s may have a few milliseconds less.
    if start > seconds + (0.0 if own_part else _SHORTER_THAN_ASKED_SECONDS):
        song = "the song's own part is" if own_part else "the song is"
        counted = " (seconds count in its own part)" if own_part else ""
        raise invalid_request(f"{family.start_field} is {start:g} s, and {song} {seconds:g} s long{counted}")
    if end is not None and end <= seconds:
        raise invalid_request(
            f"{family.start_field} is {start:g} s, and the new part ends at {end:g} s of a song of {seconds:g} s: "
            "nothing would be added"
        )


def check_extension(
    song_id: str, *, mode: Mode | str | None, place: str | None, overrides: Mapping[str, Any]
) -> None:
    """Check an extension of a song whose own model is not known yet: some family must be able to make it.

    Raises:
        InvalidRequest: of the family of the model that is given, else of the first that has all of the fields.
    """
    given = overrides.get("model_type")
    families = list(song_families()) if given is None else [family_of_fields(overrides)]
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
    names = {name: None for family in song_families() for name in family.request.model_fields}
    return tuple(names)


def source_fields() -> frozenset[str]:
    """The fields that name the song to extend and where it comes from."""
    more = {family.request.source_generation_field for family in song_families()}
    return frozenset({"source_song_id", *(name for name in more if name is not None)})


def has_field(model_type: str, name: str) -> bool:
    """True if the requests of a model's family have a field."""
    return name in family_of_model(model_type).request.model_fields


def field_kinds() -> dict[str, FieldKind]:
    """The kind of every field that a request of some family has; of two families' kinds, the first one's."""
    kinds: dict[str, FieldKind] = {}
    for family in song_families():
        for name in family.request.model_fields:
            kinds.setdefault(name, family.field_kinds[name])
    return kinds


def fields_of_kind(*kinds: FieldKind) -> frozenset[str]:
    """The names of all fields of these kinds."""
    return frozenset(name for name, kind in field_kinds().items() if kind in kinds)


def compared_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a canonical body by which people compare songs; None for one that was not sent.

    A body of a family that is not installed has none.
    """
    family = _installed_family_of(body)
    if family is None:
        return {}
    fields = family.sent_fields(body)
    return {name: fields.get(name) for name in family.compared_fields}


def extension_only() -> frozenset[str]:
    """The fields that only extensions have."""
    common = {"mode", "source_song_id"}
    return frozenset(common.union(*(family.extension_only for family in song_families())))


def start_fields() -> tuple[str, ...]:
    """The fields that say where an extension starts, as named placements do."""
    return tuple({family.start_field: None for family in song_families()})


def start_field(model_type: str) -> str:
    """The field of a model's request that says where an extension starts."""
    return family_of_model(model_type).start_field


def starts_in_seconds(model_type: str) -> bool:
    """True if a model's extensions begin at a second of their source, not at a share of the whole song."""
    return family_of_model(model_type).starts_in_seconds


def returns_new_part(model_type: str) -> bool:
    """True if a model's extensions are only their new part, without the song that they extend."""
    return family_of_model(model_type).extension_result is ExtensionResult.NEW_PART


def field_fault(name: str, value: Any) -> str | None:
    """Describe what is wrong with one field's value; None if it is valid in a family that has the field."""
    having = [family.request for family in song_families() if name in family.request.model_fields]
    faults = [request.field_fault(name, value) for request in having]
    if not faults or None in faults:
        return None
    return _with_all_models(faults[0] or "")


def place_names() -> tuple[str, ...]:
    """The names of all placements of an extension."""
    return tuple({name: None for family in song_families() for name in family.places})


def place_at(model_type: str, mode: str, start: float | None) -> str | None:
    """The name of the placement that an extension has; None if it has none."""
    return family_of_model(model_type).place_at(mode, start)
