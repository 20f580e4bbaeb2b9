"""Leases: which process waits for a submission or collects it, as its row in the ledger shows."""

from __future__ import annotations

import pytest

from songflow.generation.lifecycle import generate_in
from songflow.ledger.lease import Lease


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records the ledger's transactions."""
    from songflow.ledger import engine

    seen: list[str] = []
    monkeypatch.setattr(engine, "reached", seen.append)
    return seen


async def test_one_lease_covers_a_generation_from_its_post_to_its_songs(
    session, access, simulator, song_request, commits
) -> None:
    """The lease stored with the accepted id lasts until the songs are stored; nothing else is written."""
    opened = await session(deadline=2000.0)
    await generate_in(opened, song_request(), access(simulator().url), key="key")
    acts = [point.partition(":")[0] for point in commits if "after" in point]
    assert [act for act in acts if act not in {"migrate", "running"}] == [
        "intent", "sending", "accepted", "succeeded", "song stored", "song stored", "release"
    ]  # fmt: skip
    (submission,) = await opened.library.ledger.submissions.of_key("key")
    assert submission.lease.is_dead()


async def test_a_reused_lease_is_replaced_only_if_it_ends_too_soon(
    session, access, simulator, song_request
) -> None:
    """Work that needs longer gets a longer lease, which is released at its end."""
    opened = await session(deadline=2000.0)
    ledger = opened.library.ledger.submissions
    await generate_in(opened, song_request(), access(simulator().url), key="key")
    (submission,) = await ledger.of_key("key")
    lease = Lease.take(100.0)
    await ledger.hold(submission.id, lease)
    submission = await ledger.get(submission.id)
    async with opened.leases.reuse_lease(submission):
        async with opened.leases.acquire_lease(submission, 50.0):
            assert (await ledger.get(submission.id)).lease.fence == lease.fence
        async with opened.leases.acquire_lease(submission, 1000.0):
            longer = (await ledger.get(submission.id)).lease
            assert longer.fence != lease.fence
            assert longer.lasts(1000.0)
        assert not (await ledger.get(submission.id)).lease.is_dead()
    assert (await ledger.get(submission.id)).lease.is_dead()


async def test_a_lease_of_another_process_is_not_reused(session, access, simulator, song_request) -> None:
    """Only a lease of this process that has not expired is reused."""
    opened = await session(deadline=2000.0)
    ledger = opened.library.ledger.submissions
    await generate_in(opened, song_request(), access(simulator().url), key="key")
    (submission,) = await ledger.of_key("key")
    async with opened.leases.reuse_lease(submission), opened.leases.acquire_lease(submission, 50.0):
        assert (await ledger.get(submission.id)).lease.fence != submission.lease.fence
