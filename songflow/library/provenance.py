"""A song's own story: what the ledger knows of it, in a form that travels inside the song's file.

Three user texts (TXXX) of the file's ID3 tag hold it, beside the frames that every player shows:

    songflow            one line of JSON: a `Story`
    songflow request    the canonical wire body of the request, as the ledger keeps it
    songflow payload    the gateway's whole word on this take, as JSON (left out where it is large)

No gateway key and no fingerprint of one is in it. What is read back comes from strangers' files: it is checked
field by field, and every text, number and time has bounds that any ledger takes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, BinaryIO, Literal

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

__all__ = ["AudioStory", "NoStory", "Story", "Told", "read_story", "story_of", "tag_of"]

STORY, REQUEST, PAYLOAD = "songflow", "songflow request", "songflow payload"
MAX_PAYLOAD_BYTES = 64 * 1024
# What the gateway's own tag said stays where we have nothing to say, within reason.
_KEPT_FRAMES, _KEPT_LENGTH = 64, 4096
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class NoStory(Exception):
    """A file tells no story of ours, or one that cannot be believed; the message says which."""


def _clean(text: str) -> str:
    return clean_text(text) or ""


def _in_our_time(value: datetime) -> datetime:
    if not _EARLIEST <= value <= _LATEST:
        raise ValueError("not a time of ours")
    return value.astimezone(UTC)


def _printable(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("not a printable text")
    return text


Text = Annotated[str, AfterValidator(_clean), Field(max_length=1_000_000)]
Id = Annotated[str, AfterValidator(_clean), Field(max_length=1000)]
Name = Annotated[str, AfterValidator(_printable), Field(max_length=255)]
RunId = Annotated[str, AfterValidator(_printable), Field(max_length=64)]
Time = Annotated[AwareDatetime, AfterValidator(_in_our_time)]
Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=0, le=1_000_000)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    # A later version may say more; what it says differently gets a new version number.
    model_config = ConfigDict(frozen=True, extra="ignore")


class SubmissionStory(_Part):
    """The POST that was paid for; `paths` is how a custom gateway is spoken to, None for a known one."""

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


class SongStory(_Part):
    """One take as the gateway announced it and as it came down; its parent stands in the request."""

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


class AudioStory(_Part):
    """The audio without its tags: its sha256 (hex), and what decoding it measured (see `AudioFacts`)."""

    sha256: Sha256
    seconds: Seconds | None = None
    sample_rate: Whole | None = None
    channels: Whole | None = None
    peak: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None = None
    rms_db: Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)] | None = None


class SourceStory(_Part):
    """What an extension was found to hold of its source (see `SourceFound`)."""

    source_score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    source_at: Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)] | None = None
    added_seconds: Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)] | None = None
    note: Text | None = None


class Story(_Part):
    """What stands under the description `songflow`; `version` is that of this form."""

    version: Literal[1] = 1
    key: Name
    hash_version: Whole
    submission: SubmissionStory
    song: SongStory
    audio: AudioStory
    source: SourceStory = SourceStory()


@dataclass(frozen=True, slots=True)
class Told:
    """What a file tells: its story, the request that made it, and the gateway's payload ("{}" where left out)."""

    story: Story
    request: Request
    payload: str


# --- telling ----------------------------------------------------------------------------------------------------


def story_of(
    origin: Origin,
    *,
    audio_sha256: str,
    facts: AudioFacts | None,
    source: SourceFound | None,
    stored_at: datetime,
) -> Story:
    """The story of a take that is about to be stored."""
    song, paid, generation = origin.song, origin.submission, origin.generation
    measured = {name: getattr(facts, name) for name in _MEASURED} if facts else {}
    # From our own rows: nothing to check.
    return Story.model_construct(
        key=generation.key,
        hash_version=generation.hash_version,
        submission=SubmissionStory.model_construct(
            **{name: getattr(paid, name) for name in _OF_SUBMISSION},
            paths=_paths(paid.gateway, paid.dialect),
            flow_run_id=paid.runs.flow_run_id,
            root_flow_run_id=paid.runs.root_flow_run_id,
            task_run_id=paid.runs.task_run_id,
        ),
        song=SongStory.model_construct(
            **{name: getattr(song, name) for name in _OF_SONG}, stored_at=stored_at
        ),
        audio=AudioStory.model_construct(sha256=audio_sha256, **measured),
        source=SourceStory.model_construct(**asdict(source or SourceFound())),
    )


_OF_SUBMISSION = (
    "id", "ordinal", "gateway", "base_url", "account", "price", "generation_id", "track_ids",
    "intended_at", "sending_at", "answered_at", "running_at", "settled_at",
)  # fmt: skip
_OF_SONG = (
    "take", "song_id", "title", "tags", "lyrics", "announced_seconds", "song_url", "image_url",
    "root_song_id", "depth", "announced_at",
)  # fmt: skip
_MEASURED = ("seconds", "sample_rate", "channels", "peak", "rms_db")
_PATHS = ("submit_path", "fetch_path", "shape")


def _paths(gateway: str, dialect: str) -> dict[str, str] | None:
    """What only a custom gateway's configuration says."""
    if gateway in DIALECTS:
        return None
    said = json.loads(dialect)
    return {name: str(said[name]) for name in _PATHS}


def tag_of(story: Story, origin: Origin, cover: Picture | None, found: Tag) -> Tag:
    """The tag of a song's file: the story, what players show, and what the gateway's own tag said besides."""
    song = story.song
    facts = {"TIT2": song.title, "TPE1": _artist(origin.payload), "TCON": ", ".join(song.tags)}
    shown = {name: text for name, text in facts.items() if text}
    shown["TDRC"] = f"{story.submission.intended_at:%Y-%m-%dT%H:%M:%S}"
    told = {
        STORY: json.dumps(story.model_dump(mode="json"), separators=(",", ":")),
        REQUEST: origin.generation.body,
    }
    if len(origin.payload.encode()) <= MAX_PAYLOAD_BYTES:
        told[PAYLOAD] = origin.payload
    return Tag(
        texts={**_kept(found.texts), **shown},
        own={**_kept(found.own), **told},
        comments=_kept(found.comments),
        lyrics=song.lyrics or None,
        picture=cover,
    )


def _kept(found: Mapping[str, str]) -> dict[str, str]:
    """What a file said of itself before: short texts, none in our name, and no key that its host may know."""
    return {
        without_keys(name): without_keys(text)
        for name, text in list(found.items())[:_KEPT_FRAMES]
        if len(name) + len(text) <= _KEPT_LENGTH and not name.lower().startswith(STORY)
    }


def _artist(payload: str) -> str | None:
    said = json.loads(payload).get("artist")
    return said if isinstance(said, str) else None


# --- reading back -----------------------------------------------------------------------------------------------


def read_story(file: BinaryIO) -> Told:
    """What a file tells, checked.

    Raises:
        NoStory: nothing of ours, of a later version, or nothing that can be believed.
    """
    told = read_tag(file).own
    if STORY not in told or REQUEST not in told:
        raise NoStory("it carries no story of Songflow's")
    story = _story(told[STORY])
    try:
        request = request_of(json.loads(told[REQUEST]))
        body_hash(request.body(), story.hash_version)
    except InvalidRequest as error:
        raise NoStory(f"its request is not valid: {error.message}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise NoStory("its request cannot be read") from None
    return Told(story, request, _payload(told.get(PAYLOAD, "{}")))


def _story(text: str) -> Story:
    try:
        return Story.model_validate_json(text)
    except ValidationError as error:
        places = {
            ".".join(map(str, fault["loc"])) or "all of it" for fault in error.errors(include_url=False)
        }
        if "version" in places:
            raise NoStory("its story is in a form that this songflow does not know") from None
        raise NoStory(f"its story cannot be believed (wrong: {', '.join(sorted(places)[:5])})") from None


def _payload(text: str) -> str:
    try:
        said: Any = json.loads(text)
    except (ValueError, RecursionError):
        return "{}"
    return _clean(text) if isinstance(said, dict) and len(text) <= MAX_PAYLOAD_BYTES else "{}"
