"""Judgements as a file: what somebody said of songs on an exported page, to be taken into a ledger.

    {"songflow_judgements": 1, "by": "Ann", "judgements": [
      {"id": "0f8c6a52e1d94f7b", "at": "2026-11-28T16:00:00Z", "kind": "rating", "value": 4.5,
       "song": {"gateway": "simulator", "song_id": "1c0d...", "take": 0, "audio_sha256": "9a3f..."}}]}

Songs are named by what they are everywhere, never by the number of a row. A judgement taken in twice counts once, and
it does not matter in which order files arrive: the newest stands.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from songflow.catalog.judging import LONGEST_NOTES, checked_value
from songflow.errors import InputError
from songflow.ledger.judgements import JudgementKind
from songflow.ledger.rows import clean_text

__all__ = ["VERSION", "JudgedSong", "JudgementFile", "JudgementRecord", "read_judgement_file"]

VERSION = 1
"""The version of the format."""

_LARGEST = 64 * 1024 * 1024
_MOST = 500_000
_FUTURE = timedelta(days=1)
"""How far another clock may be ahead: a judgement of next year would stand against all that follow."""


def _not_of_the_future(at: datetime) -> datetime:
    if at > datetime.now(UTC) + _FUTURE:
        raise ValueError("it lies in the future")
    return at


_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
# The ledger has no other texts.
_Text = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(clean_text)]
_Name = Annotated[str, Field(min_length=1, max_length=255)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class JudgedSong(_Strict):
    """A song as any library knows it.

    By the hash of its audio, by its submission and take, or by its gateway and id there; give all that are known: the
    first that finds a stored song counts.
    """

    audio_sha256: _Hash | None = Field(
        None, description="SHA-256 of its audio without tags, as in the manifest."
    )
    submission: _Text | None = Field(None, description="The id of the submission that paid for it.")
    take: Annotated[int, Field(ge=0, le=1000)] | None = Field(None, description="Which take of it, from 0.")
    gateway: _Text | None = Field(None, description="The gateway that made it.")
    song_id: _Text | None = Field(None, description="Its id there.")
    title: Annotated[str, Field(max_length=500)] | None = Field(None, description="To name it to people.")

    @model_validator(mode="after")
    def _can_be_found(self) -> JudgedSong:
        by_take = self.submission is not None and self.take is not None
        by_id = self.gateway is not None and self.song_id is not None
        if not (self.audio_sha256 or by_take or by_id):
            raise ValueError("a song needs audio_sha256, submission and take, or gateway and song_id")
        return self

    @property
    def name(self) -> str:
        """What people call it."""
        return self.title or self.song_id or f"{self.submission or self.audio_sha256}"


class JudgementRecord(_Strict):
    """One judgement. To take one back, add another of the same kind with the value null."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")] = Field(
        description="Unique, such as a random UUID."
    )
    at: Annotated[AwareDatetime, AfterValidator(_not_of_the_future)] = Field(
        description="When it was made, with a time zone."
    )
    kind: JudgementKind = Field(description="rating, decision, notes or winner.")
    value: Annotated[float, Field(strict=True)] | Annotated[str, Field(max_length=LONGEST_NOTES)] | None = (
        Field(None, description="0..5 for a rating, keep or discard, a text for notes; null takes it away.")
    )
    song: JudgedSong = Field(description="The song; of a comparison, the one that won.")
    other_song: JudgedSong | None = Field(None, description="Of a comparison, the song that lost.")
    by: _Name | None = Field(None, description="Who made it, if not the file's person.")

    @model_validator(mode="after")
    def _makes_sense(self) -> JudgementRecord:
        if (self.kind is JudgementKind.WINNER) != (self.other_song is not None):
            raise ValueError("other_song belongs to a winner, and only to one")
        try:
            checked_value(self.kind, self.value)
        except InputError as error:
            raise ValueError(error.message.rstrip(".")) from None
        return self


class JudgementFile(_Strict):
    """A file of judgements, version 1."""

    songflow_judgements: Literal[1] = Field(description="The version of the format.")
    by: _Name | None = Field(None, description="Who made the judgements.")
    judgements: Annotated[list[JudgementRecord], Field(max_length=_MOST)]


def read_judgement_file(path: Path) -> JudgementFile:
    """Read and check a file of judgements.

    Raises:
        InputError: it cannot be read, is no such file, or is of another version; the first fault is named.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise _refused(path, f"it has more than {_LARGEST >> 20} MiB")
        found: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise _refused(path, error.strerror or str(error)) from None
    except (ValueError, RecursionError):
        raise _refused(path, "it is not JSON") from None
    if not isinstance(found, dict) or "songflow_judgements" not in found:
        raise _refused(path, "it is no file of judgements")
    if found["songflow_judgements"] != VERSION:
        raise _refused(path, "it is of another version of Songflow")
    try:
        return JudgementFile.model_validate(found)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in fault["loc"])[:100]
        raise _refused(path, f"{place}: {fault['msg'].removeprefix('Value error, ')}") from None


def _refused(path: Path, why: str) -> InputError:
    return InputError(
        f"{path} cannot be taken in: {why.rstrip('.')}.",
        next="save it again from the page; nothing was changed.",
    )
