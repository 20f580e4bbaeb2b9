"""Defer SIGTERM and SIGHUP until in-flight requests are recorded.

SIGTERM comes from a worker that cancels a run, from a machine that is drained or from `kill`, SIGHUP from a closed
terminal. During a POST either would leave a request that is perhaps paid, and an answer that nobody reads. A signal
that arrives meanwhile is therefore deferred until no request is in flight, no new request starts, and then its own
handler runs. A signal that arrives while none is in flight is not deferred; its handler must stop the next request.

Only requests of the main thread are protected: other threads cannot defer signals.
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

__all__ = ["answers_first", "comes_after_answers", "may_begin", "termination_requested"]

log = logging.getLogger(__name__)

_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
# A handler that cancels tasks needs a moment until the cancellation has reached all of them; one that raises has ended
# the event loop, and its remaining tasks are about to end.
_REACTION_SECONDS = 5.0
_ENDING_SECONDS = 60.0
_LOOK_AGAIN_SECONDS = 0.1

_Function = Callable[[int, FrameType | None], object]
_Handler = _Function | int


class _Hold:
    """The deferred signals of this process."""

    def __init__(self) -> None:
        self.came: int | None = None
        self.quiet_until = 0.0
        self._in_flight = 0
        self._before: dict[int, _Handler] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def enter(self) -> None:
        # A signal may arrive between any two lines: the count rises only after the handlers are installed.
        self._loop = asyncio.get_running_loop()
        for number in _ENDING:
            before = signal.getsignal(number)
            if before != self.keep and _ends_at_once(before):
                self._before[number] = before
                signal.signal(number, self.keep)
        self._in_flight += 1

    def leave(self) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self._let_through(None)

    def takes(self, number: int) -> bool:
        """Defer a signal if a request is in flight; False if none is."""
        if not self._in_flight:
            return False
        if self.came is None and self._loop is not None:
            self._loop.call_soon_threadsafe(_log_deferred, number, self._in_flight)
        # SIGTERM replaces SIGHUP, which is often ignored.
        if self.came != signal.SIGTERM:
            self.came = number
        return True

    def keep(self, number: int, _frame: FrameType | None) -> None:
        """The handler installed while requests are in flight; called later, it runs the handler that it replaced."""
        if not self.takes(number):
            self._let_through(number)

    def _let_through(self, number: int | None) -> None:
        self._loop = None
        for deferred in _ENDING:
            if signal.getsignal(deferred) == self.keep:
                signal.signal(deferred, self._before[deferred])
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
# Handlers that check on their own whether a request is in flight.
_asking: set[_Handler] = set()


def comes_after_answers(handler: _Function) -> _Function:
    """Wrap a signal handler so that it runs when no request is in flight; it stays installed meanwhile."""

    @wraps(handler)
    def asking(number: int, frame: FrameType | None) -> None:
        if not _hold.takes(number):
            handler(number, frame)

    _asking.add(asking)
    return asking


def termination_requested() -> bool:
    """Whether a signal is deferred or was just delivered: no paid request may start."""
    return _hold.came is not None or time.monotonic() < _hold.quiet_until


async def may_begin() -> None:
    """Wait while a signal is deferred: the requests in flight are the last ones that this process sends."""
    while termination_requested():  # noqa: ASYNC110 - it may belong to another loop
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


@contextmanager
def answers_first() -> Iterator[None]:
    """Protect a request, from the commit that allows it to the commit of its outcome.

    Raises:
        BaseException: on exit, the exception of a deferred signal's own handler.
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
    """True for a handler that would end the process at once: not one that checks on its own, an ignored signal, one not
    set from Python, or one that an event loop calls in turn.
    """
    return handler not in (signal.SIG_IGN, None, *_asking) and not str(
        getattr(handler, "__module__", "")
    ).startswith("asyncio")


def _log_deferred(number: int, in_flight: int) -> None:
    log.warning(
        "Received %s: ending after the answers to %d requests in flight.",
        signal.Signals(number).name,
        in_flight,
    )
