"""The spool: accepted ids, written to the local disk before the ledger.

An accepted id is worth money and exists only in memory when the answer arrives. It is appended here and synced
before the ledger's commit, so that nothing is lost if the ledger is locked, full or unreachable. A process that
finds a submission in state `sending` with a dead lease reads the spool first.
"""

from __future__ import annotations

import errno
import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from songflow.runtime.failpoints import reached

__all__ = ["Spool", "SpoolEntry"]


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    """One accepted POST."""

    submission_id: str
    key: str
    gateway: str
    base_url: str
    account: str
    generation_id: str | None
    track_ids: tuple[str, ...]
    accepted_at: str


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
        """The entry of one submission, or None."""
        found = [entry for entry in self.entries() if entry.submission_id == submission_id]
        return found[-1] if found else None


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
    try:
        fields = json.loads(line)
        return SpoolEntry(**{**fields, "track_ids": tuple(fields["track_ids"])})
    except (ValueError, TypeError, KeyError):
        return None  # blank, or truncated by a crash
