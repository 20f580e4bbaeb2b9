"""The one loop that polls a gateway until a generation is settled.

The loop uses no HTTP, ledger or Prefect: it is given `get` (one poll), a schedule and a deadline, so that it can be
tested with a fake clock. A failed poll never loses a generation; only these end the wait:

    settled      the gateway's answer is final: the report is returned
    Overdue      our deadline passed, or the key is refused, several times in a row: the generation continues
    Vanished     the gateway does not know the id, several times in a row
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from songflow.gateways import FetchProblem, FetchProblemKind, Report, ReportStatus
from songflow.runtime.retry import Backoff, retry

__all__ = [
    "Fixed",
    "Overdue",
    "Schedule",
    "Vanished",
    "WaitEnded",
    "default_deadline",
    "look",
    "wait_until_settled",
]

# Without history: relays refresh a task about every 15 s, published generations took 52 s to 627 s; 5 s adds little
# lag and few requests.
DEFAULT_INTERVAL_SECONDS = 5.0

# Just after a submit a gateway may not know the id yet; relays queue for less than this.
VISIBILITY_SECONDS = 120.0
# A single "not found" or refusal of the key among good responses is a glitch of a load-balanced relay, of its database
# or of what protects it; this many in a row are not.
MISSES_UNTIL_LOST = 3
REFUSALS_UNTIL_STOPPED = 3
# At the deadline there is no time for that many polls: the last ones follow at once.
_CONFIRM_SECONDS = 0.5

# One look at a generation that no wait repeats.
_LOOK_BACKOFF = Backoff(first=0.5, attempts=3)
_PASSING = (FetchProblemKind.TRANSIENT, FetchProblemKind.CREDENTIALS)

_DEADLINE_BASE_SECONDS = 1200.0
_DEADLINE_PER_SONG_SECOND = 10.0


def default_deadline(model_seconds: float) -> float:
    """Seconds to wait for a model that makes `model_seconds` of music: twice the longest published time, and more."""
    return _DEADLINE_BASE_SECONDS + _DEADLINE_PER_SONG_SECOND * model_seconds


class Schedule(Protocol):
    """The time of the next poll; `interval` is the usual number of seconds between polls."""

    @property
    def interval(self) -> float: ...

    def delay(self, elapsed: float) -> float:
        """Seconds until the next poll, `elapsed` seconds after the gateway accepted the generation."""
        ...

    def gap(self, elapsed: float) -> float:
        """Seconds between the two polls around this age of a generation, if it is polled alone."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """A fixed interval with `jitter` (a share of it), so that many waiters do not poll in step."""

    interval: float = DEFAULT_INTERVAL_SECONDS
    jitter: float = 0.1
    random: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def delay(self, elapsed: float) -> float:
        """Seconds until the next poll."""
        return self.interval * (1 + self.jitter * (2 * self.random.random() - 1))

    def gap(self, elapsed: float) -> float:
        """Seconds between two polls."""
        return self.interval


class WaitEnded(Exception):
    """The wait ended without a final status; `last` is the last readable report."""

    def __init__(self, message: str, last: Report | None = None) -> None:
        super().__init__(message)
        self.last = last


class Overdue(WaitEnded):
    """We stopped waiting; the generation continues and is billed."""


class Vanished(WaitEnded):
    """The gateway no longer knows the id."""


class _BadLook(Exception):
    """A problem that another look may not find."""

    def __init__(self, problem: FetchProblem) -> None:
        super().__init__(problem.message)
        self.problem = problem


async def look(get: Callable[[], Awaitable[Report | FetchProblem]]) -> Report | FetchProblem:
    """One poll outside of a wait, repeated twice if it fails for a reason that may pass."""

    async def attempt() -> Report | FetchProblem:
        answer = await get()
        if isinstance(answer, FetchProblem) and answer.kind in _PASSING:
            raise _BadLook(answer)
        return answer

    try:
        return await retry(attempt, on=_BadLook, backoff=_LOOK_BACKOFF)
    except _BadLook as bad:
        return bad.problem


async def wait_until_settled(
    get: Callable[[], Awaitable[Report | FetchProblem]],
    schedule: Schedule,
    *,
    age: float,
    deadline: float,
    track_ids: Sequence[str] = (),
    first_delay: float | None = None,
    on_report: Callable[[Report, float], Awaitable[None]] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Report:
    """Poll until the gateway's status is final.

    Args:
        get: One poll; it returns problems instead of raising them.
        schedule: When to poll next.
        age: Seconds since the gateway accepted the generation, as the wait starts.
        deadline: Seconds that this wait may take.
        track_ids: The takes named in the submit's response, if any.
        first_delay: Seconds before the first poll (None: as the schedule decides).
        on_report: Called with each readable report and the generation's age in seconds.
        clock: Monotonic seconds.
        sleep: Waits seconds.

    Raises:
        Overdue: the deadline passed, or the gateway refuses our key.
        Vanished: the gateway does not know the id.
    """
    start = clock()
    previous: Report | None = None
    misses, refusals, trouble = 0, 0, ""
    pause = schedule.delay(age) if first_delay is None else first_delay
    while True:
        left = deadline - (clock() - start)
        await sleep(max(0.0, min(pause, left)))
        waited = clock() - start
        answer = await get()
        if isinstance(answer, Report):
            misses, refusals, trouble = 0, 0, ""
            if on_report is not None:
                await on_report(answer, age + waited)
            if answer.settled(track_ids, previous):
                return answer
            previous = answer
        else:
            trouble = answer.message
            misses = misses + 1 if answer.kind is FetchProblemKind.NOT_FOUND else 0
            refusals = refusals + 1 if answer.kind is FetchProblemKind.CREDENTIALS else 0
            if refusals:
                trouble = f"the gateway refuses our key: {trouble}"
            if refusals >= REFUSALS_UNTIL_STOPPED:
                raise Overdue(trouble, previous)
            if misses >= MISSES_UNTIL_LOST and age + waited > VISIBILITY_SECONDS:
                raise Vanished(trouble, previous)
            if waited >= deadline and (refusals or (misses and age + waited > VISIBILITY_SECONDS)):
                await sleep(_CONFIRM_SECONDS)
                continue
        if waited >= deadline:
            seen = previous.status if previous is not None else ReportStatus.UNCLEAR
            raise Overdue(trouble or f"after {waited:.0f} s its status is still '{seen}'", previous)
        pause = schedule.delay(age + clock() - start)
        if isinstance(answer, Report) and answer.complete:
            pause = min(pause, schedule.interval)  # it seems finished: one more poll confirms it
        pause = max(pause, answer.retry_after or 0.0)
