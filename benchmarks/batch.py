"""Joint polls: requests per song and mean lag with 200 generations in flight, with batch polling and without.

Time is simulated; the wait loop, the learned schedules and the joint polls are the real ones, on an event loop whose
clock jumps to whatever comes next. In each of 200 slots one song follows the other; both ways wait for the same songs.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.polling import FAMILIES, INTERVAL, Family
from benchmarks.report import Finding, Outcome, Scale
from songflow.gateways import Report, ReportStatus, Wanted
from songflow.polling import Duration, History
from songflow.polling.batch import JointPolls
from songflow.polling.loop import Fixed, wait_until_settled

SLOTS = 200
MOST = 100
_SONGS_A_SLOT = 5
_KNOWN = 50
_ANSWER_SECONDS = 0.3
_DEADLINE = 1e5
_MEASURED = (FAMILIES[0], FAMILIES[1], FAMILIES[2], FAMILIES[3], FAMILIES[6], FAMILIES[7])


class _Jumping(selectors.DefaultSelector):
    """Reports at once what would come after a wait, and counts the seconds that it would have taken."""

    seconds = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.seconds += timeout or 0.0
        return super().select(0)


class SimulatedTime(asyncio.SelectorEventLoop):
    """An event loop that does not wait: its clock jumps to the next callback."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Simulated seconds."""
        return self._jumping.seconds


@dataclass
class Works:
    """A gateway that answers for any number of generations: it counts requests and when each end was noticed."""

    clock: Any
    ends: dict[str, float] = field(default_factory=dict)
    requests: int = 0
    lags: list[float] = field(default_factory=list)

    async def one(self, wanted: Wanted) -> Report:
        """The answer about one generation."""
        return (await self.many([wanted]))[0]

    async def many(self, wanted: Sequence[Wanted]) -> list[Report]:
        """The answer about several."""
        self.requests += 1
        await asyncio.sleep(_ANSWER_SECONDS / 2)
        now = self.clock()
        await asyncio.sleep(_ANSWER_SECONDS / 2)
        return [self._report(now >= self.ends[str(one.generation_id)]) for one in wanted]

    def _report(self, ended: bool) -> Report:
        return Report(ReportStatus.FAILED if ended else ReportStatus.RUNNING, (), None, None, "")


async def _in_flight(durations: Any, most: int, *, together: bool) -> Works:
    """Wait for the songs of each slot (row), one after the other."""
    clock = asyncio.get_running_loop().time
    works, luck = Works(clock), random.Random(0)
    polls = JointPolls("benchmark", works.one, works.many, most, clock, random.Random(1))
    history = History(INTERVAL, _known(durations), luck)
    starts = np.zeros(len(durations)) if together else durations[::-1, 0] * np.linspace(0, 1, len(durations))

    async def slot(number: int) -> None:
        await asyncio.sleep(float(starts[number]))
        for song, seconds in enumerate(durations[number]):
            name, began = f"{number}.{song}", clock()
            works.ends[name] = began + seconds
            schedule = history.schedule() or Fixed(INTERVAL, random=luck)
            with polls.waiting(Wanted(name), schedule, 0.0) as waiter:
                await wait_until_settled(
                    waiter.get, schedule, age=0.0, deadline=_DEADLINE, clock=clock, sleep=waiter.sleep
                )
            works.lags.append(clock() - works.ends[name])
            history.add(Duration(max(0.0, seconds - 1.0), seconds + 1.0, float(round(seconds))))

    await asyncio.gather(*(slot(number) for number in range(len(durations))))
    await polls.aclose()
    return works


def _known(durations: Any) -> list[Duration]:
    """What the ledger knows before: as many songs as `python -m benchmarks polling` learns from."""
    some = np.random.default_rng(1).choice(durations.ravel(), _KNOWN)
    return [Duration(max(0.0, one - 1.0), one + 1.0, float(round(one))) for one in some.tolist()]


def _run(durations: Any, most: int, *, together: bool) -> tuple[float, float]:
    """Requests per song, and the mean lag in seconds."""
    with asyncio.Runner(loop_factory=SimulatedTime) as runner:
        works = runner.run(_in_flight(durations, most, together=together))
    return works.requests / durations.size, fmean(works.lags)


def measure(scale: Scale) -> list[Outcome]:
    """Measure both ways for songs of several distributions, in slots that began together or one after the other."""
    slots, songs = scale.count(SLOTS, 8), scale.count(_SONGS_A_SLOT, 1)
    rows, findings = [], []
    for family in _MEASURED[: scale.count(len(_MEASURED), 1)]:
        for together in (False, True):
            name = f"{family.name}{', began together' if together else ''}"
            alone, joint = _both(family, slots, songs, together=together)
            fewer, lag = alone[0] / joint[0], joint[1] / alone[1]
            rows.append((name, [*alone, *joint, fewer, lag]))
            findings += [
                Finding(f"{name}: requests, alone relative to batch", fewer, 10.0, at_least=True),
                Finding(f"{name}: mean lag, batch relative to alone", lag, 1.05),
            ]
    columns = ("alone: requests", "lag", "batch: requests", "lag", "times fewer", "lag, relative")
    return [
        Outcome(
            f"Batch polling: requests per song and mean lag (s), {slots} in flight", columns, rows, findings
        )
    ]


def _both(
    family: Family, slots: int, songs: int, *, together: bool
) -> tuple[tuple[float, float], tuple[float, float]]:
    durations = family.seen(np.random.default_rng(0).random((slots, songs)))
    return _run(durations, 1, together=together), _run(durations, MOST, together=together)
