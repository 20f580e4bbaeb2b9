"""Looking after a submission: while a process waits for it or collects it, the ledger names that process.

Whoever has just submitted holds the submission already, under the lease that was stored with its id; `kept`
goes on under it, so that one release ends it all. Anybody else takes a lease of their own, in `held`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from songflow.errors import LibraryError
from songflow.generation.session import Session
from songflow.ledger.lease import Lease
from songflow.ledger.rows import Submission

__all__ = ["held", "kept", "looked_after"]


@asynccontextmanager
async def held(session: Session, submission: Submission, seconds: float) -> AsyncIterator[None]:
    """Hold a submission; inside of `kept` the lease there is used, as long as it lasts for so many seconds.

    Raises:
        LibraryError: the ledger cannot be written.
    """
    ledger = session.library.ledger.submissions
    current = session.leases.get(submission.id)
    if current is not None and current.lasts(seconds):
        yield
        return
    lease = Lease.take(seconds + session.settings.lease_margin)
    await ledger.hold(submission.id, lease)
    if current is not None:
        session.leases[submission.id] = lease
        yield
        return
    try:
        yield
    finally:
        with suppress(LibraryError):  # it then ends by itself
            await ledger.release(submission.id, lease.fence)


@asynccontextmanager
async def kept(session: Session, submission: Submission) -> AsyncIterator[None]:
    """Go on under the lease that the submission was just read with, where it is this process's; release it then."""
    if not submission.lease.is_ours() or submission.id in session.leases:
        yield
        return
    async with _under(session, submission, submission.lease):
        yield


@asynccontextmanager
async def looked_after(session: Session, submission: Submission, seconds: float) -> AsyncIterator[None]:
    """Hold a submission from its answer to its last song, without a gap in which it would seem to be nobody's.

    Whoever has just submitted goes on under that lease, anybody else takes one of their own.

    Raises:
        LibraryError: the ledger cannot be written.
    """
    if submission.lease.is_ours() or submission.id in session.leases:
        async with kept(session, submission):
            yield
        return
    lease = Lease.take(seconds + session.settings.lease_margin)
    await session.library.ledger.submissions.hold(submission.id, lease)
    async with _under(session, submission, lease):
        yield


@asynccontextmanager
async def _under(session: Session, submission: Submission, lease: Lease) -> AsyncIterator[None]:
    """Everything that this session does with a submission happens under one lease, released at the end."""
    session.leases[submission.id] = lease
    try:
        yield
    finally:
        lease = session.leases.pop(submission.id)
        with suppress(LibraryError):
            await session.library.ledger.submissions.release(submission.id, lease.fence)
