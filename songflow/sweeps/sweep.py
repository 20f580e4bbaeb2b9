"""Run a whole sweep in one process, and read its result from the ledger."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from songflow import errors
from songflow.accounts import Access
from songflow.generation.session import Session
from songflow.runtime.retry import persist
from songflow.sweeps.cells import Cell, shuffled
from songflow.sweeps.run import RunOptions, SweepRun
from songflow.sweeps.tally import RUN_AGAIN, SweepResult, Tally

__all__ = ["after_work_started", "read_result", "run_sweep"]


async def run_sweep(
    session: Session,
    name: str,
    cells: Sequence[Cell],
    access: Access,
    options: RunOptions,
    run: SweepRun | None = None,
) -> SweepResult:
    """Run a sweep's cells in an open session whose settings name the run (`budget_run`).

    Cells are started in a shuffled order. Log lines and events about single songs that go well are muted: the result
    counts them.

    Args:
        run: The run to use, if its tally is displayed meanwhile.

    Raises:
        LibraryError: the ledger cannot be read.
        InvalidEnvironment: the environment's proxies or certificates cannot be used; nothing was sent.
    """
    start = time.monotonic()
    run = run or SweepRun(session, access, options)
    with session.events.successes_muted():
        await run.work(shuffled(cells))
    return await read_result(session, name, run.tally, time.monotonic() - start)


@contextmanager
def after_work_started(name: str) -> Iterator[None]:
    """Convert a LibraryError, which says "nothing was sent" and is true only before the first cell, to NotCollected.

    Raises:
        NotCollected: the library cannot be used, and cells of the sweep were worked on.
    """
    try:
        yield
    except errors.LibraryError as error:
        raise errors.NotCollected(
            f"The cells of the sweep {name!r} were worked on, but it cannot be summed up: {error.message}",
            billed="maybe",
            next=f"mend that, then {RUN_AGAIN}",
        ) from error


async def read_result(session: Session, name: str, tally: Tally, seconds: float) -> SweepResult:
    """A run's counts, with the requests it sent and their price from the ledger.

    Raises:
        NotCollected: the ledger cannot be read.
    """
    summaries, run = session.library.ledger.key_summaries, session.settings.budget_run or ""
    with after_work_started(name):
        posts, price = await persist(lambda: summaries.of_run(run))
    return SweepResult.of(name, tally, posts=posts, price=price, seconds=seconds)
