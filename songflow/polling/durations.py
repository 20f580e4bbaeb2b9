"""Durations of generations, as intervals.

A wait observes a generation only when it polls: the finish is between the last poll that found it unfinished and the
first that found it finished. Some gateways also report a duration, in whole seconds of their clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from songflow.ledger.rows import Timing

__all__ = ["CONFLICT_SECONDS", "TYPICAL_SECONDS", "Duration", "duration_of", "usable"]

CONFLICT_SECONDS = 1.0
"""Allowed difference between the reported duration and our polls (slow responses)."""

TYPICAL_SECONDS = 54.0
"""The duration of a generation without any history; published examples took 52 s and 54 s."""

_UNTRUSTED_SHARE = 0.1
_VAGUE = 3.0

# After a longer submit the times mean nothing: the id came from elsewhere (the spool, a person).
_SLOWEST_SUBMIT = 120.0


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds from the gateway's acceptance to the visible finish.

    Attributes:
        low: The last poll that found it unfinished; 0 if there was none.
        high: The first poll that found it finished.
        reported: The duration that the gateway reports, if any.
        tolerance: Possible error of `reported`: whole seconds, and the time that the submit took.
    """

    low: float
    high: float
    reported: float | None = None
    tolerance: float = 1.0

    @property
    def contradicts(self) -> bool:
        """True if the reported duration contradicts our polls."""
        if self.reported is None:
            return False
        off = self.tolerance + CONFLICT_SECONDS
        return self.reported + off <= self.low or self.reported - off >= self.high

    @property
    def bounds(self) -> tuple[float, float]:
        """Bounds of the finish from our polls and the reported duration."""
        if self.reported is None or self.contradicts:
            return self.low, self.high
        low, high = (
            max(self.low, self.reported - self.tolerance),
            min(self.high, self.reported + self.tolerance),
        )
        return (low, high) if low < high else (self.low, self.high)

    @property
    def middle(self) -> float:
        """The middle of the bounds."""
        return sum(self.bounds) / 2


def duration_of(timing: Timing) -> Duration | None:
    """A generation's duration from its ledger row; None if the row has too little.

    Only differences of the same clock are used. The reported duration starts at some moment of the submit, our polls
    count from its response.
    """
    submit = 0.0 if timing.sent_at is None else (timing.accepted_at - timing.sent_at).total_seconds()
    if timing.finished_at is None or not 0 <= submit <= _SLOWEST_SUBMIT:
        return None
    high = (timing.finished_at - timing.accepted_at).total_seconds()
    low = 0.0 if timing.pending_at is None else (timing.pending_at - timing.accepted_at).total_seconds()
    low = max(low, 0.0)
    if low >= high:
        return None  # the clock was set in between
    reported = None if timing.ran_seconds is None else timing.ran_seconds - submit / 2
    return Duration(low, high, reported, tolerance=1.0 + submit / 2)


def usable(durations: Sequence[Duration]) -> list[Duration]:
    """Drop uninformative durations, and all reported values of a gateway if many contradict our polls.

    A gateway may show a finish later than its own clock recorded it: its reported duration would make polls too early.
    A wait that began late (after another process died) knows only that the generation had finished by then.
    """
    reports = [one for one in durations if one.reported is not None]
    wrong = sum(one.contradicts for one in reports)
    if wrong > _UNTRUSTED_SHARE * len(reports):
        durations = [Duration(one.low, one.high) for one in durations]
    if not durations:
        return []
    usual = median(one.high for one in durations)
    return [one for one in durations if not _is_vague(one, usual)]


def _is_vague(one: Duration, usual: float) -> bool:
    low, high = one.bounds
    return high > _VAGUE * usual and high - low > high / 2
