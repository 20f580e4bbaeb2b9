"""How far a job is at a moment: a pure function of its row, the clock and the settings."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from songflow.simulator.jobs import Job
from songflow.simulator.settings import SimulatorSettings

# In the published example a job waits 14 of its 54 s before it starts.
_QUEUE_SHARE = 0.26
_NOT_STARTED_SHARE = 0.02
_SUBMITTED_SHARE = 0.06


@dataclass(frozen=True)
class Moment:
    """A job as a clock shows it. Times are unix seconds; `elapsed` and `generation` simulated seconds."""

    elapsed: float
    generation: float
    started_at: float
    finishes_at: float

    @property
    def due(self) -> bool:
        """Whether generation time is over (rendering may still be going on)."""
        return self.elapsed >= self.generation

    @property
    def share(self) -> float:
        return 1.0 if self.due else max(0.0, self.elapsed / self.generation)

    @property
    def after_finish(self) -> float:
        """Simulated seconds since the finish; negative before it."""
        return self.elapsed - self.generation

    @property
    def status(self) -> str:
        """The word on the way, up to IN_PROGRESS; the end is decided by who knows whether songs are ready."""
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
    """Simulated seconds from submit to finish, log-normal, always the same for an id."""
    luck = random.Random(f"{settings.seed}:{generation_id}")
    return settings.median_seconds * math.exp(settings.sigma * luck.gauss(0.0, 1.0))


def moment(settings: SimulatorSettings, job: Job, now: float) -> Moment:
    """The job at real time `now`, rounded down to the gateway's last tick."""
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
