"""End a run on SIGTERM wherever it is raised, and log what continues at the gateway.

Prefect answers SIGTERM with an exception raised at whatever line the process is executing. That exception can get
lost: an event loop only logs what a callback raises, nobody may await the background task it came up in, and an
error raised while it is handled replaces it. The run would then continue, or end as failed and be retried, in a
process that was told to end. Raised during a request, it would lose the answer to a paid request.

While one of our sessions is open, SIGTERM therefore cancels the work in it, after the answers to its requests
(`songflow.runtime.shutdown`), and `TerminationSignal` is raised where that work ends. Prefect recognizes a
cancellation by its worker or its UI only while the handler of SIGTERM is the one it knows as its own, so our handler
replaces Prefect's in Prefect's module, too. Both are restored when the last session closes; importing this module
changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from types import CodeType, FrameType, FunctionType, TracebackType

from prefect.exceptions import TerminationSignal
from prefect.utilities import engine

from songflow.errors import SongflowError
from songflow.generation.session import Session
from songflow.ledger.queries import leading_submission
from songflow.ledger.rows import Submission
from songflow.ledger.states import RULES, State
from songflow.runtime.shutdown import comes_after_answers
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
        self.interrupts_main = _in_main_thread()
        self._loop = asyncio.get_running_loop()
        self._cancelled = False

    def __enter__(self) -> None:
        _open.append(self)

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        _open.remove(self)  # from now on the handler itself raises
        if self._cancelled and self.task is not None:
            self.task.uncancel()
        if self.received is not None and not isinstance(error, TerminationSignal):
            raise TerminationSignal(signal=self.received) from error

    def cancel(self) -> None:
        with suppress(RuntimeError):  # its loop is closed
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self in _open and self.task is not None:
            self._cancelled = self.task.cancel()


_open: list[_Work] = []


@comes_after_answers
def _on_sigterm(number: int, _frame: FrameType | None) -> None:
    """Cancel the open work; raise only if there is none.

    Also raises if the process receives the signal again with nothing opened since, and if the main thread is not the
    one that works.
    """
    works = [work for work in tuple(_open) if work.received is None]  # other threads open and close theirs
    for work in works:
        work.received = number
    for innermost in {work.task: work for work in works}.values():
        innermost.cancel()
    if not any(work.interrupts_main for work in works):
        raise TerminationSignal(signal=number)


def _on_sigterm_as_prefects(number: int, *_args: object) -> None:
    """Code for Prefect's own function: it sees the globals of Prefect's module, not of this one."""
    from tasks import stopping

    stopping._on_sigterm(number, None)


class _Takeover:
    """Replaces Prefect's handler while work is open, counted: runs may overlap in a process.

    Work in the main thread exchanges the handler, in the signal table and as what Prefect knows as its own. Other
    threads cannot set a handler; they exchange the code of Prefect's, which stays in place as the same object.
    """

    def __init__(self) -> None:
        self._in_main = 0
        self._beside = 0
        self._handler: FunctionType | None = None
        self._code: tuple[FunctionType, CodeType] | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        enter, leave = (
            (self._enter_main, self._leave_main)
            if _in_main_thread()
            else (self._enter_beside, self._leave_beside)
        )
        # Prefect looks at the handler under the same lock.
        with engine._prefect_sigterm_bridge_lock:
            enter()
        try:
            yield
        finally:
            with engine._prefect_sigterm_bridge_lock:
                leave()

    def _enter_main(self) -> None:
        self._in_main += 1
        prefects = engine._prefect_sigterm_handler
        # Outside of a flow run nothing of Prefect's is installed, and SIGTERM ends the process as usual.
        if self._handler is None and signal.getsignal(signal.SIGTERM) is prefects:
            self._handler = prefects  # type: ignore[assignment]
            engine._prefect_sigterm_handler = _on_sigterm  # type: ignore[assignment]
            signal.signal(signal.SIGTERM, _on_sigterm)

    def _leave_main(self) -> None:
        self._in_main -= 1
        if self._in_main or self._handler is None:
            return
        engine._prefect_sigterm_handler = self._handler
        if signal.getsignal(signal.SIGTERM) is _on_sigterm:
            signal.signal(signal.SIGTERM, self._handler)
        self._handler = None

    def _enter_beside(self) -> None:
        self._beside += 1
        prefects = self._handler or engine._prefect_sigterm_handler
        if self._code is None and isinstance(prefects, FunctionType):
            self._code = prefects, prefects.__code__
            prefects.__code__ = _on_sigterm_as_prefects.__code__

    def _leave_beside(self) -> None:
        self._beside -= 1
        if self._beside or self._code is None:
            return
        prefects, code = self._code
        prefects.__code__ = code
        self._code = None


_takeover = _Takeover()


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
        with _takeover(), _Work():
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
            log.warning("%s", _what_continues(current))
            await send_logs()
        if reported is not None:
            reported.add(current.id)


def _what_continues(submission: Submission) -> str:
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
