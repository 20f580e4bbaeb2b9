"""Histories of one process: read from the ledger once, then updated with the process's own observations."""

from __future__ import annotations

import asyncio

from songflow.ledger.rows import RequestKind, Timing
from songflow.ledger.submissions import Submissions
from songflow.polling.durations import duration_of
from songflow.polling.learned import REMEMBERED, History

__all__ = ["Memory"]


class Memory:
    """Histories by kind of request, shared by every wait of one session."""

    def __init__(self, submissions: Submissions) -> None:
        self._submissions = submissions
        self._histories: dict[RequestKind, History] = {}
        self._reading = asyncio.Lock()

    async def history(self, kind: RequestKind, interval: float) -> History:
        """The history of a kind of request; `interval` (seconds) is that of polling without one.

        Raises:
            LibraryError: the ledger cannot be read.
        """
        async with self._reading:
            if kind not in self._histories:
                timings = await self._submissions.timings(kind, REMEMBERED)
                known = [one for timing in timings if (one := duration_of(timing)) is not None]
                self._histories[kind] = History(interval, known)
            return self._histories[kind]

    def add(self, kind: RequestKind, timing: Timing) -> None:
        """Add the duration of a generation that ended with songs, if its history is in use."""
        history, duration = self._histories.get(kind), duration_of(timing)
        if history is not None and duration is not None:
            history.add(duration)
