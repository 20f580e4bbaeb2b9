"""The progress of a job: a pure function of its row, the clock and the settings."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from songflow.simulator.jobs import Job
from songflow.simulator.settings import SimulatorSettings

# In the published example, a job is queued for 14 of its 54 s.
_QUEUE_SHARE = 0.26
_NOT_STARTED_SHARE = 0.02
_SUBMITTED_SHARE = 0.06


@dataclass(frozen=True)
class Moment:
    """A job at one time. Times are in unix seconds; `elapsed` and `generation` in simulated seconds."""

    elapsed: float
    generation: float
    started_at: float
    finishes_at: float

    @property
    def due(self) -> bool:
        """Whether the generation time is over (rendering may still be in progress)."""
        return self.elapsed >= self.generation

    @property
    def share(self) -> float:
        return 1.0 if self.due else max(0.0, self.elapsed / self.generation)

    @property
    def after_finish(self) -> float:
        """Simulated seconds since the end; negative before it."""
        return self.elapsed - self.generation

    @property
    def status(self) -> str:
        """The status up to IN_PROGRESS; the final status depends on whether the songs are rendered."""
        if self.share < _NOT_STARTED_SHARE:
            return "NOT_START"
        if self.share < _SUBMITTED_SHARE:
            return "SUBMITTED"
        return "QUEUED" if self.share < _QUEUE_SHARE else "IN_PROGRESS"

    @property
    def progress(self) -> str:
        if self.status != "IN_PROGRESS":
            return "0%"
        return f"{min(99, int(100 * (self.share - _QUEUE_SHARE) / (1 - _QUEUE_SHARE)))}%"


def generation_seconds(settings: SimulatorSettings, generation_id: str) -> float:
    """Simulated seconds from submit to end: log-normal, and always the same for an id."""
    luck = random.Random(f"{settings.seed}:{generation_id}")
    return settings.median_seconds * math.exp(settings.sigma * luck.gauss(0.0, 1.0))


def moment(settings: SimulatorSettings, job: Job, now: float) -> Moment:
    """The job at the real time `now`, rounded down to the gateway's last tick."""
    if settings.tick_seconds > 0:
        tick = settings.tick_seconds / settings.speed
        now = math.floor(now / tick) * tick
    seconds = generation_seconds(settings, job.generation_id)
    return Moment(
        elapsed=(now - job.submitted_at) * settings.speed,
        generation=seconds,
        started_at=job.submitted_at + seconds * _QUEUE_SHARE / settings.speed,
        finishes_at=job.submitted_at + seconds / settings.speed,
    )
