"""Limit the generations at the gateway at once: to the sweep's concurrency, and to what the gateway accepts.

A 429 narrows the window to the generations that the gateway runs now. Each round of generations that end without
another 429 widens it by one. Several processes with one key find their shares in the same way.

The window counts whole generations of one process; `songflow.ledger.pace` spaces the submits of all processes.
"""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Window"]


class Window:
    """Slots at the gateway, each occupied from the submit until the generation has ended; for one event loop.

    Attributes:
        limit: Slots that there are now.
        inside: Slots that are occupied.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = most
        self.inside = 0
        self._running = 0
        self._ended_in_a_row = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Wait for a free slot and occupy it."""
        while self.inside >= self.limit:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            finally:
                if not turn.done() or turn.cancelled():
                    self._waiting.remove(turn)
        self.inside += 1

    def leave(self) -> None:
        """Free the slot."""
        self.inside -= 1
        self._wake()

    def accepted(self) -> None:
        """The gateway accepted the request in a slot: the window is at least as wide as what runs."""
        self._running += 1
        self.limit = max(self.limit, min(self._running, self._most))

    def ended(self) -> None:
        """An accepted generation has ended, or is no longer waited for."""
        self._running -= 1
        self._ended_in_a_row += 1
        if self._ended_in_a_row >= self.limit and self.limit < self._most:
            self.limit += 1
            self._ended_in_a_row = 0
            self._wake()

    def refused(self) -> None:
        """The gateway answered 429 (too many requests)."""
        self.limit = max(1, min(self.limit, self._running))
        self._ended_in_a_row = 0

    def _wake(self) -> None:
        for turn in list(self._waiting)[: max(0, self.limit - self.inside)]:
            if not turn.done():
                turn.set_result(None)
                self._waiting.remove(turn)
