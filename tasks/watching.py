"""Who watches the flow runs of this process, such as the terminal of the command that started them.

with watched_by(Watcher(generation=...)):
    await generate_song(...)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from songflow.accounts import Access
from songflow.generation.ending import Progress
from songflow.generation.session import Session
from songflow.ledger.rows import Submission
from songflow.sweeps.tally import Tally

__all__ = ["Watcher", "progress_of", "sweep_watched", "watched_by"]


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
    """The callback of a wait: its own, and that of who watches."""
    make = _watcher.get().generation
    if make is None:
        return own
    watching = await make(session, submission, access)

    async def both(word: str, share: float | None, seconds: float) -> None:
        await watching(word, share, seconds)
        await own(word, share, seconds)

    return both


@asynccontextmanager
async def sweep_watched(name: str, tally: Tally) -> AsyncIterator[None]:
    """Show a sweep's counts to who watches it."""
    show = _watcher.get().sweep
    if show is None:
        yield
    else:
        async with show(name, tally):
            yield
