"""How long generations took, as far as anybody can know.

A wait sees a generation only when it asks: what it knows is the last look that found it unfinished and the look
that found it finished. Some gateways also tell their own figure, in whole seconds of their own clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from songflow.ledger.rows import Timing

__all__ = ["CONFLICT_SECONDS", "TYPICAL_SECONDS", "Duration", "duration_of", "usable"]

CONFLICT_SECONDS = 1.0
"""The gateway's figure and our looks may differ by so much (slow answers) before they contradict each other."""

TYPICAL_SECONDS = 54.0
"""The duration of a generation without any history; published examples took 52 s and 54 s."""

_UNTRUSTED_SHARE = 0.1
_VAGUE = 3.0

# A submit that took longer than this is no measure: its id came by another way (a spool, a person).
_SLOWEST_SUBMIT = 120.0


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds from the gateway's acceptance to a finish that can be seen.

    Attributes:
        low: The last look that found it unfinished; 0 where there was none.
        high: The look that found it finished.
        told: The gateway's own figure, None where it tells no times.
        blur: How far the figure may be off, for its clock's whole seconds and for the time that the submit took.
    """

    low: float
    high: float
    told: float | None = None
    blur: float = 1.0

    @property
    def contradicts(self) -> bool:
        """Whether our own looks disprove the gateway's figure."""
        if self.told is None:
            return False
        off = self.blur + CONFLICT_SECONDS
        return self.told + off <= self.low or self.told - off >= self.high

    @property
    def bounds(self) -> tuple[float, float]:
        """Where the finish lies by everything that is known."""
        if self.told is None or self.contradicts:
            return self.low, self.high
        low, high = max(self.low, self.told - self.blur), min(self.high, self.told + self.blur)
        return (low, high) if low < high else (self.low, self.high)

    @property
    def middle(self) -> float:
        """The middle of the bounds."""
        return sum(self.bounds) / 2


def duration_of(timing: Timing) -> Duration | None:
    """A generation's duration by what the ledger keeps of it; None where that says nothing.

    Only differences of one clock are taken: our looks by ours, the gateway's figure by its own. The figure counts
    from some moment of the submit, our looks from its answer.
    """
    submit = 0.0 if timing.sent_at is None else (timing.accepted_at - timing.sent_at).total_seconds()
    if timing.finished_at is None or not 0 <= submit <= _SLOWEST_SUBMIT:
        return None
    high = (timing.finished_at - timing.accepted_at).total_seconds()
    low = 0.0 if timing.pending_at is None else (timing.pending_at - timing.accepted_at).total_seconds()
    low = max(low, 0.0)
    if low >= high:
        return None  # the clock was set in between
    told = None if timing.ran_seconds is None else timing.ran_seconds - submit / 2
    return Duration(low, high, told, blur=1.0 + submit / 2)


def usable(durations: Sequence[Duration]) -> list[Duration]:
    """The durations that say something, without figures of a gateway whose figures our looks disprove.

    A gateway that shows a finish only some time after its own clock wrote it down tells a time at which asking is
    too early. A wait that began late (another process had died) knows no more than that it was over by then.
    """
    figures = [one for one in durations if one.told is not None]
    wrong = sum(one.contradicts for one in figures)
    if wrong > _UNTRUSTED_SHARE * len(figures):
        durations = [Duration(one.low, one.high) for one in durations]
    if not durations:
        return []
    usual = median(one.high for one in durations)
    return [one for one in durations if not _is_vague(one, usual)]


def _is_vague(one: Duration, usual: float) -> bool:
    low, high = one.bounds
    return high > _VAGUE * usual and high - low > high / 2
