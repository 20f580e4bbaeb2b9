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
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar, get_args

from songflow.runtime.failpoints import reached
from songflow.runtime.records import plain

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["Spool", "SpoolEntry", "SpoolOutcome", "SpooledIntent", "entry_of"]

SpoolOutcome = Literal["accepted", "refused", "not_sent", "unknown"]
_OUTCOMES = get_args(SpoolOutcome)
_Record = TypeVar("_Record", bound="DataclassInstance")
# Some dozens of entries with their answers.
_NEWEST_BYTES = 128 * 1024
# Hundreds of requests that are under way when the disk fills up.
_RESERVE_BYTES = 1024 * 1024


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

    @property
    def may_be_paid(self) -> bool:
        """True if the gateway bills the request, or may do so."""
        return self.outcome in ("accepted", "unknown")


class Spool:
    """Append-only files of JSON lines in one folder, one file per host, and a reserve for a full disk.

    The reserve is a file of spaces. Where the disk takes no further byte, entries are written over its spaces, which
    needs no room (file systems that never overwrite in place may refuse even that).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / f"accepted.{socket.gethostname()}.jsonl"
        self._reserve = folder / f"reserve.{socket.gethostname()}.jsonl"
        self._secured: tuple[int, int, int] | None = None

    def secure_room(self) -> None:
        """Make sure that the outcome of a POST finds room here, even on a disk that is full by then.

        Raises:
            OSError: there is no room now.
        """
        descriptor = os.open(self._reserve, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as reserve:
            if _version_of(reserve) == self._secured:
                return
            _lock(reserve)
            size, used = _version_of(reserve)[1], len(reserve.read().rstrip(b" "))
            missing = used + _RESERVE_BYTES - size
            if missing > 0:
                try:
                    if os.pwrite(descriptor, b" " * missing, size) != missing:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._reserve))
                    _sync_reserve(descriptor)  # some file systems give a file its room only now
                except OSError:
                    reserve.truncate(size)
                    raise
            self._secured = _version_of(reserve)

    def append(self, entry: SpoolEntry) -> None:
        """Write one entry and sync it to disk; on a full disk into the reserve, without the raw answer.

        Raises:
            OSError: it cannot be written.
        """
        try:
            self._append(_line(entry))
        except OSError:
            if not self._write_over_reserve(entry):
                raise

    def _append(self, line: bytes) -> None:
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
            self._sync_folder()

    def _sync_folder(self) -> None:
        # Not `sync_folder`: it has other fail points, which are reached in another process.
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            reached("spool folder: before fsync")
            os.fsync(descriptor)
            reached("spool folder: after fsync")
        finally:
            os.close(descriptor)

    def _write_over_reserve(self, entry: SpoolEntry) -> bool:
        """Write an entry over spaces of the reserve; False if there is none, or no room left in it."""
        lines = (_line(replace(entry, answer=None)), _line(replace(entry, answer=None, intent=None)))
        try:
            with self._reserve.open("r+b", buffering=0) as reserve:
                _lock(reserve)  # other processes meet the same full disk
                content = reserve.read()
                used = len(content.rstrip(b" "))
                line = next((one for one in lines if used + len(one) <= len(content)), None)
                if line is None or os.pwrite(reserve.fileno(), line, used) != len(line):
                    return False
                _sync_reserve(reserve.fileno())
                return True
        except OSError:
            return False

    def entries(self) -> list[SpoolEntry]:
        """Every complete entry of every host's file in this folder, oldest first within a file."""
        return [entry for file in self._files() for entry in _parsed(file.read_bytes())]

    def _files(self) -> list[Path]:
        return [*sorted(self._folder.glob("accepted.*.jsonl")), *sorted(self._folder.glob("reserve.*.jsonl"))]

    def newest(self) -> list[SpoolEntry]:
        """The last entries of every host's file, as many as it takes to reach one that is or may be paid for."""
        found: list[SpoolEntry] = []
        for path in self._files():
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                most = _NEWEST_BYTES if path.name.startswith("accepted.") else size
                while True:
                    file.seek(max(0, size - most))
                    last = _parsed(file.read(most))
                    if most >= size or any(entry.may_be_paid for entry in last):
                        break
                    most *= 4
                found += last
        return found

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


def _version_of(file: IO[bytes]) -> tuple[int, int, int]:
    """Identity, size and time of the last change of an open file."""
    facts = os.fstat(file.fileno())
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _lock(file: IO[bytes]) -> None:
    """Take turns with others until the file is closed."""
    with suppress(ImportError):  # Windows
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)


def _sync_reserve(descriptor: int) -> None:
    reached("reserve: before fsync")
    os.fsync(descriptor)
    reached("reserve: after fsync")


def _line(entry: SpoolEntry) -> bytes:
    # ASCII JSON can represent any id, even invalid Unicode. The leading newline ends a line that a crash
    # truncated, so that this entry stays readable.
    return f"\n{json.dumps(plain(entry))}\n".encode()


def _parsed(content: bytes) -> list[SpoolEntry]:
    # The spaces are those of an unused reserve.
    lines = content.rstrip(b" ").splitlines()
    return [entry for line in lines if (entry := _parse(line)) is not None]


def entry_of(values: Mapping[str, Any]) -> SpoolEntry:
    """An entry of this version or an earlier one from its JSON; fields of a later version are left out.

    Raises:
        TypeError, KeyError, AttributeError: it is none.
    """
    ids, intent = tuple(values["track_ids"]), _intent(values.get("intent"))
    return _record(SpoolEntry, {**values, "track_ids": ids, "intent": intent})


def _parse(line: bytes) -> SpoolEntry | None:
    try:
        entry = entry_of(json.loads(line))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None  # blank, or truncated by a crash
    return entry if entry.outcome in _OUTCOMES else None


def _intent(values: Any) -> SpooledIntent | None:
    try:
        return _record(SpooledIntent, values)
    except (TypeError, AttributeError):
        return None  # the outcome matters more than what cannot be read of its intent


def _record(kind: type[_Record], values: Mapping[str, Any]) -> _Record:
    known = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in values.items() if name in known})
