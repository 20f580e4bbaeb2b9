"""What stops a run: it always does, and the run says what goes on at the gateway without it.

Prefect answers SIGTERM with an exception that is raised wherever the process is at that moment. Not every place hands
it on: an event loop only logs what comes out of a callback, nobody may ever ask for the result of a background task,
and an error that is raised while it is handled takes its place. The run would go on, or end as failed and be retried,
in a process that was told to end; raised in a request under way, the answer that is paid for would be lost.

So the signal cancels the work that is open here, after the answers to its requests (`songflow.runtime.shutdown`), and
`TerminationSignal` is raised where that work ends. Prefect takes a cancellation by its worker or its UI for one only
while the handler of SIGTERM is its own: what it installs as that is therefore replaced in Prefect itself.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from types import FrameType, TracebackType

from prefect.exceptions import TerminationSignal
from prefect.utilities import engine

from songflow.errors import SongflowError
from songflow.generation.session import Session
from songflow.ledger.queries import leading_submission
from songflow.ledger.rows import Submission
from songflow.ledger.states import RULES, State
from songflow.runtime.shutdown import comes_after_answers
from tasks.logs import send_logs

__all__ = ["ends_when_stopped", "tells_when_cancelled", "tells_when_stopped"]

log = logging.getLogger(f"songflow.{__name__}")

# What a run has said already: a task and the flow around it see the same cancellation.
_told: ContextVar[set[str] | None] = ContextVar("songflow_told", default=None)


class _Work:
    """A block of work in a task of an event loop, which SIGTERM cancels."""

    def __init__(self) -> None:
        self.came: int | None = None
        self.task = asyncio.current_task()
        self.interrupts_main = threading.current_thread() is threading.main_thread()
        self._loop = asyncio.get_running_loop()
        self._cancelled = False

    def __enter__(self) -> None:
        _open.append(self)

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        _open.remove(self)  # what comes from now on is raised by the handler itself
        if self._cancelled and self.task is not None:
            self.task.uncancel()
        if self.came is not None and not isinstance(error, TerminationSignal):
            raise TerminationSignal(signal=self.came) from error

    def cancel(self) -> None:
        with suppress(RuntimeError):  # its loop is closed
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self in _open and self.task is not None:
            self._cancelled = self.task.cancel()


_open: list[_Work] = []


@comes_after_answers
def _told_to_end(number: int, _frame: FrameType | None) -> None:
    """SIGTERM's handler while Prefect runs a flow: cancel the open work, and raise only where there is none.

    It is raised all the same when the process is told again with nothing opened since, and where the main thread is
    not the one at work.
    """
    works = [work for work in tuple(_open) if work.came is None]  # other threads open and close theirs
    for work in works:
        work.came = number
    for innermost in {work.task: work for work in works}.values():
        innermost.cancel()
    if not any(work.interrupts_main for work in works):
        raise TerminationSignal(signal=number)


def _answer_for_prefect() -> None:
    """Put our handler in the place of Prefect's, for runs to come and for one that is at work already."""
    # Only the main thread may; beside it a run at work keeps Prefect's, which Prefect must go on to know as its own.
    with suppress(ValueError):
        if signal.getsignal(signal.SIGTERM) is engine._prefect_sigterm_handler:
            signal.signal(signal.SIGTERM, _told_to_end)
        # Prefect declares that it never returns; ours does, where it cancels instead of raising.
        engine._prefect_sigterm_handler = _told_to_end  # type: ignore[assignment]


_answer_for_prefect()


@contextmanager
def ends_when_stopped() -> Iterator[None]:
    """Around all of a flow's work: SIGTERM cancels it, and leaves it as what it is to Prefect.

    Raises:
        TerminationSignal: it came; also where another error or nothing at all has come of it.
    """
    told = _told.set(set())
    try:
        with _Work():
            yield
    finally:
        _told.reset(told)


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

    The domain's own errors say what they mean by themselves.
    """
    try:
        yield
    except SongflowError:
        raise
    except BaseException:
        await _tell_what_goes_on(session, key)
        raise


async def _tell_what_goes_on(session: Session, key: str) -> None:
    """A courtesy: the ledger may be away as well, and that must not take the place of what stopped the run."""
    with suppress(Exception):
        await _tell(session, key)


async def _tell(session: Session, key: str) -> None:
    current = leading_submission(await session.library.ledger.submissions.of_key(key))
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
