"""What stops a run: it always does, and the run says what goes on at the gateway without it.

Prefect answers SIGTERM with an exception that is raised wherever the process is at that moment. Not every place hands
it on: an event loop only logs what comes out of a callback, nobody may ever ask for the result of a background task,
and an error that is raised while it is handled takes its place. The run would go on, or end as failed and be retried,
in a process that was told to end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from prefect.exceptions import TerminationSignal

from songflow.errors import SongflowError
from songflow.ledger.rows import Submission
from songflow.ledger.states import RULES, State
from songflow.ledger.submissions import speaker
from songflow.session import Session
from tasks.logs import send_logs

__all__ = ["ends_when_stopped", "tells_when_cancelled", "tells_when_stopped"]

log = logging.getLogger("songflow.tasks")

# What a run has said already: a task and the flow around it see the same cancellation.
_told: ContextVar[set[str] | None] = ContextVar("songflow_told", default=None)

_Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class _Listener:
    """The event loop's handler of exceptions while a flow runs: a signal among them cancels the flow's task.

    Flows in one loop need not end in the opposite order of their start: a listener whose flow has ended passes on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None) -> None:
        self.signal: TerminationSignal | None = None
        self._loop = loop
        self._task = task
        self.next: _Handler | None = loop.get_exception_handler()
        while isinstance(self.next, _Listener) and self.next._task is None:
            self.next = self.next.next
        loop.set_exception_handler(self)

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        signal = _signal_in(context.get("exception"))
        if signal is not None and self._task is not None:
            self.signal = signal
            self._task.cancel()
        elif self.next is not None:
            self.next(loop, context)
        else:
            loop.default_exception_handler(context)

    def close(self) -> None:
        self._task = None
        if self._loop.get_exception_handler() is self:
            self._loop.set_exception_handler(self.next)


@contextmanager
def ends_when_stopped() -> Iterator[None]:
    """Around all of a flow's work: a SIGTERM that came up anywhere in this event loop ends the block.

    Raises:
        TerminationSignal: it came; also where a group, another error or nothing at all had come in its place.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    listener, told = _Listener(loop, task), _told.set(set())
    try:
        yield
    except BaseException as error:
        signal = listener.signal or _signal_in(error)
        if signal is None or signal is error:
            raise
        if task is not None and isinstance(error, asyncio.CancelledError):
            task.uncancel()
        raise signal from error
    else:
        if listener.signal is not None:
            raise listener.signal
    finally:
        _told.reset(told)
        listener.close()


@asynccontextmanager
async def tells_when_cancelled(session: Session, key: str) -> AsyncIterator[None]:
    """Say what goes on when the work on a key is cancelled here: no gateway can be told to stop."""
    try:
        yield
    except asyncio.CancelledError:
        await _tell_what_goes_on(session, key)
        raise


@asynccontextmanager
async def tells_when_stopped(session: Session, key: str) -> AsyncIterator[None]:
    """The same around the tasks of a flow, for whatever stops it between or inside of them.

    The domain's own errors say what they mean by themselves, as long as none stands in the place of a signal.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, SongflowError) or _signal_in(error) is not None:
            await _tell_what_goes_on(session, key)
        raise


def _signal_in(error: BaseException | None) -> TerminationSignal | None:
    """The signal that an error is, holds as a group, or was raised in the place of."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, TerminationSignal):
            return error
        if isinstance(error, BaseExceptionGroup):
            for one in error.exceptions:
                if (signal := _signal_in(one)) is not None:
                    return signal
        error = error.__context__
    return None


async def _tell_what_goes_on(session: Session, key: str) -> None:
    """A courtesy: the ledger may be away as well, and that must not take the place of what stopped the run."""
    with suppress(Exception):
        await _tell(session, key)


async def _tell(session: Session, key: str) -> None:
    current = speaker(await session.library.ledger.submissions.of_key(key))
    if current is None or not (RULES[current.state].unsettled or current.state is State.SUCCEEDED):
        return
    told = _told.get()
    if told is None or current.id not in told:
        log.warning("%s", _what_goes_on(current))
        await send_logs()
    if told is not None:
        told.add(current.id)


def _what_goes_on(submission: Submission) -> str:
    if RULES[submission.state].waits:
        known = f"the generation {submission.any_id} is still running at the gateway, and still billed"
    elif submission.state is State.SUCCEEDED:
        known = f"the generation {submission.any_id} is finished and paid for, and perhaps not stored yet"
    else:
        known = f"the request may have been taken and billed (it is '{submission.state}')"
    return (
        f"Stopped here, but {known}. To collect it, run again with the key '{submission.key}', "
        "or `songflow rescue`."
    )
