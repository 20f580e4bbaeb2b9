"""Joint polls: the waits of one account at one gateway share requests that name many generations.

Each wait runs the one loop with its own schedule; `Waiter.sleep` and `Waiter.get` take the place of a pause and of one
fetch. Where the gateway answers for several ids, a round asks for all generations in flight, and hands each wait its
own part, also to those that still sleep. When a round comes is explained in docs/waiting.md.

A wait that is alone polls as if there were no others, and so does each where the gateway has no batch or refuses it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from songflow.gateways import BatchProblem, FetchProblem, FetchProblemKind, Report, Wanted
from songflow.polling.loop import Schedule
from songflow.polling.rounds import round_time

__all__ = ["JointPolls", "Waiter"]

log = logging.getLogger(__name__)

Answer = Report | FetchProblem
AskOne = Callable[[Wanted], Awaitable[Answer]]
AskMany = Callable[[Sequence[Wanted]], Awaitable[Sequence[Answer] | BatchProblem]]

_FAILURES_UNTIL_ALONE = 3
_DOUBTS_UNTIL_FEWER = 3
# A wait whose last answer is younger than this share of its interval gains nothing from another one.
_FRESH_SHARE = 0.2
_SHORTEST_GAP = 1e-3
# Songs begin when a round has found room for them: rounds at a fixed distance would meet a gateway's ticks in step.
_SPREAD = (0.75, 1.25)


class Waiter:
    """One wait's place among the joint polls.

    Attributes:
        wanted: The generation that it waits for.
        asked_age: Seconds from the gateway's acceptance to the request of the last answer.
        ends_at: When the wait ends, by the joint polls' clock.
    """

    def __init__(
        self, polls: JointPolls, wanted: Wanted, schedule: Schedule, age: float, deadline: float
    ) -> None:
        self.wanted = wanted
        self.schedule = schedule
        self.ends_at = polls.clock() + deadline
        self._polls = polls
        self._accepted_at = polls.clock() - age
        self._woken = asyncio.Event()
        self.asked_age = age
        self.asked_at = self._accepted_at
        self.due = math.inf
        self.seems_finished = False
        self.is_asked = False
        self.hinted = False
        self.answer: Answer | None = None
        self.asking: asyncio.Future[Answer] | None = None

    async def sleep(self, seconds: float) -> None:
        """Pause before the next `get`; shorter if an answer comes with others', or after a hint."""
        self.due = self._polls.clock() + seconds
        if self.answer is not None or self.hinted:
            return
        self._woken.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    async def get(self) -> Answer:
        """One poll: an answer that came with others', else this generation's part of the next round."""
        if self.answer is None:
            return await self._polls.poll(self)
        answer, self.answer = self.answer, None
        return answer

    def hint(self) -> None:
        """Poll at once: something suggests that the generation has ended."""
        self.hinted = True
        self._woken.set()

    def gap(self, now: float) -> float:
        """Seconds between this wait's own polls at this time."""
        gap = self.schedule.gap(now - self._accepted_at)
        return max(_SHORTEST_GAP, min(gap, self.schedule.interval) if self.seems_finished else gap)

    def is_fresh(self, now: float) -> bool:
        """True if its last answer is so new that another one is of no use."""
        return now - self.asked_at < _FRESH_SHARE * self.schedule.interval

    def ask(self, now: float) -> None:
        """Note that a request leaves that names this generation."""
        self.is_asked, self.hinted = True, False
        self.asked_at = now

    def hand(self, answer: Answer) -> None:
        """Hand over the answer to a request. A problem is of use only to a wait that has asked."""
        self.is_asked = False
        if isinstance(answer, Report):
            self.seems_finished = answer.complete
            self.asked_age = self.asked_at - self._accepted_at
        if self.asking is not None:
            if not self.asking.done():
                self.asking.set_result(answer)
        elif isinstance(answer, Report):
            self.answer = answer
            self._woken.set()


class JointPolls:
    """The polls of all waits for one family's generations at one account.

    Args:
        name: The gateway's, for messages.
        ask_one: Fetches one generation.
        ask_many: Fetches several, answering in the same order.
        most: The most ids of one request; 1 if the gateway cannot do it.
        clock: Monotonic seconds.
        luck: Spreads the rounds.
        ids_of: How many ids name a generation in such a request.
    """

    def __init__(
        self,
        name: str,
        ask_one: AskOne,
        ask_many: AskMany,
        most: int,
        clock: Callable[[], float] = time.monotonic,
        luck: random.Random | None = None,
        *,
        ids_of: Callable[[Wanted], int] = lambda _: 1,
    ) -> None:
        self.clock = clock
        self._name = name
        self._ask_one = ask_one
        self._ask_many = ask_many
        self._most = most
        self._ids_of = ids_of
        self._waiters: dict[Waiter, None] = {}
        self._asked = asyncio.Event()
        self._driver: asyncio.Task[None] | None = None
        self._rounds: set[asyncio.Task[None]] = set()
        self._is_planned = False
        self._luck = luck or random.Random()
        self._spread = 1.0
        self._not_before = -math.inf
        self._failures, self._doubts = 0, 0
        self._has_given_up = False

    @property
    def alone(self) -> bool:
        """True if each generation is fetched by itself."""
        return self._most < 2 or len(self._waiters) < 2

    @contextmanager
    def waiting(
        self, wanted: Wanted, schedule: Schedule, age: float, deadline: float = math.inf
    ) -> Iterator[Waiter]:
        """Take part, from `age` seconds after the gateway accepted the generation until the block ends.

        `deadline` (seconds from now): a pause that the gateway asks for does not keep the wait longer.
        """
        waiter = Waiter(self, wanted, schedule, age, deadline)
        self._waiters[waiter] = None
        try:
            yield waiter
        finally:
            del self._waiters[waiter]
            self._asked.set()

    def hint(self, generation_id: str) -> None:
        """Let whoever waits for a generation ask at once."""
        for waiter in self._waiters:
            if waiter.wanted.generation_id == generation_id:
                waiter.hint()

    async def poll(self, waiter: Waiter) -> Answer:
        """The answer for a wait that is due: alone, or in the next round."""
        waiter.due = min(waiter.due, self.clock())
        if self.alone and not waiter.is_asked:
            return await self._poll_alone(waiter)
        if self._not_before > waiter.ends_at:
            pause = self._not_before - self.clock()
            message = f"the gateway asks for a pause of {pause:.0f} s, and this wait ends before"
            return FetchProblem(FetchProblemKind.TRANSIENT, message, pause, None)
        waiter.asking = asyncio.get_running_loop().create_future()
        if waiter.hinted or not self._is_planned:
            self._asked.set()
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._drive())
        try:
            return await waiter.asking
        finally:
            waiter.asking = None

    async def aclose(self) -> None:
        """End all requests."""
        tasks = [*self._rounds, *([self._driver] if self._driver is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _poll_alone(self, waiter: Waiter) -> Answer:
        waiter.ask(self.clock())
        try:
            answer = await self._ask_one(waiter.wanted)
        finally:
            waiter.is_asked = False
        waiter.hand(answer)
        waiter.answer = None
        return answer

    # --- rounds -------------------------------------------------------------------------------------------------------

    async def _drive(self) -> None:
        try:
            await self._begin_rounds()
        except Exception as error:  # else they would wait for ever
            log.exception("The joint polls of %s failed.", self._name)
            for waiter in self._waiters:
                waiter.hand(_failed(error))

    async def _begin_rounds(self) -> None:
        """Begin a round whenever it is time, as long as a wait asks."""
        while due := [one for one in self._waiters if one.asking is not None]:
            self._asked.clear()
            unasked = [one for one in due if not one.is_asked]
            pause = self._next_round(unasked) - self.clock() if unasked else math.inf
            if pause <= 0:
                self._begin_round()
                continue
            self._is_planned = pause < math.inf  # others that ask until then change nothing
            with suppress(TimeoutError):
                async with asyncio.timeout(pause if self._is_planned else None):
                    await self._asked.wait()
            self._is_planned = False

    def _next_round(self, due: Sequence[Waiter]) -> float:
        """The time of the next round, of which `due` wait already."""
        if self.alone or any(one.hinted for one in due):
            return self._not_before
        now = self.clock()
        interval = min(one.schedule.interval for one in due)
        at = round_time([(one.asked_at, one.gap(now)) for one in self._waiters], interval, self._spread)
        return max(min(at, due[0].due + interval), self._not_before)

    def _begin_round(self) -> None:
        now = self.clock()
        self._spread = self._luck.uniform(*_SPREAD)
        for chunk in self._chunks(now):
            for waiter in chunk:
                waiter.ask(now)
            task = asyncio.create_task(self._ask(chunk))
            self._rounds.add(task)
            task.add_done_callback(self._rounds.discard)

    def _chunks(self, now: float) -> list[list[Waiter]]:
        """The waits of a round, those that ask first, in as many requests as hold them."""
        free = [one for one in self._waiters if not one.is_asked]
        asking = [one for one in free if one.asking is not None]
        if self.alone:
            return [[one] for one in asking]
        chosen = asking + [one for one in free if one.asking is None and not one.is_fresh(now)]
        chunks: list[list[Waiter]] = []
        left = 0
        for waiter in chosen:
            ids = self._ids_of(waiter.wanted)
            if ids > left:
                chunks.append([])
                left = self._most
            chunks[-1].append(waiter)
            left -= ids
        return chunks

    async def _ask(self, chunk: Sequence[Waiter]) -> None:
        """One request of a round; whatever happens, each wait that asks gets an answer."""
        try:
            if len(chunk) == 1:
                chunk[0].hand(await self._ask_one(chunk[0].wanted))
                return
            answers = await self._ask_many([one.wanted for one in chunk])
            if isinstance(answers, BatchProblem):
                await self._without_answer(chunk, answers)
            else:
                await self._hand_out(chunk, answers)
        except Exception as error:
            log.debug("A joint poll failed.", exc_info=True)
            for waiter in chunk:
                waiter.hand(_failed(error))
        finally:
            for waiter in chunk:
                waiter.is_asked = False
            self._asked.set()

    async def _hand_out(self, chunk: Sequence[Waiter], answers: Sequence[Answer]) -> None:
        """Hand each wait its part. What the answer leaves out is asked for alone: only that tells what is wrong."""
        self._failures = 0
        left_out: list[Waiter] = []
        for waiter, answer in zip(chunk, answers, strict=True):
            if isinstance(answer, FetchProblem) and waiter.asking is not None:
                left_out.append(waiter)
            else:
                self._respect(answer)
                waiter.hand(answer)
        if not left_out:
            self._doubts = 0
            return
        found = await self._ask_alone(left_out)
        if any(isinstance(one, Report) and one.takes for one in found):
            self._doubts += 1
            if self._doubts >= _DOUBTS_UNTIL_FEWER:
                self._doubts = 0
                self._ask_for_fewer(chunk, "its answer leaves some out")

    async def _without_answer(self, chunk: Sequence[Waiter], trouble: BatchProblem) -> None:
        """A request of a round failed: ask for less at once, or alone, or let each wait try again."""
        asking = [one for one in chunk if one.asking is not None]
        if trouble.refused:
            self._give_up(trouble.problem.message)
        elif trouble.too_long:
            self._ask_for_fewer(chunk, "the request or its answer is too long")
        elif await self._fails_for_one_too(asking):
            self._respect(trouble.problem)
            for waiter in chunk:
                waiter.hand(trouble.problem)
            return
        else:
            self._give_up(trouble.problem.message)
        await self._ask_alone([one for one in asking if one.asking is not None and not one.asking.done()])

    async def _fails_for_one_too(self, asking: Sequence[Waiter]) -> bool:
        """False if one generation alone is answered after several failures in a row; else this may pass."""
        self._failures += 1
        if self._failures < _FAILURES_UNTIL_ALONE or not asking:
            return True
        found = await self._ask_alone(asking[:1])
        return not isinstance(found[0], Report)

    async def _ask_alone(self, waiters: Sequence[Waiter]) -> list[Answer]:
        found = await asyncio.gather(*(self._ask_one(one.wanted) for one in waiters))
        for waiter, answer in zip(waiters, found, strict=True):
            self._respect(answer)
            waiter.hand(answer)
        return found

    def _ask_for_fewer(self, chunk: Sequence[Waiter], reason: str) -> None:
        self._most = min(self._most, sum(self._ids_of(one.wanted) for one in chunk) // 2)
        if self._most < 2:
            self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        if not self._has_given_up:  # several requests may be refused at once
            log.warning(
                "%s is asked for each generation alone: it does not answer for several (%s).",
                self._name,
                reason.rstrip("."),
            )
        self._has_given_up, self._most, self._failures = True, 1, 0

    def _respect(self, answer: Answer) -> None:
        """Begin no round before the gateway wants one."""
        if answer.retry_after:
            self._not_before = max(self._not_before, self.clock() + answer.retry_after)


def _failed(error: Exception) -> FetchProblem:
    return FetchProblem(FetchProblemKind.TRANSIENT, f"{type(error).__name__}: {error}", None, None)
