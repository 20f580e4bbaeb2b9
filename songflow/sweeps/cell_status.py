"""The next step of each cell, decided by what the ledger already knows of it."""

from __future__ import annotations

import logging
from enum import StrEnum

from songflow.errors import GenerationFailed, SongflowError
from songflow.ledger.key_summaries import KeySummary
from songflow.ledger.states import RULES, State
from songflow.sweeps.cells import Cell

__all__ = ["Step", "failed_before_error", "step_of", "unexpected_error"]

log = logging.getLogger(__name__)


class Step(StrEnum):
    """What a run does with a cell: PAY sends a request; OPEN is left to `rescue` or to another process.

    An OPEN cell that turns out to be unsent is sent, too, unless the sweep was stopped.
    """

    PAY = "pay"
    COLLECT = "collect"
    STORED = "stored"
    FAILED = "failed"
    OPEN = "open"


def step_of(summary: KeySummary | None, *, retry_errors: bool) -> Step:
    """The next step of a cell; `summary` is None if the ledger does not know its key."""
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


def failed_before_error(cell: Cell, summary: KeySummary) -> GenerationFailed:
    """The error of a cell that failed at the gateway in an earlier run."""
    return GenerationFailed(
        f"The generation {summary.generation_id} failed earlier: {summary.error or 'the gateway gave no reason'}.",
        key=cell.key,
        generation_id=summary.generation_id,
        state=State.FAILED,
        next="run the sweep with --retry-errors to pay for a new try.",
    )


def unexpected_error(cell: Cell, error: Exception) -> SongflowError:
    """The error of a cell that met a fault of ours: it must not end the other cells."""
    log.error("The cell %s met an unexpected error.", cell.key, exc_info=error)
    return SongflowError(
        f"Something unexpected went wrong ({type(error).__name__}: {error}).",
        key=cell.key,
        billed="maybe",
        next="run the sweep again: a cell that was paid for is collected, and pays no more.",
    )
