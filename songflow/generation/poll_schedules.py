"""When a session polls: a fixed interval, or a schedule learned from how long such requests took before."""

from __future__ import annotations

from songflow.accounts import Access
from songflow.families.family import Model, Request
from songflow.generation.session_settings import SessionSettings
from songflow.ledger.rows import RequestKind, Timing
from songflow.ledger.submissions import Submissions
from songflow.polling import Memory
from songflow.polling.loop import DEFAULT_INTERVAL_SECONDS, Fixed, Schedule, default_deadline

__all__ = ["PollSchedules"]


class PollSchedules:
    """The polling schedules and deadlines of one session, with the histories that all its waits share."""

    def __init__(self, settings: SessionSettings, submissions: Submissions) -> None:
        self._settings = settings
        self._memory = Memory(submissions)

    async def schedule(self, access: Access, request: Request) -> Schedule:
        """The schedule for a request: fixed by the settings, else learned, else every 5 s.

        Raises:
            LibraryError: the ledger cannot be read.
        """
        settings = self._settings
        if settings.poll_interval is not None:
            return Fixed(settings.poll_interval, jitter=0.0)
        # The embedded simulator's time runs faster, and so do the polls.
        speed = settings.embedded_speed if access.is_embedded else 1.0
        interval = DEFAULT_INTERVAL_SECONDS / speed
        learned = interval / 2 if settings.busy else interval
        history = await self._memory.history(_kind(access, request), learned)
        return history.schedule() or Fixed(interval)

    def learn(self, access: Access, request: Request, timing: Timing) -> None:
        """Add a generation that ended with songs to the history of its kind."""
        self._memory.add(_kind(access, request), timing)

    def deadline(self, model: Model) -> float:
        """Seconds that one wait may take."""
        if self._settings.deadline is not None:
            return self._settings.deadline
        return default_deadline(model.seconds)


def _kind(access: Access, request: Request) -> RequestKind:
    return RequestKind(access.place, request.model_type, request.mode.value)
