"""What ends this process waits while a request is under way: its answer is read and stored first.

SIGTERM comes from a worker that cancels a run, a machine that is emptied or `kill`, SIGHUP from a closed terminal. In
the seconds of a POST either would leave a request that is perhaps paid, and an answer that nobody reads. So a signal
that comes meanwhile is held back until no request is under way, no new one begins, and then it does what it would have
done. One that comes while none is under way is not held back, and whoever acts on it has to stop the next request.

Only requests of the main thread are looked after: beside it the process may end around one.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FrameType
from typing import TypeGuard

__all__ = ["answers_first", "comes_after_answers", "is_told_to_end", "may_begin"]

log = logging.getLogger("songflow.generation.submit")

_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
# Whoever acts on the signal by a cancellation needs a moment until it has reached everybody; one who raises has ended
# the event loop, and what is still awaited in it is on its way out.
_REACTION_SECONDS = 5.0
_ENDING_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 0.1

_Function = Callable[[int, FrameType | None], object]
_Handler = _Function | int


class _Hold:
    """This process's one hold on its signals."""

    def __init__(self) -> None:
        self.came: int | None = None
        self.quiet_until = 0.0
        self._under_way = 0
        self._before: dict[int, _Handler] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def enter(self) -> None:
        # A signal may come between any two lines: counted is what is protected, and nothing that is not.
        self._loop = asyncio.get_running_loop()
        for number in _ENDING:
            before = signal.getsignal(number)
            if before != self.keep and _ends_at_once(before):
                self._before[number] = before
                signal.signal(number, self.keep)
        self._under_way += 1

    def leave(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._let_through(None)

    def takes(self, number: int) -> bool:
        """Hold a signal back while a request is under way."""
        if not self._under_way:
            return False
        if self.came is None and self._loop is not None:
            self._loop.call_soon_threadsafe(_say, number, self._under_way)
        # Of several the one that everybody heeds: SIGHUP is often ignored.
        if self.came != signal.SIGTERM:
            self.came = number
        return True

    def keep(self, number: int, _frame: FrameType | None) -> None:
        """The signals' handler while it lasts; whoever has put it back later than that gets what stood before."""
        if not self.takes(number):
            self._let_through(number)

    def _let_through(self, number: int | None) -> None:
        self._loop = None
        for held in _ENDING:
            if signal.getsignal(held) == self.keep:
                signal.signal(held, self._before[held])
        came, self.came = self.came or number, None
        if came is None:
            return
        self.quiet_until = time.monotonic() + _REACTION_SECONDS
        try:
            signal.raise_signal(came)
        except BaseException:
            self.quiet_until = time.monotonic() + _ENDING_SECONDS
            raise


_hold = _Hold()
# Handlers that ask by themselves whether a request is under way.
_asking: set[_Handler] = set()


def comes_after_answers(handler: _Function) -> _Function:
    """A signal handler that is called when no request is under way; it stays installed meanwhile."""

    @wraps(handler)
    def asking(number: int, frame: FrameType | None) -> None:
        if not _hold.takes(number):
            handler(number, frame)

    _asking.add(asking)
    return asking


def is_told_to_end() -> bool:
    """Whether a signal is held back, or has just been let through: nothing that costs may begin."""
    return _hold.came is not None or time.monotonic() < _hold.quiet_until


async def may_begin() -> None:
    """Wait while a signal is held back: its requests are the last ones that this process sends."""
    while is_told_to_end():  # noqa: ASYNC110 - it may be another loop's
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


def _ends_at_once(handler: object) -> TypeGuard[_Handler]:
    """Neither one that asks, an ignored signal, one that is not Python's, nor one that an event loop takes in turn."""
    return handler not in (signal.SIG_IGN, None, *_asking) and not str(
        getattr(handler, "__module__", "")
    ).startswith("asyncio")


def _say(number: int, under_way: int) -> None:
    log.warning(
        "Told to end (%s): the answers to requests under way (%d) come first.",
        signal.Signals(number).name,
        under_way,
    )
