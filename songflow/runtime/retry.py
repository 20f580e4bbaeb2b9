"""Retries: how long to pause between attempts, and one loop that makes them.

    Backoff    the law: pauses, attempts, total time
    Attempts   the bookkeeping of one operation under that law, for loops of their own
    retry      the loop; every retry is logged with its details
    persist    retry a ledger call for up to a minute

Tests switch pauses off with `without_pauses`.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from songflow.errors import LibraryError, SongflowError

__all__ = ["LEDGER_BACKOFF", "Attempts", "Backoff", "Clock", "Sleep", "persist", "retry", "without_pauses"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_E = TypeVar("_E", bound=Exception)
Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Backoff:
    """How an operation is retried. Times are in seconds.

    Attributes:
        first: The pause after the first failure.
        factor: How much longer each pause is than the one before.
        longest: No pause is longer, unless the other side asks for it.
        jitter: The share of each pause that is random (0..1), so that many processes do not return together.
        attempts: The most attempts, the first one included (None: no limit).
        within: The time that attempts and pauses may take together: a pause that would end later is not begun
            (None: no limit).
    """

    first: float
    factor: float = 2.0
    longest: float = float("inf")
    jitter: float = 0.0
    attempts: int | None = None
    within: float | None = None

    def pause(self, failures: int) -> float:
        """The pause after so many failures."""
        steady = min(self.first * self.factor ** min(failures - 1, 64), self.longest)
        return steady * (1.0 - self.jitter * random.random())


LEDGER_BACKOFF = Backoff(first=0.1, longest=5.0, within=60.0)
"""For what must not be given up lightly: the commit of a paid id, a stored song, the result of a sweep."""


class Attempts:
    """The failures of one operation so far, and the pause before its next attempt."""

    def __init__(self, backoff: Backoff, clock: Clock = time.monotonic) -> None:
        self._backoff = backoff
        self._clock = clock
        self.start_again()

    def start_again(self) -> None:
        """Count from here: nothing has failed yet."""
        self.failures, self._since = 0, self._clock()

    def next_pause(self, asked: float | None = None) -> float | None:
        """Count a failure and return the seconds to wait before the next attempt; None if there is none.

        Args:
            asked: The pause that the other side asks for (Retry-After).
        """
        self.failures += 1
        backoff = self._backoff
        pause = asked or backoff.pause(self.failures)
        if backoff.attempts is not None and self.failures >= backoff.attempts:
            return None
        if backoff.within is not None and self._clock() - self._since + pause > backoff.within:
            return None
        return pause


async def retry(
    attempt: Callable[[], Awaitable[_T]],
    *,
    on: type[_E],
    backoff: Backoff,
    when: Callable[[_E], bool] = lambda _: True,
    asked: Callable[[_E], float | None] = lambda _: None,
    clock: Clock = time.monotonic,
    sleep: Sleep = lambda seconds: asyncio.sleep(seconds),
) -> _T:
    """Call `attempt` until it returns, or until the backoff is used up.

    Args:
        attempt: The operation; repeating it must be harmless.
        on: The exceptions that may be retried; any other propagates at once.
        backoff: Pauses and limits.
        when: Whether this exception may be retried.
        asked: The pause that this exception asks for, in seconds.

    Raises:
        Exception: the last attempt's.
    """
    testing = _testing
    attempts = Attempts(testing.limited(backoff) if testing else backoff, clock)
    while True:
        try:
            return await attempt()
        except on as error:
            pause = attempts.next_pause(asked(error)) if when(error) else None
            if pause is None:
                raise
            _log_retry(error, attempts.failures, pause)
        await sleep(0.0 if testing else pause)


async def persist(attempt: Callable[[], Awaitable[_T]]) -> _T:
    """Retry a ledger call for up to a minute; a lost answer may hide that it was done, so twice must be harmless.

    Raises:
        LibraryError: the database's last error.
    """
    return await retry(attempt, on=LibraryError, backoff=LEDGER_BACKOFF)


@dataclass(frozen=True, slots=True)
class _Testing:
    attempts: int | None

    def limited(self, backoff: Backoff) -> Backoff:
        limits = [limit for limit in (self.attempts, backoff.attempts) if limit is not None]
        return replace(backoff, attempts=min(limits, default=None))


_testing: _Testing | None = None


@contextmanager
def without_pauses(attempts: int | None = None) -> Iterator[None]:
    """Retry at once inside this block, with so many attempts at most; for tests, in the whole process."""
    global _testing
    before, _testing = _testing, _Testing(attempts)
    try:
        yield
    finally:
        _testing = before


def _log_retry(error: Exception, failures: int, pause: float) -> None:
    """A line for people, with the details as fields of the record."""
    text = error.message if isinstance(error, SongflowError) else str(error)
    details = {"retry_failures": failures, "retry_pause": pause, "retry_error": type(error).__name__}
    log.warning(
        "%s Trying again in %.1f s.", text if text.endswith(".") else f"{text}.", pause, extra=details
    )
