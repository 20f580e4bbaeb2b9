"""What ends this process waits while a request is under way: its answer is read and stored first.

SIGTERM comes from a worker that cancels a run, a machine that is emptied or `kill`, SIGHUP from a closed terminal. In
the seconds of a POST either would leave a request that is perhaps paid, and an answer that nobody reads. So the signal
is held back until no request is under way, no new one begins meanwhile, and then it does what it would have done.

Only the main thread can do so: elsewhere a signal interrupts no work, but the process may end around it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeGuard

__all__ = ["answers_first", "may_begin"]

log = logging.getLogger("songflow.paid")

_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
# Whoever acts on the signal by a cancellation needs a moment until it has reached everybody.
_REACTION_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 0.1

_Handler = Callable[[int, FrameType | None], object] | int


class _Hold:
    """This process's one hold on its signals."""

    def __init__(self) -> None:
        self.came: int | None = None
        self.quiet_until = 0.0
        self._under_way = 0
        self._before: dict[int, _Handler] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def enter(self) -> None:
        self._under_way += 1
        self._loop = asyncio.get_running_loop()
        for number in _ENDING:
            before = signal.getsignal(number)
            if before != self.keep and _ends_at_once(before):
                self._before[number] = before
                signal.signal(number, self.keep)

    def leave(self) -> None:
        self._under_way -= 1
        if self._under_way:
            return
        self._loop = None
        for number in _ENDING:
            self._give_back(number)
        if self.came is not None:
            came, self.came = self.came, None
            self.quiet_until = time.monotonic() + _REACTION_SECONDS
            signal.raise_signal(came)

    def keep(self, number: int, _frame: FrameType | None) -> None:
        """The signals' handler while it lasts; whoever has put it back later than that gets what stood before."""
        if not self._under_way:
            self._give_back(number)
            signal.raise_signal(number)
            return
        first, self.came = self.came is None, number
        if first and self._loop is not None:
            self._loop.call_soon_threadsafe(self._say, number)

    def _give_back(self, number: int) -> None:
        if signal.getsignal(number) == self.keep:
            signal.signal(number, self._before[number])

    def _say(self, number: int) -> None:
        log.warning(
            "Told to end (%s): the answers to requests under way (%d) come first.",
            signal.Signals(number).name,
            self._under_way,
        )


_hold = _Hold()


def _ends_at_once(handler: object) -> TypeGuard[_Handler]:
    """Neither an ignored signal, one that is not Python's, nor one that an event loop already takes in turn."""
    return handler not in (signal.SIG_IGN, None) and not str(getattr(handler, "__module__", "")).startswith(
        "asyncio"
    )


async def may_begin() -> None:
    """Wait while a signal is held back: its requests are the last ones that this process sends."""
    while _hold.came is not None or time.monotonic() < _hold.quiet_until:  # noqa: ASYNC110 - it may be another loop's
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


@contextmanager
def answers_first() -> Iterator[None]:
    """Around a request, from the row that it may be sent to the row of its outcome.

    Raises:
        BaseException: on leaving, what the held signal's own handler raises.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _hold.enter()
    try:
        yield
    finally:
        _hold.leave()
