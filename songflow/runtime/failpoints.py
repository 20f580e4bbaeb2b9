"""Fail points: named places where a test can kill the process, before and after each durable action.

Every commit, POST, fsync and rename has one before and one after it. Outside of tests the environment variable is not
set, and reaching a fail point costs a comparison. `SONGFLOW_FAIL_POINT="name: before|after action"` kills with SIGKILL
at the first arrival; a number after `#` selects a later one.
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
"""The ledger's transactions, by the name passed to `Database.write`."""

ACTS = (
    *((name, "commit") for name in COMMITS),
    ("post", "request"),
    ("reserve", "fsync"),
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
"""Every durable action: (name, kind)."""

FAIL_POINTS = tuple(f"{name}: {when} {kind}" for name, kind in ACTS for when in ("before", "after"))
"""Every fail point."""

_known = frozenset(FAIL_POINTS)
_armed, _, _arrival = fail_point().partition("#")
_left = int(_arrival or 1)


def reached(point: str) -> None:
    """Mark a fail point; the process dies here if a test has armed it."""
    global _left
    if not _armed:
        return
    if point not in _known:
        raise ValueError(f"{point!r} is no fail point")
    if point == _armed:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
