"""The leases of a session: while a process waits for a submission or collects it, the ledger names that process.

A process that has just submitted owns the submission's lease already and reuses it, so that one release ends it. Any
other process acquires a lease of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from songflow.errors import LibraryError
from songflow.ledger.lease import Lease
from songflow.ledger.rows import Submission
from songflow.ledger.submissions import Submissions

__all__ = ["LeaseKeeper"]


class LeaseKeeper:
    """Acquires, reuses and releases the leases of one session's submissions.

    Args:
        submissions: The ledger's.
        margin: Seconds that a lease outlives what it covers.
    """

    def __init__(self, submissions: Submissions, margin: float) -> None:
        self._submissions = submissions
        self._margin = margin
        # By the submission's id: the lease under which the whole life cycle of a submission runs here.
        self._leases: dict[str, Lease] = {}

    @asynccontextmanager
    async def acquire_lease(self, submission: Submission, seconds: float) -> AsyncIterator[None]:
        """Hold a lease for so many seconds; an enclosing lease is used if it lasts long enough, else replaced.

        Raises:
            LibraryError: the ledger cannot be written.
        """
        current = self._leases.get(submission.id)
        if current is not None and current.lasts(seconds):
            yield
            return
        lease = await self._hold(submission, seconds)
        if current is not None:
            self._leases[submission.id] = lease  # the enclosing block releases it
            yield
            return
        try:
            yield
        finally:
            await self._release(submission, lease)

    @asynccontextmanager
    async def reuse_lease(self, submission: Submission) -> AsyncIterator[None]:
        """Keep the lease that the submission was read with, if it is this process's, and release it at the end."""
        if not submission.lease.is_ours() or submission.id in self._leases:
            yield
            return
        async with self._lifecycle(submission, submission.lease):
            yield

    @asynccontextmanager
    async def lease_for_lifecycle(self, submission: Submission, seconds: float) -> AsyncIterator[None]:
        """Hold one lease from the answer to the POST until the last song, without a gap in which nobody holds it.

        A process that has just submitted reuses its lease, any other acquires one for so many seconds.

        Raises:
            LibraryError: the ledger cannot be written.
        """
        if submission.lease.is_ours() or submission.id in self._leases:
            async with self.reuse_lease(submission):
                yield
            return
        lease = await self._hold(submission, seconds)
        async with self._lifecycle(submission, lease):
            yield

    @asynccontextmanager
    async def _lifecycle(self, submission: Submission, lease: Lease) -> AsyncIterator[None]:
        self._leases[submission.id] = lease
        try:
            yield
        finally:
            await self._release(submission, self._leases.pop(submission.id))

    async def _hold(self, submission: Submission, seconds: float) -> Lease:
        lease = Lease.take(seconds + self._margin)
        await self._submissions.hold(submission.id, lease)
        return lease

    async def _release(self, submission: Submission, lease: Lease) -> None:
        with suppress(LibraryError):  # it expires anyway
            await self._submissions.release(submission.id, lease.fence)
