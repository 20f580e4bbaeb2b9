"""What is asked of a gateway: one validated request, its wire body and its stable hash.

The fields, ranges and defaults are those of the two gateways' published tables (Udio `gen_params`). A field
with a default is always sent, because one gateway's table marks nearly all of them as required.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator

from songflow.errors import InvalidRequest

__all__ = ["HASH_VERSION", "MODELS", "PLACES", "LyricsType", "Mode", "Model", "SongRequest", "body_hash"]


class Mode(StrEnum):
    """How a generation uses a source song."""

    REGULAR = "regular"
    PRECEDE = "precede"
    CONTINUATION = "continuation"


class LyricsType(StrEnum):
    """Where the sung words come from."""

    USER = "user"
    INSTRUMENTAL = "instrumental"
    GENERATE = "generate"


@dataclass(frozen=True, slots=True)
class Model:
    """What the gateways publish of a model: seconds of new music, and its default price in units."""

    seconds: float
    price: float


MODELS: Mapping[str, Model] = {
    "udio32-v1.5": Model(seconds=32.81, price=1.0),
    "udio130-v1.5": Model(seconds=130.0, price=2.0),
}

PLACES: Mapping[str, tuple[Mode, float]] = {
    "intro": (Mode.PRECEDE, 0.0),
    "front": (Mode.PRECEDE, 0.4),
    "back": (Mode.CONTINUATION, 0.4),
    "outro": (Mode.CONTINUATION, 0.9),
}
"""Named placements of an extension: its mode and its `song_section_start`."""

DEFAULT_CONTEXT_LENGTH = 130.0
HASH_VERSION = 1
MAX_SEED = 2**63 - 1
"""The largest whole number that databases, frames and the relays' own code hold."""

_BETWEEN_FAULTS = "; "
_QUALITIES = (0.25, 0.5, 0.75, 1.0)


def _one_of(*allowed: str | float) -> AfterValidator:
    def check(value: Any) -> Any:
        if value not in allowed:
            raise ValueError("not one of those allowed")
        return value

    return AfterValidator(check)


def _check_not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("blank")
    return text


def _check_unicode(text: str) -> str:
    text.encode()  # a UnicodeEncodeError is a ValueError
    return text


# Strict: a string or a bool is not a number here, whatever it looks like.
Fraction = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]
Quality = Annotated[float, Strict(), _one_of(*_QUALITIES)]
ModelName = Annotated[str, Strict(), _one_of(*MODELS)]
Text = Annotated[str, Strict(), AfterValidator(_check_unicode)]
NotBlank = Annotated[Text, AfterValidator(_check_not_blank)]


class SongRequest(BaseModel):
    """One paid generation, as the gateways' `gen_params` describe it.

    Unknown fields are refused. `parse` is the way in for outside data: it raises `InvalidRequest` with every
    fault named. Fractions are 0..1; `context_length` is in seconds, 1..130.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_enum_values=False)

    prompt: NotBlank = Field(description="What the song is like; with lyrics of your own, tags of its style.")
    lyrics: Text = Field("", description="The words to sing; only with lyrics_type 'user'.")
    lyrics_type: LyricsType = Field(
        LyricsType.GENERATE,
        description="'user' sings `lyrics`, 'generate' invents words, 'instrumental' none.",
    )
    negative_prompt: Text = Field("", description="What the song should not have.")
    model_type: ModelName = Field(
        "udio32-v1.5", description="udio32-v1.5 (32.81 s) or udio130-v1.5 (130 s, twice the price)."
    )
    seed: Annotated[int, Strict()] = Field(
        -1, ge=-1, le=MAX_SEED, description="A seed from 0, or -1 for a random one."
    )
    bypass_prompt_optimization: Annotated[bool, Strict()] = Field(
        False, description="True sends the prompt to the model as it is."
    )
    song_section_start: Fraction = Field(
        0.0, description="Where in the whole song the new part starts, 0..1."
    )
    song_section_end: Fraction | None = Field(
        1.0, description="Where in the whole song the new part ends, 0..1; null leaves it out of the body."
    )
    lyrics_placement_start: Fraction | None = Field(None, description="Where the words start, 0..1.")
    lyrics_placement_end: Fraction | None = Field(None, description="Where the words end, 0..1.")
    prompt_strength: Fraction = Field(0.5, description="How closely the prompt is followed, 0..1.")
    clarity_strength: Fraction = Field(0.25, description="Clarity and separation of instruments, 0..1.")
    lyrics_strength: Fraction = Field(0.5, description="How closely the words are followed, 0..1.")
    generation_quality: Quality = Field(
        0.75, description="0.25, 0.5, 0.75 or 1; higher is better and slower."
    )
    mode: Mode = Field(
        Mode.REGULAR, description="'regular', or 'precede' / 'continuation' of the source song."
    )
    context_length: Annotated[float, Strict()] | None = Field(
        None,
        ge=1,
        le=130,
        description="Seconds of the source that the model hears, 1..130 (130 when left out).",
    )
    source_song_id: NotBlank | None = Field(None, description="The gateway's id of the song to extend.")

    @model_validator(mode="before")
    @classmethod
    def _fill_dependent_defaults(cls, data: Any) -> Any:
        """Lyrics without a type mean 'user'; an extension without a context length means 130 s."""
        if not isinstance(data, Mapping):
            return data
        filled = dict(data)
        if filled.get("lyrics_type") is None:
            filled["lyrics_type"] = LyricsType.USER if filled.get("lyrics") else LyricsType.GENERATE
        if filled.get("context_length") is None and filled.get("mode") in (Mode.PRECEDE, Mode.CONTINUATION):
            filled["context_length"] = DEFAULT_CONTEXT_LENGTH
        return filled

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        faults = [text for wrong, text in _rules(self) if wrong]
        if faults:
            raise ValueError(_BETWEEN_FAULTS.join(faults))
        return self

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Self:
        """A request from outside data.

        Raises:
            InvalidRequest: names each wrong field, its value and what is allowed.
        """
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            faults = describe_faults(error)
            raise InvalidRequest(
                f"The request is not valid: {'; '.join(faults)}.",
                faults=faults,
                next="correct it and run again; nothing was sent.",
            ) from None

    @property
    def model(self) -> Model:
        """What is known of the request's model."""
        return MODELS[self.model_type]

    def body(self) -> dict[str, Any]:
        """The gateways' wire body in the order of their documents; whole numbers are integers."""
        config: dict[str, Any] = {"mode": self.mode.value}
        if self.mode is not Mode.REGULAR:
            config["context_length"] = self.context_length
            config["source"] = {"source_type": "song", "song_id": self.source_song_id}
        params: dict[str, Any] = {name: getattr(self, name) for name in _SENT_FIELDS}
        params["lyrics_type"] = self.lyrics_type.value
        sent = {name: value for name, value in params.items() if value is not None}
        plain: dict[str, Any] = _plain_numbers({"gen_params": {**sent, "config": config}})
        return plain

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Self:
        """The request that makes this wire body; a `song_section_end` that was not sent stays unsent."""
        params = dict(body["gen_params"])
        config = dict(params.pop("config"))
        source = config.get("source") or {}
        return cls.parse(
            {
                "song_section_end": None,
                **params,
                "mode": config["mode"],
                "context_length": config.get("context_length"),
                "source_song_id": source.get("song_id"),
            }
        )

    def canonical(self) -> str:
        """The wire body as one unambiguous line of JSON: what the ledger stores and the hash reads."""
        return json.dumps(self.body(), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


_SENT_FIELDS = (
    "prompt",
    "lyrics",
    "lyrics_type",
    "bypass_prompt_optimization",
    "seed",
    "song_section_start",
    "song_section_end",
    "lyrics_placement_start",
    "lyrics_placement_end",
    "prompt_strength",
    "clarity_strength",
    "lyrics_strength",
    "generation_quality",
    "negative_prompt",
    "model_type",
)

# The fields each hash version reads. A version is never edited: a field added later gets a new version, so
# that the hashes of songs already paid for stay what they are.
_HASHED_FIELDS: Mapping[int, tuple[str, ...]] = {1: (*_SENT_FIELDS, "config")}


def body_hash(body: Mapping[str, Any], version: int = HASH_VERSION) -> str:
    """The sha256 (hex) of a wire body over the fields of that hash version."""
    params = body["gen_params"]
    hashed = {name: params[name] for name in _HASHED_FIELDS[version] if name in params}
    line = json.dumps(_plain_numbers(hashed), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(line.encode("utf-8", "surrogatepass")).hexdigest()


def oldest_version(body: Mapping[str, Any]) -> int:
    """The oldest hash version that tells all of a body: whatever it does not read has its default there.

    Keys made from that version stay what they are when a later version adds a field.
    """
    params = body["gen_params"]
    for version, known in sorted(_HASHED_FIELDS.items()):
        if all(name in known or value == _sent_default(name) for name, value in params.items()):
            return version
    raise AssertionError("the newest version reads every field")


def field_fault(name: str, value: Any) -> str | None:
    """What is wrong with one field's value by itself ("is 2: allowed is a number from 0 to 1"), or None."""
    try:
        SongRequest.model_validate({"prompt": "a song", name: value})
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            if fault["loc"] and fault["loc"][0] == name:
                return _describe_fault(dict(fault)).removeprefix(name).strip()
    return None


def differing_fields(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The fields in which two wire bodies differ, as dotted names below `gen_params`."""
    flat_one, flat_other = _flat(one["gen_params"]), _flat(other["gen_params"])
    missing = object()
    return sorted(
        name
        for name in flat_one.keys() | flat_other.keys()
        if flat_one.get(name, missing) != flat_other.get(name, missing)
    )


def describe_faults(error: ValidationError) -> tuple[str, ...]:
    """Each fault of a pydantic error in a person's words: field, value, what is allowed."""
    described: list[str] = []
    for fault in error.errors(include_url=False):
        # What concerns several fields comes as one error of the whole (`_check_together`).
        said = _describe_fault(dict(fault))
        described += said.split(_BETWEEN_FAULTS) if not fault["loc"] else [said]
    return tuple(described)


def _describe_fault(fault: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    if not place:
        return str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        return f"{place} is not a field (there are: {', '.join(sorted(SongRequest.model_fields))})"
    if fault["type"] == "missing":
        return f"{place} is required"
    return f"{place} is {_short(fault['input'])}: {_ALLOWED.get(place, fault['msg'])}"


_FRACTION_RANGE = "allowed is a number from 0 to 1"
_ALLOWED: Mapping[str, str] = {
    "prompt": "allowed is a text that is not blank, in valid Unicode",
    "lyrics": "allowed is a text in valid Unicode",
    "negative_prompt": "allowed is a text in valid Unicode",
    "source_song_id": "allowed is a text that is not blank, in valid Unicode",
    "model_type": f"allowed are {', '.join(MODELS)}",
    "lyrics_type": "allowed are user, instrumental, generate",
    "mode": "allowed are regular, precede, continuation",
    "seed": f"allowed is -1 (random) or a whole number from 0 to {MAX_SEED}",
    "bypass_prompt_optimization": "allowed are true and false",
    "context_length": "allowed is a number of seconds from 1 to 130",
    "generation_quality": "allowed are 0.25, 0.5, 0.75, 1",
    **dict.fromkeys(
        (
            "song_section_start",
            "song_section_end",
            "lyrics_placement_start",
            "lyrics_placement_end",
            "prompt_strength",
            "clarity_strength",
            "lyrics_strength",
        ),
        _FRACTION_RANGE,
    ),
}


def _rules(request: SongRequest) -> list[tuple[bool, str]]:
    """What single fields cannot say: (is it broken, in a person's words)."""
    extends = request.mode is not Mode.REGULAR
    start, end = request.song_section_start, request.song_section_end
    first, last = request.lyrics_placement_start, request.lyrics_placement_end
    return [
        (
            request.lyrics_type is LyricsType.USER and not request.lyrics.strip(),
            "lyrics is required with lyrics_type user",
        ),
        (
            request.lyrics_type is not LyricsType.USER and bool(request.lyrics),
            f"lyrics is forbidden with lyrics_type {request.lyrics_type} (words of your own: user)",
        ),
        (
            extends and request.source_song_id is None,
            f"source_song_id is required with mode {request.mode}",
        ),
        (
            not extends and request.source_song_id is not None,
            "source_song_id is forbidden with mode regular (use precede or continuation)",
        ),
        (
            not extends and request.context_length is not None,
            "context_length is forbidden with mode regular (it belongs to precede and continuation)",
        ),
        (
            end is not None and start >= end,
            f"song_section_start is {start:g}: "
            f"allowed is a number below song_section_end, which is {end or 0:g}",
        ),
        (
            first is not None and last is not None and first >= last,
            f"lyrics_placement_start is {first or 0:g}: "
            f"allowed is a number below lyrics_placement_end, which is {last or 0:g}",
        ),
    ]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _plain_numbers(value: Any) -> Any:
    """Integers where a float has no fraction, so that 0 and 0.0 are one body and one hash."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _plain_numbers(entry) for name, entry in value.items()}
    return value


def _sent_default(name: str) -> Any:
    return _plain_numbers(SongRequest.model_fields[name].default)


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, entry in value.items():
        if isinstance(entry, Mapping):
            flat.update(_flat(entry, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = entry
    return flat
