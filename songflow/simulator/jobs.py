"""The job store: one SQLite file that is both the list of jobs and the bill.

Every accepted POST is a row, committed (WAL, synchronous=FULL) before it is answered. A job is a pure function
of its row, so a simulator that is killed with SIGKILL and restarted on the same file still knows all its ids.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import uuid
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from songflow.simulator.dialects import DIALECTS
from songflow.simulator.settings import SAMPLE_RATE

_SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,
    generation_id   TEXT NOT NULL UNIQUE,
    submitted_at    REAL NOT NULL,
    dialect         TEXT NOT NULL,
    body            TEXT NOT NULL,
    price           INTEGER NOT NULL,
    key_fingerprint TEXT NOT NULL,
    takes           INTEGER NOT NULL,
    new_samples     INTEGER NOT NULL,
    source_song_id  TEXT,
    pool_slot       INTEGER,
    fail_reason     TEXT NOT NULL
)
"""
_COLUMNS = (
    "generation_id",
    "submitted_at",
    "dialect",
    "body",
    "price",
    "key_fingerprint",
    "takes",
    "new_samples",
    "source_song_id",
    "pool_slot",
    "fail_reason",
)
_SONG_IDS = uuid.UUID("5f0c0c5b-6c1d-4b53-9f3a-0b7b3f6d8f01")


@dataclass(frozen=True)
class BillEntry:
    """An accepted POST. `submitted_at` is in unix seconds, `price` in units; the fingerprint hides the key."""

    generation_id: str
    submitted_at: float
    dialect: str
    body: dict[str, Any]
    price: float
    key_fingerprint: str


@dataclass(frozen=True)
class Job:
    """A row: everything needed to report on a generation."""

    generation_id: str
    submitted_at: float
    dialect: str
    body: dict[str, Any]
    price: float
    key_fingerprint: str
    takes: int
    new_samples: int
    source_song_id: str | None = None
    pool_slot: int | None = None
    fail_reason: str = ""

    @cached_property
    def params(self) -> dict[str, Any]:
        """The parameters that its songs are synthesised from."""
        if self.dialect in DIALECTS:
            return DIALECTS[self.dialect].plain_params(self.body)
        return dict(self.body["gen_params"])

    @property
    def joins(self) -> bool:
        """Whether it concatenates a new part with the song that the part extends."""
        return "clip_id" in self.body or self.body.get("action") == "concat"

    @property
    def prompt(self) -> str:
        return str(self.params["prompt"])

    @property
    def luck(self) -> str:
        """The source of randomness: the request's seed, or for -1 the generation's id (always a new song)."""
        seed = self.params.get("seed", -1)
        return self.generation_id if seed == -1 else f"{seed}/{self.prompt}"

    @property
    def mode(self) -> str:
        """regular, precede or continuation."""
        return str((self.params.get("config") or {}).get("mode", "regular"))

    @property
    def cut(self) -> int | None:
        """Where in its source a continuation begins, in samples; None: at the end."""
        at = self.params.get("continue_at")
        return None if at is None else round(at * SAMPLE_RATE)

    @property
    def is_whole(self) -> bool:
        """True if the songs of an extension are to contain their source, as far as it was kept."""
        return not self.joins and (self.cut is None or bool(self.params.get("whole")))

    @cached_property
    def song_ids(self) -> tuple[str, ...]:
        """An id per take, derived from the generation's id."""
        return tuple(
            str(uuid.uuid5(_SONG_IDS, f"{self.generation_id}/{take}")) for take in range(1, self.takes + 1)
        )

    @cached_property
    def path_hash(self) -> str:
        """The generation's name in file addresses: 32 hex digits, as in the real bucket."""
        return sha256(self.generation_id.encode()).hexdigest()[:32]

    def bill_entry(self) -> BillEntry:
        return BillEntry(
            self.generation_id, self.submitted_at, self.dialect, self.body, self.price, self.key_fingerprint
        )


class JobStore:
    """All jobs, in memory and on disk. Thread-safe.

    `whole_extensions`: whether the songs of an extension contain their source, or only the new part; `whole_parts`: the
    same for one that begins at a second of its source.
    """

    def __init__(self, path: Path, whole_extensions: bool = True, whole_parts: bool = False) -> None:
        self.whole_extensions = whole_extensions
        self.whole_parts = whole_parts
        self._lock = threading.Lock()
        self._closed = False
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute(_SCHEMA)
        self._jobs: dict[str, Job] = {}
        self._songs: dict[str, tuple[Job, int]] = {}
        self._hashes: dict[str, Job] = {}
        self._read_up_to = 0
        self.refresh()

    def refresh(self) -> None:
        """Read rows that another simulator has added to the same file (two commands on one library)."""
        query = f"SELECT number, {', '.join(_COLUMNS)} FROM jobs WHERE number > ? ORDER BY number"
        with self._lock:
            for number, *row in self._db.execute(query, (self._read_up_to,)).fetchall():
                self._read_up_to = number
                values = dict(zip(_COLUMNS, row, strict=True))
                if values["generation_id"] not in self._jobs:
                    self._remember(Job(**{**values, "body": json.loads(values["body"])}))

    def add(self, job: Job) -> None:
        """Commit a job, then add it in memory. Returns once the row is on disk."""
        values = [json.dumps(job.body) if name == "body" else getattr(job, name) for name in _COLUMNS]
        marks = ", ".join("?" * len(_COLUMNS))
        with self._lock:
            self._db.execute(f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES ({marks})", values)
            self._remember(job)

    def _remember(self, job: Job) -> None:
        self._jobs[job.generation_id] = job
        self._hashes[job.path_hash] = job
        for take, song_id in enumerate(job.song_ids, start=1):
            self._songs[song_id] = (job, take)

    def job(self, generation_id: str) -> Job | None:
        if generation_id not in self._jobs:
            self.refresh()
        return self._jobs.get(generation_id)

    def song(self, song_id: str) -> tuple[Job, int] | None:
        """The generation and the take (from 1) behind a song id."""
        if song_id not in self._songs:
            self.refresh()
        return self._songs.get(song_id)

    def by_hash(self, path_hash: str) -> Job | None:
        if path_hash not in self._hashes:
            self.refresh()
        return self._hashes.get(path_hash)

    def bill(self) -> list[BillEntry]:
        """Every accepted POST, oldest first; after `close`, those known by then."""
        if not self._closed:
            self.refresh()
        with self._lock:
            return [job.bill_entry() for job in self._jobs.values()]

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._db.close()

    def source(self, job: Job) -> tuple[Job, int] | None:
        """The song this job extends, or None for a regular one."""
        return self.song(job.source_song_id) if job.source_song_id else None

    def contains_source(self, job: Job) -> bool:
        """Whether the songs of the job contain the song that it extends."""
        whole = self.whole_extensions if job.is_whole else self.whole_parts
        return whole and job.source_song_id is not None

    def samples(self, job: Job) -> int:
        """Length of each song of the job, including its source if it contains it, in samples at 44.1 kHz."""
        source = self.source(job) if self.contains_source(job) else None
        return job.new_samples + (self.kept(job, source[0]) if source else 0)

    def kept(self, job: Job, source: Job) -> int:
        """How much of its source an extension goes on from, in samples."""
        whole = self.samples(source)
        return whole if job.cut is None else min(job.cut, whole)

    def joined_samples(self, job: Job) -> int:
        """Length of a clip that is concatenated with the songs that it extends, in samples."""
        source = self.source(job)
        if source is None or job.cut is None:
            return self.samples(job)
        return self.joined_samples(source[0]) - self.samples(source[0]) + job.cut + self.samples(job)

    def seconds(self, job: Job) -> float:
        """The same length in seconds."""
        return self.samples(job) / SAMPLE_RATE

    def root(self, job: Job) -> Job:
        """The regular job at the start of a chain of extensions."""
        source = self.source(job)
        return self.root(source[0]) if source else job

    def root_offset(self, job: Job) -> int:
        """The position of this job's first sample relative to the root's first sample (below 0: before it)."""
        source = self.source(job)
        if source is None:
            return 0
        if job.mode == "precede":
            return self.root_offset(source[0]) + job.new_samples
        if self.contains_source(job):
            return self.root_offset(source[0])
        return self.root_offset(source[0]) - (self.samples(source[0]) if job.cut is None else job.cut)
