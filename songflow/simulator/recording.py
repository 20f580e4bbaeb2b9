"""What a gateway answered, read from a report of `songflow doctor --report`."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from songflow.simulator import answers
from songflow.simulator.answers import Answer

_RAW_BODY = "x-songflow-raw-body"
# Those that describe the transfer are made anew.
_NOT_REPEATED = frozenset({"content-length", "transfer-encoding", "connection", "date", _RAW_BODY})
# The host of an address in a JSON text, with and without scheme; slashes may be escaped.
_HOST = re.compile(r"""(?:(https?):|(?<=["\s]))(\\?/\\?/)([^/\s"'\\<>?#]+)""", re.IGNORECASE)


class RecordedAnswer(BaseModel):
    """One answer, to a submit or to a fetch."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: str
    status: int | None = Field(default=None, ge=100, le=599)
    headers: dict[str, str] = {}
    body: str = ""

    def as_answer(self, netloc: str) -> Answer:
        """The same answer, with its addresses at `netloc`."""
        headers = {name.lower(): value for name, value in self.headers.items() if name.isascii()}
        raw = _raw(headers)
        if raw is None:
            headers.pop("content-encoding", None)  # the body was recorded without it
            raw = _HOST.sub(lambda host: f"{'http:' if host[1] else ''}{host[2]}{netloc}", self.body).encode(
                "utf-8", "surrogatepass"
            )
        kept = {name: value for name, value in headers.items() if name not in _NOT_REPEATED}
        return Answer(self.status or 200, raw, kept.pop("content-type", answers.JSON_TYPE), kept)


def _raw(headers: Mapping[str, str]) -> bytes | None:
    try:
        return base64.b64decode(headers[_RAW_BODY], validate=True)
    except (KeyError, binascii.Error):
        return None


class RecordedGeneration(BaseModel):
    """One POST and what followed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: str
    gateway: str = "custom"
    settings: dict[str, Any] = Field(default={}, description="Paths and shape of the gateway.")
    generation_id: str | None = None
    track_ids: tuple[str, ...] = ()
    answers: tuple[RecordedAnswer, ...] = ()

    def of_kind(self, *kinds: str) -> list[RecordedAnswer]:
        """Its answers to submits (submit), or to fetches (fetch, and poll where nothing was found), oldest first."""
        return [one for one in self.answers if one.kind in kinds and one.status is not None]

    @property
    def ids(self) -> set[str]:
        """The ids by which it is fetched."""
        return {one for one in (self.generation_id, *self.track_ids) if one}


class Replay(BaseModel):
    """The part of a report that can be played back, in the order of the requests."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal[1] = Field(alias="songflow_report")
    generations: tuple[RecordedGeneration, ...] = Field(min_length=1)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a report. Raises OSError, ValueError or pydantic.ValidationError."""
        found = cls.model_validate(json.loads(path.read_text(encoding="utf-8-sig")))
        sent = tuple(one for one in found.generations if one.answers or one.state != "unsent")
        if not sent:
            raise ValueError("it has no request that was sent")
        return found.model_copy(update={"generations": sent})
