"""Senders in tests: stopped at a fail point, or in a thread of the test's own process."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from songflow.runtime.failpoints import FAIL_POINT_VARIABLE


def stop_sender(point: str) -> dict[str, str]:
    """The environment in which a sender stops at a fail point until somebody continues it."""
    return {FAIL_POINT_VARIABLE: f"{point}=SIGSTOP"}


def fill(folder: Path) -> None:
    """Fill a folder's file system to the last byte."""
    # Whole pages first, then what is left of them.
    for size in (65536, 1):
        with suppress(OSError), (folder / "filler").open("ab", buffering=0) as file:
            while file.write(bytes(size)) == size:
                pass
