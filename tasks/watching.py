"""Report the progress of flow runs to a watcher in this process, such as the command's terminal.

with watched_by(Watcher(generation=...)):
    await generate_song(...)
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from songflow.accounts import Access
from songflow.generation.ending import Progress
from songflow.generation.session import Session
from songflow.ledger.rows import Submission
from songflow.sweeps.tally import Tally

__all__ = ["Watcher", "progress_of", "sweep_watched", "watched_by"]

log = logging.getLogger(f"songflow.{__name__}")


@dataclass(frozen=True, slots=True)
class Watcher:
    """What shows the progress of a run.

    Attributes:
        generation: Gives the callback that the wait for a submission reports to.
        sweep: Shows a sweep's counts, by its name, for the duration of a block.
    """

    generation: Callable[[Session, Submission, Access | None], Awaitable[Progress]] | None = None
    sweep: Callable[[str, Tally], AbstractAsyncContextManager[None]] | None = None


_NOBODY = Watcher()
_watcher: ContextVar[Watcher] = ContextVar("songflow_watcher", default=_NOBODY)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Show the progress of the flow runs inside."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


async def progress_of(
    session: Session, submission: Submission, access: Access | None, own: Progress
) -> Progress:
    """The progress callback of a wait, which also calls the watcher's.

    A watcher that fails is not called again: a paid wait goes on without it.
    """
    make = _watcher.get().generation
    if make is None:
        return own
    try:
        watching = await make(session, submission, access)
    except Exception as error:
        _not_shown(error)
        return own
    watched = True

    async def both(word: str, share: float | None, seconds: float) -> None:
        nonlocal watched
        if watched:
            try:
                await watching(word, share, seconds)
            except Exception as error:
                watched = False
                _not_shown(error)
        await own(word, share, seconds)

    return both


@asynccontextmanager
async def sweep_watched(name: str, tally: Tally) -> AsyncIterator[None]:
    """Show a sweep's counts to the watcher, if there is one."""
    show = _watcher.get().sweep
    display = AsyncExitStack()
    if show is not None:
        try:
            await display.enter_async_context(show(name, tally))
        except Exception as error:
            _not_shown(error)
    try:
        yield
    finally:
        try:
            await display.aclose()
        except Exception as error:
            _not_shown(error)


def _not_shown(error: Exception) -> None:
    log.warning("The progress cannot be shown here (%s); the songs are not affected.", type(error).__name__)
