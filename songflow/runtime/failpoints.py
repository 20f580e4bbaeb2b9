"""Fail points: named places where a test can kill the process, before and after each durable action.

Every commit, POST, fsync and rename has one before and one after it. Outside of tests the environment variable is not
set, and reaching a fail point costs a comparison. `SONGFLOW_FAIL_POINT="name: before|after action"` kills with SIGKILL
at the first arrival; a number after `#` selects a later one, and a name after `=` another signal (`=SIGSTOP`). A
process and its sender both read the variable: the sender reaches `post`, `spool` and `spool folder`.
"""

from __future__ import annotations

import os
import signal

__all__ = ["ACTS", "FAIL_POINTS", "FAIL_POINT_VARIABLE", "reached"]

# Read here and not in `songflow.settings`, which imports pydantic: the sender does without.
FAIL_POINT_VARIABLE = "SONGFLOW_FAIL_POINT"

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
    "judged",
    "songs measured",
    "song noted",
    "song moved",
    "finished",
    "release",
    "write-off",
    "pause",
    "resume",
    "pace",
    "rebuilt",
    "choice",
    "hint",
)
"""The ledger's transactions, by the name passed to `Database.write`."""

ACTS = (
    *((name, "commit") for name in COMMITS),
    ("sender", "handover"),
    ("post", "request"),
    ("reserve", "fsync"),
    ("spool", "fsync"),
    ("spool folder", "fsync"),
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
_point, _, _signal = os.environ.get(FAIL_POINT_VARIABLE, "").partition("=")
_armed, _, _arrival = _point.partition("#")
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
            os.kill(os.getpid(), signal.Signals[_signal or "SIGKILL"])
