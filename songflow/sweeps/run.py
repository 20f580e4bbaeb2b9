"""Run cells: many generations in one session, each through the paid step, none held in memory.

    queue -> [ slot at the gateway: submit, wait ] -> [ fetch, verify, store ] -> a count

A slot is held from the submit until the generation has ended at the gateway. Songs are fetched outside of it, so
the next cell is submitted at once; how many are fetched and how many wait to be is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass

from songflow import errors
from songflow.accounts import Access
from songflow.events import GOOD_NEWS
from songflow.gateways import RefusalKind
from songflow.generation.error_texts import not_collected_error
from songflow.generation.leases import kept
from songflow.generation.lifecycle import Taken, collect, submit_to_first, wait
from songflow.generation.policy import PAY_ONCE, PaidRequest, PayingPolicy
from songflow.generation.session import Session
from songflow.generation.submit import submit_once
from songflow.ledger.key_summaries import KeySummary
from songflow.ledger.rows import Song
from songflow.ledger.states import State
from songflow.runtime.retry import persist
from songflow.sweeps.cell_status import Step, step_of
from songflow.sweeps.cells import Cell
from songflow.sweeps.tally import RUN_AGAIN, SweepResult, Tally
from songflow.sweeps.window import Window

__all__ = [
    "DEFAULT_CONCURRENCY",
    "MAX_CONCURRENCY",
    "RunOptions",
    "SweepRun",
    "cells_unsaid",
    "run_sweep",
    "told",
    "told_as_worked_on",
]

log = logging.getLogger("songflow.sweeps")

DEFAULT_CONCURRENCY = 10
MAX_CONCURRENCY = 500

# Two takes each; most of the time is waiting for hosts and for disks, and a song of 130 s takes 0.3 s to decode.
_COLLECTED_AT_ONCE = 16
# Finished generations that wait to be fetched; a store that cannot keep up holds up new submits.
_COLLECTED_BACKLOG = 200
_LONGEST_PAUSE_SECONDS = 30.0

# What one cell meets every other one will meet: the account, its credit, or the address.
_FOR_ALL = frozenset({RefusalKind.CREDENTIALS, RefusalKind.NO_CREDIT, RefusalKind.CONFIGURATION})


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a sweep is run.

    Attributes:
        concurrency: Generations at the gateway at once, at most.
        max_failures: Start no more cells after so many did not end well (None: go on).
        policy: When a cell may be paid for again, and the accounts to fall back to.
    """

    concurrency: int = DEFAULT_CONCURRENCY
    max_failures: int | None = None
    policy: PayingPolicy = PAY_ONCE


class _NotStarted(Exception):
    """The sweep was stopped before the gateway took this cell."""


class SweepRun:
    """One run; `tally` says at any time what has become of its cells.

    Several groups of cells may be at work at once: they share the slots at the gateway.
    """

    def __init__(self, session: Session, access: Access, options: RunOptions) -> None:
        self.session = session
        self._accounts = options.policy.accounts(access)
        self._options = options
        self._window = Window(options.concurrency)
        self._fetching = asyncio.Semaphore(_COLLECTED_AT_ONCE)
        self._backlog = asyncio.Semaphore(_COLLECTED_BACKLOG)
        self._failures = 0
        self.accepted = 0
        """Submits that the gateway has taken."""
        self.tally = Tally()

    async def work(self, cells: Sequence[Cell], all_started: asyncio.Event | None = None) -> None:
        """Bring cells to their end, however that is; `all_started` is set once none is left to start.

        Raises:
            LibraryError: the ledger cannot be read.
        """
        try:
            self.tally.cells += len(cells)
            queue = await self._queue(cells)
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._options.concurrency, len(queue))):
                    group.create_task(self._worker(queue, group, all_started))
        finally:
            if all_started is not None:
                all_started.set()

    async def _queue(self, cells: Sequence[Cell]) -> deque[tuple[Cell, Step]]:
        """What there is to do: cells that run already come first, those that ended before are counted at once."""
        keys = [cell.key for cell in cells]
        # Others of the sweep may be at work: a ledger that is away for a moment is no reason to stop them.
        standings = await persist(lambda: self.session.library.ledger.key_summaries.of_keys(keys))
        queue: deque[tuple[Cell, Step]] = deque()
        to_pay: list[tuple[Cell, Step]] = []
        for cell in cells:
            standing = standings.get(cell.key)
            step = step_of(standing, retry_errors=self._options.policy.retry_errors)
            if step is Step.STORED:
                self.tally.existing += 1
            elif step is Step.FAILED and standing is not None:
                self.tally.error(cell, _failed_before(cell, standing))
            elif step is Step.PAY:
                to_pay.append((cell, step))
            else:
                queue.append((cell, step))
        queue.extend(to_pay)
        return queue

    async def _worker(
        self, queue: deque[tuple[Cell, Step]], group: asyncio.TaskGroup, all_started: asyncio.Event | None
    ) -> None:
        while queue:
            # Slot first, cell then: what is still in the queue has not been started.
            await self._window.enter()
            if not queue:
                self._window.leave()
                return
            cell, step = queue.popleft()
            if not queue and all_started is not None:
                all_started.set()
            try:
                async with AsyncExitStack() as hold:
                    taken, songs = await self._at_gateway(cell, step, hold)
                    await self._backlog.acquire()
                    passed_on = hold.pop_all()
            except _NotStarted:
                self.tally.not_started += 1
            except errors.SongflowError as error:
                self._ended_badly(cell, step, error)
            except Exception as error:
                self._ended_badly(cell, step, _unexpected(cell, error))
            else:
                self.tally.collecting += 1
                group.create_task(self._collect(cell, taken, songs, passed_on))

    async def _at_gateway(self, cell: Cell, step: Step, hold: AsyncExitStack) -> tuple[Taken, list[Song]]:
        """Submit and wait, in the slot that is held; one lease lasts from here until the songs are stored."""
        taken = await self._submitted(cell, step)
        # On failure this is the last that `hold` does, and nothing is awaited from there until the failure is
        # counted: whoever waits for the slot hears first whether the sweep has been stopped by it.
        slot = hold.enter_context(ExitStack())
        slot.callback(self._leave)
        await hold.enter_async_context(kept(self.session, taken.submission))
        songs = await wait(self.session, taken.submission, taken.access)
        slot.close()
        return taken, songs

    def _leave(self) -> None:
        """What was accepted has ended at the gateway, or is not waited for any more."""
        self.tally.running -= 1
        self._window.ended()
        self._window.leave()

    async def _submitted(self, cell: Cell, step: Step) -> Taken:
        """Submit in the slot that is held. What may be repeated is, as long as the gateway takes others meanwhile.

        Raises:
            SongflowError: as `songflow.generation.submit.submit_once`; no slot is held then.
            _NotStarted: the sweep was stopped before the gateway has taken it; no slot is held then, either.
        """
        patience = _Patience(self)
        while True:
            try:
                # Much may have happened while it waited for its slot, and may while it waits for the key's pace.
                self._require_wanted(step)
                taken = await self._submit(cell, lambda: self._require_wanted(step))
            except errors.NotBilled as error:
                if isinstance(error, errors.RequestRefused) and error.kind == RefusalKind.RATE_LIMITED:
                    self._window.refused()
                self._window.leave()
                refusal = error
            except BaseException:
                self._window.leave()
                raise
            else:
                self.accepted += 1
                self.tally.running += 1
                self._window.accepted()
                return taken
            await asyncio.sleep(patience.pause_after(refusal))
            await self._window.enter()

    def _require_wanted(self, step: Step) -> None:
        if step is Step.PAY and self.tally.stopped is not None:
            raise _NotStarted

    async def _submit(self, cell: Cell, before_post: Callable[[], None]) -> Taken:
        paid = PaidRequest(cell.request, cell.key, kin=cell.kin)
        return await submit_to_first(
            cell.request,
            self._accounts,
            lambda account: submit_once(
                self.session, paid, account, self._options.policy, before_post=before_post
            ),
        )

    async def _collect(
        self,
        cell: Cell,
        taken: Taken,
        songs: Sequence[Song],
        hold: AsyncExitStack,
    ) -> None:
        try:
            async with hold, self._fetching:
                found = await collect(self.session, taken.submission, songs, taken.access)
            stored = sum(song.path is not None for song in found)
            if not stored:
                raise not_collected_error(taken.submission, list(found))
            self.tally.stored += 1
            self.tally.songs += stored
        except errors.SongflowError as error:
            self._ended_badly(cell, Step.COLLECT, error)
        except Exception as error:
            self._ended_badly(cell, Step.COLLECT, _unexpected(cell, error))
        finally:
            self.tally.collecting -= 1
            self._backlog.release()

    def _ended_badly(self, cell: Cell, step: Step, error: errors.SongflowError) -> None:
        self.tally.error(cell, error)
        if isinstance(error, errors.SpendingStopped | errors.LibraryError):
            self._stop(error.message)
            return
        log.warning("%s: %s", cell.key, error.message)
        if isinstance(error, errors.RequestRefused) and error.kind in _FOR_ALL:
            self._stop(f"every other cell would be refused, too: {error.message}")
        if step is not Step.OPEN:
            self._failures += 1
        most = self._options.max_failures
        if most is not None and self._failures >= most:
            self._stop(f"{self._failures} cells did not end well, and {most} is the most")

    def _stop(self, reason: str) -> None:
        """Start no more cells; what runs is still collected."""
        if self.tally.stopped is None:
            self.tally.stopped = reason
            log.warning("No more cells are started: %s", reason)


async def run_sweep(
    session: Session,
    name: str,
    cells: Sequence[Cell],
    access: Access,
    options: RunOptions,
    run: SweepRun | None = None,
) -> SweepResult:
    """Run a sweep's cells to their end in an open session whose settings name the run (`budget_run`).

    `run` is one that somebody watches.

    Raises:
        LibraryError: the ledger cannot be read.
    """
    start = time.monotonic()
    run = run or SweepRun(session, access, options)
    with cells_unsaid(session):
        await run.work(cells)
    return await told(session, name, run.tally, time.monotonic() - start)


@contextmanager
def one_error() -> Iterator[None]:
    """What a task group met first, as itself: errors of ours tell a person what to do, a group of them does not."""
    try:
        yield
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


@contextmanager
def cells_unsaid(session: Session) -> Iterator[None]:
    """Four lines and three events for each of ten thousand cells help nobody: what goes well is counted, what does
    not is said and told.
    """
    loggers = [logging.getLogger(f"songflow.{name}") for name in ("paid", "collecting")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with session.untold(GOOD_NEWS):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def told_as_worked_on(name: str) -> Iterator[None]:
    """Trouble with the library means "nothing was sent" before cells are worked on; afterwards it must not."""
    try:
        yield
    except errors.LibraryError as error:
        raise errors.NotCollected(
            f"The cells of the sweep {name!r} were worked on, but it cannot be summed up: {error.message}",
            billed="maybe",
            next=f"mend that, then {RUN_AGAIN}",
        ) from error


async def told(session: Session, name: str, tally: Tally, seconds: float) -> SweepResult:
    """A run's counts with what it has sent and spent, as the ledger has it."""
    standings, run = session.library.ledger.key_summaries, session.settings.budget_run or ""
    with told_as_worked_on(name):
        posts, price = await persist(lambda: standings.of_run(run))
    return SweepResult.of(name, tally, posts=posts, price=price, seconds=seconds)


class _Patience:
    """How long one cell is tried again: its tries count only while the gateway takes no other cell either."""

    def __init__(self, run: SweepRun) -> None:
        self._run = run
        self._start_again()

    def _start_again(self) -> None:
        self._tries, self._since, self._accepted = 0, time.monotonic(), self._run.accepted

    def pause_after(self, refusal: errors.NotBilled) -> float:
        """Seconds to wait before the next try; raises the refusal where there is none."""
        if self._accepted != self._run.accepted:
            self._start_again()
        settings = self._run.session.settings
        # Doubling from 1 s, spread so that many cells do not come back together.
        spread = 2**self._tries * (0.5 + random.random() / 2)
        pause = refusal.retry_after or min(spread, _LONGEST_PAUSE_SECONDS)
        used_up = time.monotonic() - self._since + pause > settings.repeat_within
        if not refusal.repeatable or self._tries >= settings.retries or used_up:
            raise refusal
        self._tries += 1
        return pause


def _failed_before(cell: Cell, standing: KeySummary) -> errors.GenerationFailed:
    return errors.GenerationFailed(
        f"The generation {standing.generation_id} failed earlier: {standing.error or 'the gateway gave no reason'}.",
        key=cell.key,
        generation_id=standing.generation_id,
        state=State.FAILED,
        next="run the sweep with --retry-errors to pay for a new try.",
    )


def _unexpected(cell: Cell, error: Exception) -> errors.SongflowError:
    """A fault of ours in one cell must not lose the others."""
    log.error("The cell %s met an unexpected error.", cell.key, exc_info=error)
    return errors.SongflowError(
        f"Something unexpected went wrong ({type(error).__name__}: {error}).",
        key=cell.key,
        billed="maybe",
        next="run the sweep again: a cell that was paid for is collected, and pays no more.",
    )
