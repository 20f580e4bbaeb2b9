"""The ledger's data classes: frozen copies of its rows, and its inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from songflow.families.family import Request
from songflow.families.registry import family_that_has, request_of, sent_fields
from songflow.gateways import Place, place_of
from songflow.ledger.lease import Lease, ProcessIdentity
from songflow.ledger.spool import SpooledIntent
from songflow.ledger.states import RULES, SongState, State

__all__ = [
    "JOINED_BY_GATEWAY",
    "JOINED_HERE",
    "LEFT_TO_SENDER",
    "Caps",
    "Generation",
    "Intent",
    "RequestKind",
    "RunIds",
    "Song",
    "Submission",
    "Timing",
    "clean_text",
    "spooled_intent",
]


JOINED_HERE, JOINED_BY_GATEWAY = "local", "gateway"
"""Who joined a new part with its source."""

LEFT_TO_SENDER = "the process that asked for it has ended or was stopped; its sender waits for the answer"
"""The remark on a submission in state `sending` whose sender alone still works on it."""


@dataclass(frozen=True, slots=True)
class RunIds:
    """The Prefect runs that requested a generation, if any."""

    flow_run_id: str | None = None
    root_flow_run_id: str | None = None
    task_run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that may be spent and reserved together, in the account's units; None is no cap."""

    total: float | None = None
    per_day: float | None = None
    per_run: float | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """A request to be paid for, and the account that pays.

    Attributes:
        key: The request key.
        body: The canonical body, one line of JSON.
        body_hash: Its hash over the fields of `hash_version`.
        model_type: The request's model.
        mode: How the request uses a source song.
        gateway: The adapter's name; `dialect` is a custom gateway's paths and shape as JSON.
        account: The alias of the credentials; `key_fingerprint` identifies the key without revealing it.
        price: Units the gateway charges for the request.
        caps: The caps in total, for this day and for this run.
        day: The day that the price is counted on, in UTC.
        budget_run: The run that the price is counted for.
        kin: The key prefix of intended repeats of the same body, which do not count as twins.
    """

    key: str
    body: str
    body_hash: str
    hash_version: int
    model_type: str
    mode: str
    gateway: str
    dialect: str
    base_url: str
    account: str
    key_fingerprint: str
    price: float
    runs: RunIds = RunIds()
    caps: Caps = Caps()
    day: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    budget_run: str | None = None
    kin: str | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """One request key and its request."""

    key: str
    body: str
    body_hash: str
    hash_version: int
    created_at: datetime

    @property
    def request(self) -> Request:
        """The request.

        Raises:
            InvalidRequest: its model family is unknown to this version.
        """
        return request_of(json.loads(self.body))

    @property
    def sent_fields(self) -> Mapping[str, Any]:
        """The request's fields as they were sent.

        Raises:
            InvalidRequest: its model family is unknown to this version.
        """
        return sent_fields(json.loads(self.body))


@dataclass(frozen=True, slots=True)
class Submission:
    """One POST, made or intended."""

    id: str
    key: str
    ordinal: int
    state: State
    gateway: str
    dialect: str
    base_url: str
    account: str
    key_fingerprint: str
    model_type: str
    price: float
    generation_id: str | None
    track_ids: tuple[str, ...]
    error: str | None
    lease: Lease
    runs: RunIds
    intended_at: datetime
    sending_at: datetime | None
    answered_at: datetime | None
    running_at: datetime | None
    settled_at: datetime | None
    written_off_at: datetime | None
    pending_at: datetime | None

    @property
    def place(self) -> Place:
        """Where its songs are: the same for all host names of one gateway."""
        return place_of(self.gateway, self.base_url)

    @property
    def family(self) -> str:
        """The name of its model family.

        Raises:
            InvalidRequest: its model is unknown to this version.
        """
        return family_that_has(self.model_type).name

    @property
    def billed(self) -> str:
        """ "no", "maybe" or "yes"."""
        return RULES[self.state].billed.value

    @property
    def any_id(self) -> str | None:
        """The generation's id, or a track id where the gateway gave only those."""
        return self.generation_id or (self.track_ids[0] if self.track_ids else None)

    @property
    def is_left(self) -> bool:
        """True if no process works on it, or only the sender that waits for the answer to its POST."""
        return self.lease.is_dead() or (self.state is State.SENDING and self.error == LEFT_TO_SENDER)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Submission:
        """A submission from its table row."""
        owner = ProcessIdentity(row["lease_host"], row["lease_boot"], row["lease_pid"], row["lease_start"])
        return cls(
            **{name: row[name] for name in _SAME_IN_ROW},
            state=State(row["state"]),
            track_ids=tuple(json.loads(row["track_ids"])),
            lease=Lease(owner, row["fence"], row["lease_expires_at"]),
            runs=RunIds(row["flow_run_id"], row["root_flow_run_id"], row["task_run_id"]),
        )


_SAME_IN_ROW = (
    "id", "key", "ordinal", "gateway", "dialect", "base_url", "account", "key_fingerprint", "model_type", "price",
    "generation_id", "error", "intended_at", "sending_at", "answered_at", "running_at", "settled_at", "written_off_at",
    "pending_at",
)  # fmt: skip


def spooled_intent(intent: Intent, submission: Submission) -> SpooledIntent:
    """What the spool keeps of an intent, to restore the rows of its submission."""
    return SpooledIntent(
        body=intent.body,
        body_hash=intent.body_hash,
        hash_version=intent.hash_version,
        model_type=intent.model_type,
        mode=intent.mode,
        dialect=intent.dialect,
        key_fingerprint=intent.key_fingerprint,
        price=intent.price,
        ordinal=submission.ordinal,
        budget_day=intent.day,
        budget_run=intent.budget_run,
        flow_run_id=intent.runs.flow_run_id,
        root_flow_run_id=intent.runs.root_flow_run_id,
        task_run_id=intent.runs.task_run_id,
        intended_at=submission.intended_at.isoformat(),
    )


def lease_columns(lease: Lease) -> dict[str, Any]:
    """A lease as the columns of its submission."""
    return {
        "fence": lease.fence,
        "lease_host": lease.owner.host,
        "lease_boot": lease.owner.boot,
        "lease_pid": lease.owner.pid,
        "lease_start": lease.owner.start,
        "lease_expires_at": lease.expires_at,
    }


@dataclass(frozen=True, slots=True)
class Song:
    """One take of a generation: stored, not yet collected, or failed at the gateway.

    `announced_seconds` is the gateway's value, `seconds` the decoded length; `peak` is 0..1, `rms_db` in dBFS.
    `sha256` is of the file, `audio_sha256` of the audio without its tags. An extension has `source_score`
    (0..1, the confidence that it contains its source), `source_at` and `added_seconds`. `rating` is 0..5, `decision`
    keep or discard, `notes` are a person's own; each has who gave it and when. With `trashed_at`, the file is in the
    library's trash, as `path` says. An extension that is only the new part has `whole_path`, the file in which it is
    joined with its source, and `joined_by`, who did that ("local" or "gateway"); the other three then describe that
    file.
    """

    id: int
    submission_id: str
    key: str
    take: int
    song_id: str | None
    state: SongState
    title: str | None
    tags: tuple[str, ...]
    lyrics: str | None
    announced_seconds: float | None
    song_url: str | None
    image_url: str | None
    error: str | None
    mode: str
    parent_song_id: str | None
    root_song_id: str | None
    depth: int
    path: str | None
    bytes: int | None
    sha256: str | None
    seconds: float | None
    sample_rate: int | None
    channels: int | None
    peak: float | None
    rms_db: float | None
    announced_at: datetime
    stored_at: datetime | None
    audio_sha256: str | None
    cover_path: str | None
    source_score: float | None
    source_at: float | None
    added_seconds: float | None
    note: str | None
    rating: float | None
    rated_at: datetime | None
    whole_path: str | None = None
    joined_by: str | None = None
    rated_by: str | None = None
    decision: str | None = None
    decided_at: datetime | None = None
    decided_by: str | None = None
    notes: str | None = None
    noted_at: datetime | None = None
    noted_by: str | None = None
    trashed_at: datetime | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Song:
        """A song from its table row."""
        fields = {name: row[name] for name in cls.__slots__}
        return cls(**{**fields, "state": SongState(row["state"]), "tags": tuple(json.loads(row["tags"]))})


@dataclass(frozen=True, slots=True)
class RequestKind:
    """Requests of similar duration: those of one model and mode at one place."""

    place: Place
    model_type: str
    mode: str


@dataclass(frozen=True, slots=True)
class Timing:
    """The observed duration of a generation, from which later waits learn.

    `pending_at` is the last poll that found it unfinished and `finished_at` the first that found it finished (None
    without one); `ran_seconds` is the gateway's own value, by its own clock.
    """

    accepted_at: datetime
    sent_at: datetime | None = None
    pending_at: datetime | None = None
    finished_at: datetime | None = None
    ran_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A complete song on the store: its address, size (bytes), sha256 (hex) and decoded properties.

    `audio_sha256` is of the audio without its tags, `cover_path` the address of its cover, `whole_path` that of the
    file in which a new part is joined with its source, and `joined_by` who joined it.
    """

    path: str
    bytes: int
    sha256: str
    seconds: float | None
    sample_rate: int | None
    channels: int | None
    peak: float | None
    rms_db: float | None
    audio_sha256: str | None = None
    cover_path: str | None = None
    whole_path: str | None = None
    joined_by: str | None = None
    note: str | None = None
    stored_at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """A gateway's raw answer as the ledger and the spool keep it, without the key."""

    status: int | None
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, slots=True)
class SourceFound:
    """How an extension contains its source: a score (0..1), its offset and the added length (s), and a remark."""

    source_score: float | None = None
    source_at: float | None = None
    added_seconds: float | None = None
    note: str | None = None


def clean_text(text: str | None) -> str | None:
    """Replace characters that a database refuses: NUL (PostgreSQL) and lone surrogates (UTF-8)."""
    if text is None:
        return None
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def json_list(values: Sequence[str]) -> str:
    """Texts as a JSON list."""
    return json.dumps([clean_text(value) for value in values], ensure_ascii=False)
