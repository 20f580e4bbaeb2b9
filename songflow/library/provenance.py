"""Provenance of a song: its ledger row, written into and read from the song file's ID3 tag.

Three user texts (TXXX) of the tag hold it, beside the frames that every player shows:

    songflow            one line of JSON: a `Provenance`
    songflow request    the canonical wire body of the request, as in the ledger
    songflow payload    the gateway's complete data of this take, as JSON (omitted if large)

They contain no gateway key and no fingerprint of one. Files may come from strangers, so every field that is read is
validated, and every text, number and time has bounds that any ledger accepts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from songflow.audio.decoding import AudioFacts
from songflow.audio.id3 import Picture, Tag, read_tag
from songflow.errors import InvalidRequest
from songflow.families.family import Request
from songflow.families.registry import body_hash, request_of
from songflow.gateways import DIALECTS
from songflow.gateways.redaction import without_keys
from songflow.ledger.rows import SourceFound, clean_text
from songflow.ledger.songs import Origin
from songflow.runtime.records import plain

__all__ = [
    "MEASURES",
    "AudioRecord",
    "NoProvenance",
    "Provenance",
    "SongMetadata",
    "provenance_of",
    "read_provenance",
    "tag_of",
]

MEASURES = ("seconds", "sample_rate", "channels", "peak", "rms_db")
"""Fields of `AudioFacts` that the ledger and the song's file store."""

PROVENANCE, REQUEST, PAYLOAD = "songflow", "songflow request", "songflow payload"
MAX_PAYLOAD_BYTES = 64 * 1024
# Limits for the frames that are copied from the tag the gateway wrote.
_KEPT_FRAMES, _KEPT_LENGTH = 64, 4096
# A machine without a battery for its clock is in 1970 until somebody sets it; every ledger takes these years.
_EARLIEST, _LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)


class NoProvenance(Exception):
    """The file has no provenance of Songflow, or an invalid one; the message gives the reason."""


def _clean(text: str) -> str:
    return clean_text(text) or ""


def _in_range(value: datetime) -> datetime:
    if not _EARLIEST <= value <= _LATEST:
        raise ValueError("not between the years 1900 and 3000")
    return value.astimezone(UTC)


def _printable(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("not a printable text")
    return text


Text = Annotated[str, AfterValidator(_clean), Field(max_length=1_000_000)]
Id = Annotated[str, AfterValidator(_clean), Field(max_length=1000)]
Name = Annotated[str, AfterValidator(_printable), Field(max_length=255)]
RunId = Annotated[str, AfterValidator(_printable), Field(max_length=64)]
Time = Annotated[AwareDatetime, AfterValidator(_in_range)]
Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=0, le=1_000_000)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    # Later versions may add fields; a changed meaning needs a new version number.
    model_config = ConfigDict(frozen=True, extra="ignore")


class SubmissionRecord(_Part):
    """The paid POST; `paths` are the paths and shape of a custom gateway, None for a known one."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    ordinal: Annotated[int, Field(ge=1, le=1_000_000)]
    gateway: Annotated[Name, Field(max_length=64)]
    base_url: Annotated[str, AfterValidator(_printable), Field(max_length=2000)]
    account: Name
    paths: Mapping[str, Annotated[str, Field(max_length=2000)]] | None = None
    price: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
    generation_id: Id | None = None
    track_ids: Annotated[tuple[Id, ...], Field(max_length=100)] = ()
    flow_run_id: RunId | None = None
    root_flow_run_id: RunId | None = None
    task_run_id: RunId | None = None
    intended_at: Time
    sending_at: Time | None = None
    answered_at: Time | None = None
    running_at: Time | None = None
    settled_at: Time | None = None


class SongRecord(_Part):
    """One take, as the gateway announced it; its parent is named in the request."""

    take: Whole
    song_id: Id | None = None
    title: Text | None = None
    tags: Annotated[tuple[Text, ...], Field(max_length=1000)] = ()
    lyrics: Text | None = None
    announced_seconds: Seconds | None = None
    song_url: Text | None = None
    image_url: Text | None = None
    root_song_id: Id | None = None
    depth: Whole = 0
    announced_at: Time
    stored_at: Time


class AudioRecord(_Part):
    """SHA-256 (hex) of the audio without its tags, and its measures (see `AudioFacts`)."""

    sha256: Sha256
    seconds: Seconds | None = None
    sample_rate: Whole | None = None
    channels: Whole | None = None
    peak: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None
    rms_db: Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)] | None = None


class SourceRecord(_Part):
    """How much of its source an extension contains (see `SourceFound`)."""

    source_score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    source_at: Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)] | None = None
    added_seconds: Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)] | None = None
    note: Text | None = None


class Provenance(_Part):
    """Content of the user text `songflow`; `version` is the format's."""

    version: Literal[1] = 1
    key: Name
    hash_version: Whole
    submission: SubmissionRecord
    song: SongRecord
    audio: AudioRecord
    source: SourceRecord = SourceRecord()


@dataclass(frozen=True, slots=True)
class SongMetadata:
    """Validated metadata of a song file: provenance, request, and the gateway's payload ("{}" if omitted)."""

    provenance: Provenance
    request: Request
    payload: str


# --- writing ----------------------------------------------------------------------------------------------------


def provenance_of(
    origin: Origin,
    *,
    audio_sha256: str,
    facts: AudioFacts | None,
    source: SourceFound | None,
    stored_at: datetime,
) -> Provenance:
    """Build the provenance of a take that is about to be stored."""
    song, paid, generation = origin.song, origin.submission, origin.generation
    measured = {name: getattr(facts, name) for name in MEASURES} if facts else {}
    # The values come from our own rows: validation is skipped.
    return Provenance.model_construct(
        key=generation.key,
        hash_version=generation.hash_version,
        submission=SubmissionRecord.model_construct(
            **{name: getattr(paid, name) for name in _OF_SUBMISSION},
            paths=_paths(paid.gateway, paid.dialect),
            flow_run_id=paid.runs.flow_run_id,
            root_flow_run_id=paid.runs.root_flow_run_id,
            task_run_id=paid.runs.task_run_id,
        ),
        song=SongRecord.model_construct(
            **{name: getattr(song, name) for name in _OF_SONG}, stored_at=stored_at
        ),
        audio=AudioRecord.model_construct(sha256=audio_sha256, **measured),
        source=SourceRecord.model_construct(**plain(source or SourceFound())),
    )


_OF_SUBMISSION = (
    "id", "ordinal", "gateway", "base_url", "account", "price", "generation_id", "track_ids",
    "intended_at", "sending_at", "answered_at", "running_at", "settled_at",
)  # fmt: skip
_OF_SONG = (
    "take", "song_id", "title", "tags", "lyrics", "announced_seconds", "song_url", "image_url",
    "root_song_id", "depth", "announced_at",
)  # fmt: skip
_PATHS = ("submit_path", "fetch_path", "shape")


def _paths(gateway: str, dialect: str) -> dict[str, str] | None:
    """Paths and shape of a custom gateway; None for a known one."""
    if gateway in DIALECTS:
        return None
    stored = json.loads(dialect)
    return {name: str(stored[name]) for name in _PATHS}


def tag_of(provenance: Provenance, origin: Origin, cover: Picture | None, found: Tag) -> Tag:
    """Build a song's tag: provenance, frames that players show, and other frames of the gateway's tag."""
    song = provenance.song
    facts = {"TIT2": song.title, "TPE1": _artist(origin.payload), "TCON": ", ".join(song.tags)}
    shown = {name: text for name, text in facts.items() if text}
    shown["TDRC"] = f"{provenance.submission.intended_at:%Y-%m-%dT%H:%M:%S}"
    texts = {
        PROVENANCE: json.dumps(provenance.model_dump(mode="json"), separators=(",", ":")),
        REQUEST: origin.generation.body,
    }
    if len(origin.payload.encode()) <= MAX_PAYLOAD_BYTES:
        texts[PAYLOAD] = origin.payload
    return Tag(
        texts={**_kept(found.texts), **shown},
        own={**_kept(found.own), **texts},
        comments=_kept(found.comments),
        lyrics=song.lyrics or None,
        picture=cover,
    )


def _kept(found: Mapping[str, str]) -> dict[str, str]:
    """Frames to copy from the gateway's tag: short ones, none of ours, with any gateway key removed."""
    return {
        without_keys(name): without_keys(text)
        for name, text in list(found.items())[:_KEPT_FRAMES]
        if len(name) + len(text) <= _KEPT_LENGTH and not name.lower().startswith(PROVENANCE)
    }


def _artist(payload: str) -> str | None:
    artist = json.loads(payload).get("artist")
    return artist if isinstance(artist, str) else None


# --- reading -----------------------------------------------------------------------------------------------


def read_provenance(file: IO[bytes]) -> SongMetadata:
    """Read and validate a song file's metadata.

    Raises:
        NoProvenance: it is missing, invalid, or of a later version.
    """
    texts = read_tag(file).own
    if PROVENANCE not in texts or REQUEST not in texts:
        raise NoProvenance("it has no Songflow metadata")
    provenance = _provenance(texts[PROVENANCE])
    try:
        request = request_of(json.loads(texts[REQUEST]))
        body_hash(request.body(), provenance.hash_version)
    except InvalidRequest as error:
        raise NoProvenance(f"its request is not valid: {error.message}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise NoProvenance("its request cannot be read") from None
    return SongMetadata(provenance, request, _payload(texts.get(PAYLOAD, "{}")))


def _provenance(text: str) -> Provenance:
    try:
        return Provenance.model_validate_json(text)
    except ValidationError as error:
        places = {
            ".".join(map(str, fault["loc"])) or "everything" for fault in error.errors(include_url=False)
        }
        if "version" in places:
            raise NoProvenance(
                "its Songflow metadata has a version that this Songflow does not support"
            ) from None
        raise NoProvenance(
            f"its Songflow metadata is invalid (wrong: {', '.join(sorted(places)[:5])})"
        ) from None


def _payload(text: str) -> str:
    try:
        payload: Any = json.loads(text)
    except (ValueError, RecursionError):
        return "{}"
    return _clean(text) if isinstance(payload, dict) and len(text) <= MAX_PAYLOAD_BYTES else "{}"
