"""The session that the tasks of a flow share.

A flow opens one session, and its tasks find it here. A task that is called alone, with another library, or on another
event loop (a task runner's thread) opens its own: a session belongs to its loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from blocks.credentials import GatewayBlock
from blocks.library import SongLibrary
from blocks.resolver import resolve_access
from songflow.accounts import Access, access_from_environment
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.settings import LibrarySettings
from tasks.events import emit
from tasks.logs import show_in_runs
from tasks.stopping import cancel_on_sigterm
from tasks.wording import in_prefects_words

__all__ = ["Where", "Who", "access_of", "library_of", "open_session"]

Who = GatewayBlock | Access
"""An account: a credentials block, or an access of the domain."""

Where = SongLibrary | LibrarySettings
"""A library: a block, or settings of the domain."""


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


@asynccontextmanager
async def open_session(
    library: Where | None = None, settings: SessionSettings | None = None
) -> AsyncIterator[Session]:
    """Use the session that is open around this call if it fits, else open a new one for the block.

    Args:
        library: The library (None: that of the open session, else SONGFLOW_LIBRARY or `./songs`).
        settings: Polling, deadline and retries (None: those of the open session, else the defaults).

    Raises:
        LibraryError: the library cannot be used.
    """
    show_in_runs()
    wanted = library_of(library) if library is not None else None
    current = _open.get()
    if current is not None and current.fits(wanted, settings):
        with in_prefects_words():
            yield current.session
        return
    chosen = wanted or LibrarySettings.from_environment()
    with cancel_on_sigterm(), in_prefects_words():
        async with Session(chosen, settings, resolve_access, emit) as session:
            token = _open.set(_Open(session, asyncio.get_running_loop()))
            try:
                yield session
            finally:
                _open.reset(token)


def library_of(library: Where | None) -> LibrarySettings:
    """The settings of a library (None: those of the environment)."""
    if library is None:
        return LibrarySettings.from_environment()
    return library.get_settings() if isinstance(library, SongLibrary) else library


def access_of(credentials: Who | None) -> Access:
    """The access of credentials (None: the embedded simulator)."""
    if credentials is None:
        return access_from_environment()
    return credentials if isinstance(credentials, Access) else credentials.get_access()
