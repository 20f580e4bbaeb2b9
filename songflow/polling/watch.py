"""What one wait sees of a generation's finish."""

from __future__ import annotations

from datetime import datetime, timedelta

from songflow.gateways import Report
from songflow.ledger.rows import Submission, Timing

__all__ = ["Watch"]


class Watch:
    """Notes the looks of one wait: the last that found the generation unfinished, the first that found it finished.

    A list that has to be seen twice before it counts was finished when it was seen first.
    """

    def __init__(self, submission: Submission) -> None:
        self._sent_at = submission.sending_at
        self._accepted_at = submission.answered_at or submission.intended_at
        self.pending_at = submission.pending_at
        self._finished_at: datetime | None = None

    def look(self, report: Report, age: float) -> None:
        """A readable answer came `age` seconds after the gateway accepted the generation."""
        now = self._accepted_at + timedelta(seconds=age)
        if not report.complete:
            self.pending_at, self._finished_at = now, None
        elif self._finished_at is None:
            self._finished_at = now

    def timing(self, report: Report) -> Timing:
        """What the ledger keeps of it, `report` being the last one."""
        return Timing(
            self._accepted_at, self._sent_at, self.pending_at, self._finished_at, report.ran_seconds
        )
