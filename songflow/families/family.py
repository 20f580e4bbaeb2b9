"""The base classes of a model family: its request, and what the rest of Songflow asks about it.

A family's *canonical body* is what the ledger stores, hashes and compares: `{envelope: fields}`, where the envelope
is the one top-level key that no other family uses. It is the same for every gateway. Where a gateway expects other
names on the wire, that gateway's file translates them (`songflow.gateways.service.Service.wire_body`).
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from songflow.errors import InvalidRequest
from songflow.families.field_types import FieldKind

__all__ = [
    "ExtensionResult",
    "Family",
    "Mode",
    "Model",
    "Product",
    "Request",
    "check_rules",
    "invalid_request",
    "length_rules",
    "plain_numbers",
    "refuse_overrides",
]

BETWEEN_FAULTS = "; "
"""Separates the faults of one validator that checks several fields together."""


class Mode(StrEnum):
    """How a generation uses a source song."""

    REGULAR = "regular"
    PRECEDE = "precede"
    CONTINUATION = "continuation"


class ExtensionResult(StrEnum):
    """What a generation that extends a song returns."""

    WHOLE_SONG = "whole song"
    NEW_PART = "new part"


class Product(StrEnum):
    """What a family's generations make."""

    SONGS = "songs"
    WHOLE_SONG = "whole song"  # of an extension that is only the new part
    LYRICS = "lyrics"


@dataclass(frozen=True, slots=True)
class Model:
    """A model's published facts: seconds of new music per generation, and its default price in units."""

    seconds: float
    price: float


class Request(BaseModel, ABC):
    """One paid generation. A family's request adds its own fields; unknown fields are refused.

    Every family has the four fields declared here, under these names. `model_type` is a model's wire name, and
    `source_song_id` the gateway's id of the song to extend.
    """

    # Built when the family is first used: a command uses one of them, and building takes up to 25 ms.
    model_config = ConfigDict(extra="forbid", frozen=True, use_enum_values=False, defer_build=True)

    allowed_values: ClassVar[Mapping[str, str]] = {}
    """What each field allows, as the end of an error message."""
    source_generation_field: ClassVar[str | None] = None
    """The field of the gateway's id of the generation that made the source song, in families that send it."""
    replaced_together: ClassVar[frozenset[str]] = frozenset()
    """Fields that make no sense beside another value of one of them: replacing one drops the others."""

    if TYPE_CHECKING:  # each family declares them as fields, with its own defaults and order
        prompt: str
        model_type: str
        mode: Mode
        source_song_id: str | None

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """Validate a request from outside data.

        Raises:
            InvalidRequest: names each wrong field, its value and what is allowed.
        """
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            raise invalid_request(*cls._describe_faults(error)) from None

    @classmethod
    def from_sent_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Rebuild a request from all fields it was sent with; an absent field was not sent.

        Raises:
            InvalidRequest: as `parse`.
        """
        return cls.parse(fields)

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Self:
        """Rebuild the request that makes this canonical body.

        Raises:
            InvalidRequest: as `parse`.
        """
        return cls.parse(cls.fields_of(body))

    @classmethod
    @abstractmethod
    def fields_of(cls, body: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that a canonical body was made from, as plain values; those with their default may be missing."""

    @abstractmethod
    def body(self) -> dict[str, Any]:
        """The canonical body."""

    @property
    @abstractmethod
    def model(self) -> Model:
        """The published facts of the request's model."""

    @property
    def start(self) -> float | None:
        """Where an extension's new part starts, in the family's own measure (see `Family.places`); None: not sent."""
        return None

    @property
    def end(self) -> float | None:
        """Where an extension's new part ends, in seconds of the source song; None: not part of the request."""
        return None

    @property
    @abstractmethod
    def is_random(self) -> bool:
        """True if sending the same request again makes another song (no seed is fixed)."""

    @property
    @abstractmethod
    def texts(self) -> tuple[str, ...]:
        """The free texts of the request, which make up nearly all of its size."""

    def fields_with(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of this request with some replaced, without the others of `replaced_together`."""
        fields = self.model_dump()
        if self.replaced_together & overrides.keys():
            fields = {name: value for name, value in fields.items() if name not in self.replaced_together}
        return {**fields, **overrides}

    def with_source(self, song_id: str, generation_id: str | None) -> Self:
        """The same extension of another song, which the gateway's generation of this id has made."""
        field = self.source_generation_field
        source = {"source_song_id": song_id} | ({} if field is None else {field: generation_id})
        return self.model_copy(update=source)

    def canonical(self) -> str:
        """The canonical body as one unambiguous line of JSON, as stored in the ledger."""
        return json.dumps(self.body(), ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @classmethod
    def field_fault(cls, name: str, value: Any) -> str | None:
        """Describe the fault of one field's value ("is 2: allowed is ..."); None if it is valid without the others."""
        try:
            cls.model_validate({"prompt": "a song", name: value})
        except ValidationError as error:
            for fault in error.errors(include_url=False):
                if fault["loc"] and fault["loc"][0] == name:
                    return cls._describe_fault(dict(fault)).removeprefix(name).strip()
        return None

    @classmethod
    def _describe_faults(cls, error: ValidationError) -> tuple[str, ...]:
        described: list[str] = []
        for fault in error.errors(include_url=False):
            text = cls._describe_fault(dict(fault))
            # A validator of the whole request reports all its faults as one error without a location.
            described += text.split(BETWEEN_FAULTS) if not fault["loc"] else [text]
        return tuple(described)

    @classmethod
    def _describe_fault(cls, fault: dict[str, Any]) -> str:
        place = ".".join(str(part) for part in fault["loc"])
        if not place:
            return str(fault["msg"]).removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            return f"{place} is not a field (there are: {', '.join(sorted(cls.model_fields))})"
        if fault["type"] == "missing":
            return f"{place} is required"
        return f"{place} is {_short(fault['input'])}: {cls.allowed_values.get(place, fault['msg'])}"


def check_rules(rules: Iterable[tuple[bool, str]]) -> None:
    """For validators of a whole request: raise a ValueError with the texts of the rules that are broken.

    Args:
        rules: Pairs of whether a rule is broken, and its text.
    """
    faults = [text for broken, text in rules if broken]
    if faults:
        raise ValueError(BETWEEN_FAULTS.join(faults))


def length_rules(request: Request, longest: Mapping[str, int], who: str) -> list[tuple[bool, str]]:
    """The rules of the longest texts, for `check_rules`.

    Args:
        longest: The most characters of each field that has a limit.
        who: What sets it, for the message.
    """
    lengths = {name: len(getattr(request, name)) for name in longest}
    return [
        (lengths[name] > most, f"{name} has {lengths[name]} characters: {who} takes {most}")
        for name, most in longest.items()
    ]


def refuse_overrides(overrides: Mapping[str, Any], *names: str) -> None:
    """Refuse fields that an extension is not given among its overrides.

    Raises:
        InvalidRequest: names the first of them.
    """
    for name in names:
        if name in overrides:
            raise invalid_request(
                f"{name} is not a field to override: an extension's song and mode are given separately"
            )


def invalid_request(*faults: str) -> InvalidRequest:
    """The error of a request with these faults, each of which begins with its field's name."""
    return InvalidRequest(
        f"The request is not valid: {'; '.join(faults)}.",
        faults=faults,
        next="correct it and run again; nothing was sent.",
    )


def _not_extended(*_: object, **__: object) -> Request:
    raise invalid_request("song_id is not that of a song that can be extended: extend one of its parts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A model family.

    Attributes:
        name: Its name in the ledger and in the gateways' files ("udio").
        request: The class of its requests.
        envelope: The top-level key of its canonical bodies.
        field_kinds: The kind of each of its request's fields.
        compared_fields: The fields by which people compare songs that they listen to.
        models: Its models by wire name. A wire name belongs to one family only: it decides the family of a request.
        hashed_fields: The fields that each hash version reads. A version is never edited: a field added later gets a
            new version, so that the hashes of songs already paid for do not change.
        places: Named placements of an extension: its mode and its `Request.start`.
        start_field: The request's field that holds `Request.start`.
        extension_only: The fields that only extensions have, besides mode and source.
        extension_result: What a generation that extends a song returns.
        extend: Builds the request that extends a song: `extend(parent, song_id, mode=, place=, overrides=)`.
        makes: What its generations make. Only families that make songs are chosen by people, with a model.
        joined_by: The family whose generations join a new part with the song that it extends, at gateways that do.
    """

    name: str
    request: type[Request]
    envelope: str
    field_kinds: Mapping[str, FieldKind]
    compared_fields: tuple[str, ...]
    models: Mapping[str, Model]
    hashed_fields: Mapping[int, tuple[str, ...]]
    places: Mapping[str, tuple[Mode, float]] = field(default_factory=dict)
    start_field: str = ""
    extension_result: ExtensionResult = ExtensionResult.WHOLE_SONG
    extend: Callable[..., Request] = _not_extended
    extension_only: tuple[str, ...] = ()
    makes: Product = Product.SONGS
    joined_by: str | None = None

    @property
    def starts_in_seconds(self) -> bool:
        """True if `Request.start` is in seconds of the source song, not a share of the whole one."""
        return not self.places

    @property
    def hash_version(self) -> int:
        """The newest hash version."""
        return max(self.hashed_fields)

    def sent_fields(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields of a canonical body."""
        fields: Mapping[str, Any] = body[self.envelope]
        return fields

    def body_hash(self, body: Mapping[str, Any], version: int | None = None) -> str:
        """The SHA-256 (hex) of a canonical body over the fields of a hash version (None: the newest)."""
        fields = self.sent_fields(body)
        names = self.hashed_fields[self.hash_version if version is None else version]
        hashed = {name: fields[name] for name in names if name in fields}
        line = json.dumps(plain_numbers(hashed), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(line.encode("utf-8", "surrogatepass")).hexdigest()

    def oldest_version(self, body: Mapping[str, Any]) -> int:
        """The oldest hash version that covers a body: every field it does not read has its default value.

        Keys made from that version stay the same when a later version adds a field.
        """
        fields = self.sent_fields(body)
        for version, known in sorted(self.hashed_fields.items()):
            if all(name in known or value == self._sent_default(name) for name, value in fields.items()):
                return version
        raise AssertionError("the newest version reads every field")

    def differing_fields(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
        """The fields in which two canonical bodies differ, as dotted names below the envelope."""
        flat_one, flat_other = _flat(self.sent_fields(one)), _flat(self.sent_fields(other))
        missing = object()
        return sorted(
            name
            for name in flat_one.keys() | flat_other.keys()
            if flat_one.get(name, missing) != flat_other.get(name, missing)
        )

    def placement(self, place: str) -> dict[str, Any]:
        """The request fields that a named placement sets."""
        mode, start = self.places[place]
        return {"mode": mode, self.start_field: start}

    def place_at(self, mode: str, start: float | None) -> str | None:
        """The name of a placement; None if it has none."""
        return next((name for name, place in self.places.items() if place == (mode, start)), None)

    def _sent_default(self, name: str) -> Any:
        return plain_numbers(self.request.model_fields[name].default)


def plain_numbers(value: Any) -> Any:
    """Turn floats without a fraction into integers, so that 0 and 0.0 are one body and one hash."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: plain_numbers(entry) for name, entry in value.items()}
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, entry in value.items():
        if isinstance(entry, Mapping):
            flat.update(_flat(entry, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = entry
    return flat
