"""What must not be given up lightly: what was paid for, what stands on the store, and what a sweep has come to."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from songflow.errors import LibraryError

__all__ = ["persist"]

log = logging.getLogger("songflow.runtime.retry")

COMMIT_PATIENCE_SECONDS = 60.0
_T = TypeVar("_T")


async def persist(attempt: Callable[[], Awaitable[_T]]) -> _T:
    """Try a commit or a read for a minute; twice must be harmless, since a lost answer may hide that it was done.

    Raises:
        LibraryError: the database's last word.
    """
    end = time.monotonic() + COMMIT_PATIENCE_SECONDS
    pause = 0.1
    while True:
        try:
            return await attempt()
        except LibraryError as error:
            if time.monotonic() + pause > end:
                raise
            log.warning("%s Trying again.", error.message)
        await asyncio.sleep(pause)
        pause = min(2 * pause, 5.0)
