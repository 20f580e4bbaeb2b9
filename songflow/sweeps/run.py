"""Run the cells of a sweep: many generations in one session, with a bounded number at the gateway.

    queue -> [ slot at the gateway: submit, wait ] -> [ fetch, verify, store ] -> a count

A slot is taken from the submit until the generation has ended at the gateway. Songs are fetched outside of it, so the
next cell is submitted at once. How many are fetched at a time, and how many wait to be, is bounded.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass

from songflow import errors
from songflow.accounts import Access
from songflow.gateways import RefusalKind
from songflow.generation.credit import warn_if_low
from songflow.generation.error_texts import not_collected_error
from songflow.generation.lifecycle import Taken, collect, submit_to_first, wait
from songflow.generation.policy import PAY_ONCE, PaidRequest, PayingPolicy
from songflow.generation.session import Session
from songflow.generation.submit import submit_once
from songflow.ledger.rows import Song
from songflow.library.review import Review
from songflow.runtime.retry import Attempts, persist
from songflow.settings import require_network
from songflow.sweeps.cell_status import Step, failed_before_error, step_of, unexpected_error
from songflow.sweeps.cells import Cell
from songflow.sweeps.paid_cells import with_summaries
from songflow.sweeps.review import cells_without_songs_to_keep
from songflow.sweeps.tally import Tally
from songflow.sweeps.window import Window

__all__ = ["DEFAULT_CONCURRENCY", "MAX_CONCURRENCY", "RunOptions", "SweepRun"]

log = logging.getLogger(__name__)

DEFAULT_CONCURRENCY = 10
MAX_CONCURRENCY = 500

# Two takes each; most of the time is waiting for hosts and disks, and decoding a song of 130 s takes 0.3 s.
_COLLECTED_AT_ONCE = 16
# Ended generations that wait to be fetched; a store that cannot keep up delays new submits.
_COLLECTED_BACKLOG = 200

# Refusals that every other cell would meet, too: the account, its credit, or the address.
_FOR_ALL = frozenset({RefusalKind.CREDENTIALS, RefusalKind.NO_CREDIT, RefusalKind.CONFIGURATION})


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a sweep is run.

    Attributes:
        concurrency: The most generations at the gateway at once.
        max_failures: Start no more cells after so many failures (None: no limit).
        policy: When a cell may be paid for again, and the accounts to fall back to.
        review: Which songs are discarded, and how often a cell is made again that has no others.
    """

    concurrency: int = DEFAULT_CONCURRENCY
    max_failures: int | None = None
    policy: PayingPolicy = PAY_ONCE
    review: Review | None = None


class _NotStarted(Exception):
    """The sweep was stopped before the gateway took this cell."""


class SweepRun:
    """One run of a sweep; several groups of cells may run at once and share the slots at the gateway.

    Attributes:
        session: The open session.
        accepted: Submits that the gateway has taken.
        tally: Running counts of cell outcomes.
        made_again: The cells that a review had made again.
    """

    def __init__(self, session: Session, access: Access, options: RunOptions) -> None:
        self.session = session
        self.accepted = 0
        self.tally = Tally()
        self.made_again: list[Cell] = []
        self._accounts = options.policy.accounts(access)
        self._options = options
        self._window = Window(options.concurrency)
        self._fetching = asyncio.Semaphore(_COLLECTED_AT_ONCE)
        self._backlog = asyncio.Semaphore(_COLLECTED_BACKLOG)
        self._failures = 0
        self._credit: asyncio.Task[None] | None = None

    async def work(self, cells: Sequence[Cell], all_started: asyncio.Event | None = None) -> None:
        """Run cells until each has an outcome.

        Args:
            cells: The cells of one group.
            all_started: Set once no cell of this group is left to start.

        Raises:
            LibraryError: the ledger cannot be read.
            InvalidEnvironment: the environment's proxies or certificates cannot be used; nothing was sent.
        """
        try:
            await self._make_again(await self._work(cells, all_started))
        finally:
            if self._credit is not None:
                self._credit.cancel()
            if all_started is not None:
                all_started.set()

    async def _work(self, cells: Sequence[Cell], all_started: asyncio.Event | None) -> Sequence[Cell]:
        """Run cells; returns them with the keys that the ledger has them under, perhaps another account's."""
        self.tally.cells += len(cells)
        cells, queue = await self._queue(cells)
        if queue:
            require_network()  # once, instead of an error for each cell
            self._ask_for_credit(queue)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._options.concurrency, len(queue))):
                group.create_task(self._worker(queue, group, all_started))
        return cells

    async def _make_again(self, cells: Sequence[Cell]) -> None:
        """Review the songs, and make cells again that have none to keep, each time under a key of its own."""
        review = self._options.review
        number = 0
        while review is not None and cells:
            left = await cells_without_songs_to_keep(self.session.library.ledger, review, cells)
            number += 1
            if number > review.again or self.tally.stopped is not None:
                return
            # The same request with the same seed makes the same songs.
            again = [cell.made_again(number) for cell in left if cell.request.is_random]
            cells = await self._work(again, None)
            self.made_again += cells

    def _ask_for_credit(self, queue: Sequence[tuple[Cell, Step]]) -> None:
        """Begin to compare what the account has left with the price of the first group; no cell waits for it."""
        if self._credit is None:
            access = self._accounts[0]
            price = sum(access.price_of(cell.request) for cell, step in queue if step is Step.PAY)
            self._credit = asyncio.create_task(warn_if_low(self.session, access, price))

    async def _queue(self, cells: Sequence[Cell]) -> tuple[Sequence[Cell], deque[tuple[Cell, Step]]]:
        """The cells under their keys in the ledger, and the work: running ones first.

        Those that ended in an earlier run are counted at once.
        """
        known = self.session.library.ledger.key_summaries
        # Other groups of the sweep may be running: retry a ledger that is briefly away.
        cells, summaries = await persist(lambda: with_summaries(cells, self._accounts, known))
        queue: deque[tuple[Cell, Step]] = deque()
        to_pay: list[tuple[Cell, Step]] = []
        for cell in cells:
            summary = summaries.get(cell.key)
            step = step_of(summary, retry_errors=self._options.policy.retry_errors)
            if step is Step.STORED:
                self.tally.existing += 1
            elif step is Step.FAILED and summary is not None:
                self.tally.error(cell, failed_before_error(cell, summary))
            elif step is Step.PAY:
                to_pay.append((cell, step))
            else:
                queue.append((cell, step))
        queue.extend(to_pay)
        return cells, queue

    async def _worker(
        self, queue: deque[tuple[Cell, Step]], group: asyncio.TaskGroup, all_started: asyncio.Event | None
    ) -> None:
        while queue:
            # The slot first, then the cell: a cell that is still in the queue has not been started.
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
                self._count_failure(cell, step, error)
            except Exception as error:
                self._count_failure(cell, step, unexpected_error(cell, error))
            else:
                self.tally.collecting += 1
                group.create_task(self._collect(cell, taken, songs, passed_on))

    async def _at_gateway(self, cell: Cell, step: Step, hold: AsyncExitStack) -> tuple[Taken, list[Song]]:
        """Submit and wait in the slot already taken; one lease lasts from here until the songs are stored."""
        taken = await self._submitted(cell, step)
        # On failure the slot is the last that `hold` gives back, and nothing is awaited between that and the count of
        # the failure: the next cell in the slot sees whether the sweep has been stopped by it.
        slot = hold.enter_context(ExitStack())
        slot.callback(self._leave)
        await hold.enter_async_context(self.session.leases.reuse_lease(taken.submission))
        songs = await wait(self.session, taken.submission, taken.access, request=cell.request)
        slot.close()
        return taken, songs

    def _leave(self) -> None:
        """Give the slot back: the generation has ended at the gateway, or is no longer waited for."""
        self.tally.running -= 1
        self._window.ended()
        self._window.leave()

    async def _submitted(self, cell: Cell, step: Step) -> Taken:
        """Submit in the slot already taken, and retry refusals that may be repeated.

        A cell's attempts count only while the gateway takes no other cell either.

        Raises:
            SongflowError: as `songflow.generation.submit.submit_once`; the slot is given back.
            _NotStarted: the sweep was stopped before the gateway took the cell; the slot is given back.
        """
        attempts, accepted = Attempts(self.session.settings.refusal_backoff), self.accepted
        while True:
            try:
                # The sweep may have been stopped while this cell waited for its slot, or waits for the key's pace.
                self._require_wanted(step)
                # Also a cell that was under way may turn out to be unsent, and is then sent anew.
                taken = await self._submit(cell, lambda: self._require_wanted(Step.PAY))
            except errors.NotBilled as refusal:
                if isinstance(refusal, errors.RequestRefused) and refusal.kind == RefusalKind.RATE_LIMITED:
                    self._window.refused()
                self._window.leave()
                if accepted != self.accepted:
                    attempts.start_again()
                    accepted = self.accepted
                pause = attempts.next_pause(refusal.retry_after) if refusal.repeatable else None
                if pause is None:
                    raise
            except BaseException:
                self._window.leave()
                raise
            else:
                self.accepted += 1
                self.tally.running += 1
                self._window.accepted()
                return taken
            await asyncio.sleep(pause)
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

    async def _collect(self, cell: Cell, taken: Taken, songs: Sequence[Song], hold: AsyncExitStack) -> None:
        try:
            async with hold, self._fetching:
                found = await collect(self.session, taken.submission, songs, taken.access)
            stored = sum(song.path is not None for song in found)
            if not stored:
                raise not_collected_error(taken.submission, list(found))
            self.tally.stored += 1
            self.tally.songs += stored
        except errors.SongflowError as error:
            self._count_failure(cell, Step.COLLECT, error)
        except Exception as error:
            self._count_failure(cell, Step.COLLECT, unexpected_error(cell, error))
        finally:
            self.tally.collecting -= 1
            self._backlog.release()

    def _count_failure(self, cell: Cell, step: Step, error: errors.SongflowError) -> None:
        self.tally.error(cell, error)
        if isinstance(error, errors.SpendingStopped | errors.LibraryError | errors.LedgerOutdated):
            self._stop(error.message)
            return
        log.warning("%s: %s", cell.key, error.message)
        if isinstance(error, errors.RequestRefused) and error.kind in _FOR_ALL:
            self._stop(f"every other cell would be refused, too: {error.message}")
        if step is not Step.OPEN:
            self._failures += 1
        most = self._options.max_failures
        if most is not None and self._failures >= most:
            self._stop(f"{self._failures} cells have failed, and the maximum is {most}")

    def _stop(self, reason: str) -> None:
        """Start no more cells; those that run are still collected."""
        if self.tally.stopped is None:
            self.tally.stopped = reason
            log.warning("No more cells are started: %s", reason)
