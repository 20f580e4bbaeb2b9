"""Observe a generation's finish during one wait."""

from __future__ import annotations

from datetime import datetime, timedelta

from songflow.gateways import Report
from songflow.ledger.rows import Submission, Timing

__all__ = ["Watch"]


class Watch:
    """Records the last poll that found the generation unfinished and the first that found it finished.

    A list that must be confirmed by a second poll was finished at the first.
    """

    def __init__(self, submission: Submission) -> None:
        self._sent_at = submission.sending_at
        self._accepted_at = submission.answered_at or submission.intended_at
        self.pending_at = submission.pending_at
        self._finished_at: datetime | None = None

    def observe(self, report: Report, age: float) -> None:
        """Record a readable report, `age` seconds after the gateway accepted the generation."""
        now = self._accepted_at + timedelta(seconds=age)
        if not report.complete:
            self.pending_at, self._finished_at = now, None
        elif self._finished_at is None:
            self._finished_at = now

    def timing(self, report: Report) -> Timing:
        """The times for the ledger; `report` is the last one."""
        return Timing(
            self._accepted_at, self._sent_at, self.pending_at, self._finished_at, report.ran_seconds
        )
