"""The documented request body, validated strictly so that mistakes of a client are found here."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Share = float | None


@dataclass(frozen=True)
class Order:
    """What a POST asks for, of any model family: by this it is accepted and billed.

    Attributes:
        prompt: The text by which fault rules find it.
        source_song_id: The song that it extends.
        source_job_id: The generation that made that song, where the body names it.
        price: What the gateway bills; None: the model's usual price.
        seconds: The length of the new music, where the body asks for one.
        takes: How many songs, where the body asks for a number.
        joins: It concatenates that song, which is only a new part, with the song that it extends.
    """

    prompt: str
    model_type: str
    source_song_id: str | None = None
    source_job_id: str | None = None
    price: float | None = None
    seconds: float | None = None
    takes: int | None = None
    joins: bool = False


class Strict(BaseModel):
    """A body whose fields have the documented types, and no others."""

    # Built when first used: of many gateways one is asked.
    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, protected_namespaces=(), defer_build=True
    )


class Source(Strict):
    """What is extended."""

    source_type: Literal["song"] = "song"
    song_id: str = Field(min_length=1)


class Config(Strict):
    """How a generation relates to an existing song. `context_length` is in seconds."""

    mode: Literal["regular", "precede", "continuation"] = "regular"
    context_length: float | None = Field(default=None, ge=1, le=130)
    source: Source | None = None

    @model_validator(mode="after")
    def _source_where_needed(self) -> Self:
        if self.mode != "regular" and self.source is None:
            raise ValueError(f"mode {self.mode} needs a source with a song_id")
        return self


class GenParams(Strict):
    """The documented fields and their documented defaults."""

    prompt: str
    lyrics: str = ""
    lyrics_type: Literal["user", "instrumental", "generate"] = "generate"
    negative_prompt: str = ""
    model_type: Literal["udio32-v1.5", "udio130-v1.5"]
    seed: int = Field(default=-1, ge=-1)
    bypass_prompt_optimization: bool = False
    song_section_start: float = Field(default=0.0, ge=0, le=1)
    song_section_end: float = Field(default=1.0, ge=0, le=1)
    lyrics_placement_start: float | None = Field(default=None, ge=0, le=1)
    lyrics_placement_end: float | None = Field(default=None, ge=0, le=1)
    prompt_strength: float = Field(default=0.5, ge=0, le=1)
    clarity_strength: float = Field(default=0.25, ge=0, le=1)
    lyrics_strength: float = Field(default=0.5, ge=0, le=1)
    generation_quality: float = 0.75
    config: Config = Config()

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not self.prompt.strip() and not self.lyrics.strip():
            raise ValueError("prompt is required")
        if self.generation_quality not in (0.25, 0.5, 0.75, 1.0):
            raise ValueError("generation_quality must be one of 0.25, 0.5, 0.75, 1")
        return self


class Submission(Strict):
    """The whole body of a POST."""

    gen_params: GenParams


class InvalidBodyError(ValueError):
    """The body violates the documented contract; the message says where."""


def read_submission(body: Any) -> Order:
    """Validate a decoded JSON body. Raises InvalidBodyError, which names the first few wrong fields."""
    try:
        params = Submission.model_validate(body).gen_params
    except ValidationError as error:
        raise InvalidBodyError(problems_of(error)) from error
    config = params.config
    source = config.source if config.mode != "regular" else None
    return Order(params.prompt, params.model_type, source.song_id if source else None)


def problems_of(error: ValidationError) -> str:
    """The first few wrong fields of a body."""
    problems = [f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}" for item in error.errors()[:3]]
    return "; ".join(problems)


def fingerprint(authorization: str | None) -> str:
    """Identify a key on the bill without storing it; empty if no key was sent."""
    return sha256(authorization.encode()).hexdigest()[:12] if authorization else ""


def bearer(authorization: str | None) -> str | None:
    """The key of an `Authorization: Bearer` header, exactly as it was sent."""
    if authorization is None or not authorization.startswith("Bearer "):
        return None
    return authorization.removeprefix("Bearer ")
