"""Take over from the spool what became of a POST whose process could not commit it."""

from __future__ import annotations

from datetime import UTC, datetime

from songflow.ledger.lease import Lease, this_process
from songflow.ledger.spool import SpoolEntry
from songflow.ledger.states import State
from songflow.ledger.submissions import Submissions

__all__ = ["adopt_entry"]

_STATES = {"not_sent": State.UNSENT, "refused": State.REFUSED, "unknown": State.UNKNOWN}


async def adopt_entry(submissions: Submissions, entry: SpoolEntry, *, release: bool = False) -> bool:
    """Settle a submission in state `sending` or `unknown` as its spool entry says; False if it was neither.

    Args:
        release: End its lease, for whoever waits for it next.

    Raises:
        LibraryError: the ledger cannot be written.
    """
    if not entry.is_accepted:
        reason = entry.reason or "the reason was not kept"
        return await submissions.settle_sending(
            entry.submission_id, _STATES[entry.outcome], reason, entry.answer
        )
    lease = Lease(this_process(), entry.fence, datetime.now(UTC)) if release and entry.fence else None
    accepted = await submissions.accepted(
        entry.submission_id, entry.generation_id, entry.track_ids, entry.answer, lease
    )
    return accepted is not None
