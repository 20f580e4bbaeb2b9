"""The spool: the outcome of each POST, on the local disk before the ledger has it.

An accepted id is worth money and exists only in memory when the answer arrives. It is appended here and synced
before the ledger's commit, so that nothing is lost if the ledger is locked, full or unreachable. A process that
finds a submission in state `sending` with a dead lease reads the spool first. An entry carries its intent, so that
the ledger's rows can be restored from it if the ledger itself is lost or older than the spool.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from songflow.runtime.failpoints import reached

__all__ = ["Spool", "SpoolEntry", "SpoolOutcome", "SpooledIntent"]

SpoolOutcome = Literal["accepted", "refused", "not_sent", "unknown"]
_OUTCOMES = get_args(SpoolOutcome)
_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class SpooledIntent:
    """What the ledger needs to restore the rows of a POST: the request, its price, and its place in the ledger.

    It has the fingerprint of the gateway's key, never the key.
    """

    body: str
    body_hash: str
    hash_version: int
    model_type: str
    mode: str
    dialect: str
    key_fingerprint: str
    price: float
    ordinal: int
    budget_day: str
    budget_run: str | None
    flow_run_id: str | None
    root_flow_run_id: str | None
    task_run_id: str | None
    intended_at: str


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    """The outcome of one POST; entries of earlier versions are accepted ones and have the first eight fields only.

    Attributes:
        accepted_at: When the outcome was known, whatever it is (ISO 8601, UTC).
        outcome: What became of the POST.
        reason: Why it was not accepted.
        answer: The gateway's raw answer: `status`, `headers`, `body`.
        fence: The fence of the lease under which it was sent.
        intent: What is needed to restore the ledger's rows.
    """

    submission_id: str
    key: str
    gateway: str
    base_url: str
    account: str
    generation_id: str | None
    track_ids: tuple[str, ...]
    accepted_at: str
    outcome: SpoolOutcome = "accepted"
    reason: str | None = None
    answer: Mapping[str, Any] | None = None
    fence: str | None = None
    intent: SpooledIntent | None = None

    @property
    def is_accepted(self) -> bool:
        """True if the gateway accepted the request and bills it."""
        return self.outcome == "accepted"


class Spool:
    """Append-only files of JSON lines in one folder, one file per host."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / f"accepted.{socket.gethostname()}.jsonl"

    def append(self, entry: SpoolEntry) -> None:
        """Write one entry and sync it to disk.

        Raises:
            OSError: it cannot be written.
        """
        # ASCII JSON can represent any id, even invalid Unicode. The leading newline ends a line that a crash
        # truncated, so that this entry stays readable.
        line = f"\n{json.dumps(asdict(entry))}\n".encode()
        is_new = not self._file.exists()
        descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._file))
            reached("spool: before fsync")
            os.fsync(descriptor)
            reached("spool: after fsync")
        finally:
            os.close(descriptor)
        if is_new:
            sync_folder(self._folder)

    def entries(self) -> list[SpoolEntry]:
        """Every complete entry of every host's file in this folder, oldest first within a file."""
        return [
            entry
            for file in sorted(self._folder.glob("accepted.*.jsonl"))
            for line in file.read_bytes().splitlines()
            if (entry := _parse(line)) is not None
        ]

    def find(self, submission_id: str) -> SpoolEntry | None:
        """The entry of one submission, or None: the last one that is accepted, else the last one."""
        found = [entry for entry in self.entries() if entry.submission_id == submission_id]
        return max(enumerate(found), key=_by_weight, default=(0, None))[1]


def _by_weight(numbered: tuple[int, SpoolEntry]) -> tuple[bool, int]:
    # What is paid for outweighs whatever was written before or after it.
    number, entry = numbered
    return entry.is_accepted, number


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries (new and renamed files) to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        reached("folder: before fsync")
        os.fsync(descriptor)
        reached("folder: after fsync")
    finally:
        os.close(descriptor)


def _parse(line: bytes) -> SpoolEntry | None:
    """An entry of this version or an earlier one; fields of a later version are left out."""
    try:
        values = json.loads(line)
        entry = _record(
            SpoolEntry,
            {
                **values,
                "track_ids": tuple(values["track_ids"]),
                "intent": _intent(values.get("intent")),
            },
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None  # blank, or truncated by a crash
    return entry if entry.outcome in _OUTCOMES else None


def _intent(values: Any) -> SpooledIntent | None:
    try:
        return _record(SpooledIntent, values)
    except (TypeError, AttributeError):
        return None  # the outcome matters more than what cannot be read of its intent


def _record(kind: type[_Record], values: Mapping[str, Any]) -> _Record:
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in values.items() if name in known})
