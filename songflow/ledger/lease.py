"""Leases: which process works on a submission, and whether it is still alive.

A process is identified by host, boot, process id and start time, so that a reused process id is not taken for
the old process. On its own host a dead process is detected at once; from another host only by the end of its
lease. An expired lease is dead even if its process lives: the process may have been suspended.
"""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

__all__ = ["Lease", "ProcessIdentity", "this_process"]


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process on one boot of one host (and in one process-id namespace, so containers differ)."""

    host: str
    boot: str
    pid: int
    start: str

    def is_gone(self) -> bool:
        """True only if it is certain: the process ran on this host and boot, and no longer does."""
        here = this_process()
        if (self.host, self.boot) != (here.host, here.boot) or not self.start:
            return False
        found = _start_time(self.pid)
        # A process without an entry in /proc may still run: some systems hide other users' processes.
        return not _exists(self.pid) if found is None else found != self.start


@dataclass(frozen=True, slots=True)
class Lease:
    """A process's claim on a submission until `expires_at`; the fence is unique to this claim.

    `expires_at` is by this machine's clock. It takes no part in comparisons: read twice from PostgreSQL, which keeps it
    by its own clock, it differs by milliseconds.
    """

    owner: ProcessIdentity
    fence: str
    expires_at: datetime = field(compare=False)

    @classmethod
    def take(cls, seconds: float) -> Lease:
        """A new lease of this process, with a new fence."""
        return cls(this_process(), uuid.uuid4().hex, datetime.now(UTC) + timedelta(seconds=seconds))

    def extended(self, seconds: float) -> Lease:
        """The same claim, expiring `seconds` from now."""
        return replace(self, expires_at=datetime.now(UTC) + timedelta(seconds=seconds))

    def lasts(self, seconds: float) -> bool:
        """True if it does not expire within so many seconds."""
        return datetime.now(UTC) + timedelta(seconds=seconds) <= self.expires_at

    def is_ours(self) -> bool:
        """True if this process owns it and it has not expired."""
        return self.owner == this_process() and self.lasts(0.0)

    def is_dead(self, now: datetime | None = None) -> bool:
        """True if it has expired or its process is certainly gone."""
        return (now or datetime.now(UTC)) >= self.expires_at or self.owner.is_gone()


def this_process() -> ProcessIdentity:
    """The identity of the running process (read anew after a fork)."""
    pid = os.getpid()
    return ProcessIdentity(socket.gethostname(), _boot(), pid, _own_start_time(pid))


@cache
def _boot() -> str:
    """This boot and process-id namespace; a random text (never equal later) if the system does not provide them."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return uuid.uuid4().hex


@cache
def _own_start_time(pid: int) -> str:
    return _start_time(pid) or ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start_time(pid: int) -> str | None:
    """A process's start time in clock ticks since boot; empty for a zombie, None for a process without an entry."""
    try:
        # The command name is in parentheses and may contain any byte; the fields after it are plain.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode().split()
    except OSError:
        return None
    return "" if fields[0] in "ZX" else fields[19]
