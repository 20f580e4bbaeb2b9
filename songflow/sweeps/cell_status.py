"""What a run does with each cell: the ledger already knows most of it."""

from __future__ import annotations

from enum import StrEnum

from songflow.ledger.key_summaries import KeySummary
from songflow.ledger.states import RULES, State

__all__ = ["Step", "step_of"]


class Step(StrEnum):
    """What is next for a cell."""

    PAY = "pay"
    COLLECT = "collect"
    STORED = "stored"
    FAILED = "failed"
    OPEN = "open"


def step_of(summary: KeySummary | None, *, retry_errors: bool) -> Step:
    """What a run does next: only PAY sends a request; OPEN is for `rescue`, or under way in another process."""
    if summary is None or RULES[summary.state].sends:
        return Step.PAY
    match summary.state:
        case State.SUCCEEDED:
            return Step.COLLECT if summary.missing or not summary.stored else Step.STORED
        case State.FAILED:
            return Step.PAY if retry_errors else Step.FAILED
        case State.INTENDED:
            return Step.PAY if summary.dead else Step.OPEN
        case State.ACCEPTED | State.RUNNING | State.OVERDUE:
            return Step.COLLECT
        case _:
            return Step.OPEN
