"""How many generations run at the gateway at once: at most what was asked, and no more than it takes.

A 429 closes the window to what the gateway has taken and not finished; each round of generations that end
without another one opens it by one again. Several processes with one key find their shares in the same way.
"""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["Window"]


class Window:
    """Slots at the gateway, held from the submit until the generation has ended there; for one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = most
        self.inside = 0
        """Who holds a slot now."""
        self._running = 0
        self._ended_in_a_row = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Wait for a slot and take it."""
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
        """Give the slot back."""
        self.inside -= 1
        self._wake()

    def accepted(self) -> None:
        """The gateway took what holds a slot: it takes this many at least."""
        self._running += 1
        self.limit = max(self.limit, min(self._running, self._most))

    def ended(self) -> None:
        """A generation that was accepted has ended, or we do not wait for it any more."""
        self._running -= 1
        self._ended_in_a_row += 1
        if self._ended_in_a_row >= self.limit and self.limit < self._most:
            self.limit += 1
            self._ended_in_a_row = 0
            self._wake()

    def refused(self) -> None:
        """The gateway said "too many"."""
        self.limit = max(1, min(self.limit, self._running))
        self._ended_in_a_row = 0

    def _wake(self) -> None:
        for turn in list(self._waiting)[: max(0, self.limit - self.inside)]:
            if not turn.done():
                turn.set_result(None)
                self._waiting.remove(turn)
