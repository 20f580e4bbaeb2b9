"""End a run on SIGTERM wherever it is raised, and log what continues at the gateway.

Prefect answers SIGTERM with an exception raised at whatever line the process is executing. That exception can get
lost: an event loop only logs what a callback raises, nobody may await the background task it came up in, and an
error raised while it is handled replaces it. The run would then continue to spend, in a process that was told to end.

While one of our sessions is open, SIGTERM therefore lets the sender begin nothing more, cancels the work in the
session, and `TerminationSignal` is raised where that work ends. Prefect recognizes a cancellation by its worker or its
UI only while the handler of SIGTERM is the one it knows as its own: that function stays, and gets our code until the
last session closes. Importing this module changes nothing. What is under way is the sender's: it outlives the run.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from types import CodeType, FunctionType, TracebackType

from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import TerminationSignal
from prefect.logging import get_run_logger
from prefect.utilities import engine

from songflow.errors import SongflowError
from songflow.gateways import bills_nothing
from songflow.generation.session import Session
from songflow.ledger.queries import leading_submission
from songflow.ledger.rows import Submission
from songflow.ledger.states import RULES, State
from songflow.sender.client import tell_to_end
from tasks.logs import send_logs

__all__ = ["cancel_on_sigterm", "report_cancellation", "report_interruption"]

log = logging.getLogger(f"songflow.{__name__}")

# Submissions that this run has already reported: a task and the flow around it see the same cancellation.
_reported: ContextVar[set[str] | None] = ContextVar("songflow_reported", default=None)


class _Work:
    """A block of work in a task of an event loop, which SIGTERM cancels."""

    def __init__(self) -> None:
        self.received: int | None = None
        self.task = asyncio.current_task()
        self.in_main = _in_main_thread()
        self._loop = asyncio.get_running_loop()
        self._cancelled = False

    def __enter__(self) -> None:
        with engine._prefect_sigterm_bridge_lock:
            _open.append(self)
            _exchange_code()

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        with engine._prefect_sigterm_bridge_lock:
            _open.remove(self)  # from now on the handler itself raises
            if not _open:
                _give_code_back()
        if self._cancelled and self.task is not None:
            self.task.uncancel()
        if self.received is not None and not isinstance(error, TerminationSignal):
            raise TerminationSignal(signal=self.received) from error

    def cancel(self) -> bool:
        """False if its loop is closed, so that nothing in it can be cancelled."""
        try:
            self._loop.call_soon_threadsafe(self._cancel)
        except RuntimeError:
            return False
        return True

    def _cancel(self) -> None:
        if self in _open and self.task is not None:
            self._cancelled = self.task.cancel()


_open: list[_Work] = []
_prefects_own: tuple[FunctionType, CodeType] | None = None


def _on_sigterm(number: int) -> None:
    """Cancel the open work; raise where there is none to cancel in the main thread, or it was told before."""
    tell_to_end()
    works = [work for work in tuple(_open) if work.received is None]  # other threads open and close theirs
    for work in works:
        work.received = number
    innermost = {work.task: work for work in works}.values()
    cancelled = [work.in_main for work in innermost if work.cancel()]
    if not any(cancelled):
        raise TerminationSignal(signal=number)


def _on_sigterm_as_prefects(number: int, *_args: object) -> None:
    """Code for Prefect's own function: it sees the globals of Prefect's module, not of this one."""
    from tasks import stopping

    stopping._on_sigterm(number)


def _exchange_code() -> None:
    # The function stays the same object, whoever has installed it; a thread could not install another.
    global _prefects_own
    prefects = engine._prefect_sigterm_handler
    if _prefects_own is None and isinstance(prefects, FunctionType):
        _prefects_own = prefects, prefects.__code__
        prefects.__code__ = _on_sigterm_as_prefects.__code__


def _give_code_back() -> None:
    global _prefects_own
    if _prefects_own is not None:
        prefects, code = _prefects_own
        prefects.__code__ = code
        _prefects_own = None


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def cancel_on_sigterm() -> Iterator[None]:
    """Cancel the work inside on SIGTERM, and raise on exit what Prefect expects.

    Raises:
        TerminationSignal: the signal came, even if another error or none resulted from it.
    """
    token = _reported.set(set())
    try:
        with _Work():
            yield
    finally:
        _reported.reset(token)


@asynccontextmanager
async def report_cancellation(session: Session, key: str) -> AsyncIterator[None]:
    """Log what continues at the gateway if the work on a key is cancelled: no gateway can be told to stop."""
    try:
        yield
    except asyncio.CancelledError:
        await _report(session, key)
        raise


@asynccontextmanager
async def report_interruption(session: Session, key: str) -> AsyncIterator[None]:
    """The same around the tasks of a flow, for anything that stops it between or inside them.

    The domain's own errors already say what was billed.
    """
    try:
        yield
    except SongflowError:
        raise
    except BaseException:
        await _report(session, key)
        raise


async def _report(session: Session, key: str) -> None:
    # The ledger may be away as well, and its error must not replace the one that stopped the run.
    with suppress(Exception):
        current = leading_submission(await session.library.ledger.submissions.of_key(key))
        if current is None or not (RULES[current.state].unsettled or current.state is State.SUCCEEDED):
            return
        reported = _reported.get()
        if reported is None or current.id not in reported:
            # A line of the run's own, for its page: the command that has started it says the same at its end.
            in_run = FlowRunContext.get() is not None or TaskRunContext.get() is not None
            (get_run_logger() if in_run else log).warning("%s", _what_continues(current))
            await send_logs()
        if reported is not None:
            reported.add(current.id)


def _what_continues(submission: Submission) -> str:
    bills = not bills_nothing(submission.gateway)
    generation = f"the generation {submission.any_id} is"
    if RULES[submission.state].waits:
        known = f"{generation} still running at the gateway{', and still billed' if bills else ''}"
    elif submission.state is State.SUCCEEDED:
        known = f"{generation} finished{' and paid for' if bills else ''}, and perhaps not stored yet"
    elif submission.state is State.SENDING:
        billed = " and perhaps billed" if bills else ""
        known = f"the request is under way{billed}; its sender waits for the answer and stores it"
    else:
        known = (
            f"the request may have been taken{' and billed' if bills else ''} (it is '{submission.state}')"
        )
    return (
        f"Stopped here, but {known}. To collect it, run again with the key '{submission.key}', "
        "or `songflow rescue`."
    )
