"""The open library that the tasks of a flow share.

A flow opens one session and its tasks find it here. A task that is called alone, with another library, or on
another event loop (a task runner's thread) opens one of its own: a session belongs to its loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass

from prefect.exceptions import TerminationSignal

from blocks.credentials import GatewayBlock
from blocks.library import SongLibrary
from blocks.resolver import resolve_access
from songflow.access import Access, access_from_environment
from songflow.errors import SongflowError
from songflow.ledger.rows import Submission
from songflow.ledger.states import RULES, State
from songflow.ledger.submissions import speaker
from songflow.library import LibrarySettings
from songflow.session import Session, SessionSettings
from tasks.events import emit
from tasks.logs import send_logs, show_in_runs

__all__ = [
    "Where",
    "Who",
    "access_of",
    "library_of",
    "open_session",
    "tells_when_cancelled",
    "tells_when_stopped",
]

log = logging.getLogger("songflow.tasks")

Who = GatewayBlock | Access
"""Whose account: a credentials block, or an access of the domain."""

Where = SongLibrary | LibrarySettings
"""Which library: a block, or settings of the domain."""


@dataclass(frozen=True, slots=True)
class _Open:
    session: Session
    loop: asyncio.AbstractEventLoop

    def fits(self, library: LibrarySettings | None, settings: SessionSettings | None) -> bool:
        return (
            self.loop is asyncio.get_running_loop()
            and library in (None, self.session.library.settings)
            and settings in (None, self.session.settings)
        )


_open: ContextVar[_Open | None] = ContextVar("songflow_open_session", default=None)
# What a run has said already: a task and the flow around it see the same cancellation.
_told: ContextVar[set[str] | None] = ContextVar("songflow_told", default=None)


@asynccontextmanager
async def open_session(
    library: Where | None = None, settings: SessionSettings | None = None
) -> AsyncIterator[Session]:
    """The session that is open around us where it fits, else a new one for the time of the block.

    Args:
        library: Which library (None: the open one, else SONGFLOW_LIBRARY or `./songs`).
        settings: Polling, deadline and repeats (None: those of the open session, else the defaults).

    Raises:
        LibraryError: the library cannot be used.
    """
    show_in_runs()
    wanted = library_of(library) if library is not None else None
    current = _open.get()
    if current is not None and current.fits(wanted, settings):
        yield current.session
        return
    chosen = wanted or LibrarySettings.from_environment()
    async with Session(chosen, settings, resolve_access, emit) as session:
        token, told = _open.set(_Open(session, asyncio.get_running_loop())), _told.set(set())
        try:
            yield session
        finally:
            _told.reset(told)
            _open.reset(token)


def library_of(library: Where | None) -> LibrarySettings:
    """The settings of a library (None: those of the environment)."""
    if library is None:
        return LibrarySettings.from_environment()
    return library.get_settings() if isinstance(library, SongLibrary) else library


def access_of(credentials: Who | None) -> Access:
    """The access that credentials stand for (None: the embedded simulator)."""
    if credentials is None:
        return access_from_environment()
    return credentials if isinstance(credentials, Access) else credentials.get_access()


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

    The domain's own errors say what they mean by themselves. A SIGTERM can be lost, as an error that is raised while
    it is handled takes its place (Prefect 3.8 does so as it makes a task run: a ValueError). It is raised again, so
    that the run is not taken for a failed one and retried by a process that was told to end.
    """
    try:
        yield
    except BaseException as error:
        lost = _lost_signal(error)
        if isinstance(error, SongflowError) and lost is None:
            raise
        await _tell_what_goes_on(session, key)
        if lost is not None:
            raise lost from error
        raise


def _lost_signal(error: BaseException) -> TerminationSignal | None:
    """The signal that an error stands in the place of, if it does."""
    cause = error.__context__
    while cause is not None and not isinstance(cause, TerminationSignal):
        cause = cause.__context__
    return cause


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
