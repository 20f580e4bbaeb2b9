"""Fail points: the named places where a test may kill the process, before and after each act that lasts.

Every commit, POST, fsync and rename stands between two of them. Outside of tests the environment variable is
not set, and reaching one costs a comparison. `SONGFLOW_FAIL_POINT=act: before|after name` kills with SIGKILL
at the first arrival; a number after `#` at a later one.
"""

from __future__ import annotations

import os
import signal

from songflow.settings import fail_point

__all__ = ["ACTS", "FAIL_POINTS", "reached"]

COMMITS = (
    "migrate",
    "intent",
    "sending",
    "accepted",
    "unsent",
    "refused",
    "unknown",
    "hold",
    "running",
    "succeeded",
    "failed",
    "overdue",
    "lost",
    "song stored",
    "song problem",
    "song rated",
    "song noted",
    "release",
    "write-off",
    "pause",
    "resume",
    "pace",
    "rebuilt",
    "choice",
)
"""The ledger's transactions, by the name that each gives to `Database.write`."""

ACTS = (
    *((name, "commit") for name in COMMITS),
    ("post", "request"),
    ("spool", "fsync"),
    ("folder", "fsync"),
    ("part", "fsync"),
    ("cover", "fsync"),
    ("cover", "rename"),
    ("cover", "upload"),
    ("song", "fsync"),
    ("song", "rename"),
    ("song", "upload"),
)
"""Everything that lasts: (name, kind)."""

FAIL_POINTS = tuple(f"{name}: {when} {kind}" for name, kind in ACTS for when in ("before", "after"))
"""Every place where a process can be killed."""

_known = frozenset(FAIL_POINTS)
_armed, _, _arrival = fail_point().partition("#")
_left = int(_arrival or 1)


def reached(point: str) -> None:
    """Say that the process is at a fail point; it dies there if a test has armed it."""
    global _left
    if not _armed:
        return
    if point not in _known:
        raise ValueError(f"{point!r} is no fail point")
    if point == _armed:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
