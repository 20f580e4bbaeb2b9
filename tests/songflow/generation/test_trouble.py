"""Cancellation, a locked ledger, dead senders: nothing is paid twice and no id is lost."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from sqlalchemy import make_url

from songflow import errors
from songflow.generation import post, submit
from songflow.generation.lifecycle import wait
from songflow.generation.policy import PaidRequest, PayingPolicy
from songflow.generation.submit import submit_once
from songflow.ledger import State, sqlite_file
from songflow.ledger.lease import Lease
from songflow.ledger.spool import Spool, SpoolEntry
from songflow.runtime.retry import without_pauses
from songflow.sender.client import Sender
from songflow.settings import LibrarySettings

AGO = datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture
def after_the_answer(monkeypatch: pytest.MonkeyPatch):
    """Does something between the sender's answer and its commit."""

    def do(act, wait=None) -> None:
        post = Sender.post

        async def then(self, order):
            outcome = await post(self, order)
            act()
            if wait is not None:
                await wait()
            return outcome

        monkeypatch.setattr(Sender, "post", then)

    return do


# --- cancellation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", [1, 3])
async def test_the_answer_is_stored_although_the_submit_is_cancelled(
    simulator, access, session, song_request, until, times: int
) -> None:
    """It takes effect once the paid id is stored, however often it is requested."""
    server, opened = simulator({"fault": "slow_answer", "seconds": 0.3}), await session()
    sending = asyncio.create_task(submit_once(opened, PaidRequest(song_request(), "key"), access(server.url)))

    async def billed() -> bool:
        return bool(server.bill())

    await until(billed)
    for _ in range(times):
        sending.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await sending
    (left,) = await opened.library.ledger.submissions.of_key("key")
    assert (left.state, left.generation_id) == (State.ACCEPTED, server.bill()[0].generation_id)
    with pytest.raises(errors.UnsettledTwin):
        await submit_once(opened, PaidRequest(song_request(), "new"), access(server.url))
    again = await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    assert again.id == left.id
    assert len(server.bill()) == 1


async def test_a_submit_cancelled_while_its_intent_is_committed_reserves_nothing(
    simulator, access, session, song_request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is free and the price is released at once, and nothing is sent."""
    server, opened = simulator(), await session()
    ledger = opened.library.ledger
    intend = ledger.submissions.intend

    async def cancelled_meanwhile(*args: object, **named: object) -> object:
        sending.cancel()
        return await intend(*args, **named)

    monkeypatch.setattr(ledger.submissions, "intend", cancelled_meanwhile)
    sending = asyncio.create_task(submit_once(opened, PaidRequest(song_request(), "key"), access(server.url)))
    with pytest.raises(asyncio.CancelledError):
        await sending
    (left,) = await ledger.submissions.of_key("key")
    assert (left.state, left.error) == (State.UNSENT, "it was cancelled before it was sent")
    assert (await ledger.money.balance()).reserved == 0.0
    assert server.bill() == []


async def test_a_cancelled_submit_leaves_a_slow_answer_to_its_sender(
    simulator, access, session, song_request, until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends soon, the same body is not paid for beside it, and its key gets what the sender has committed."""
    monkeypatch.setattr(post, "_DETACH_SECONDS", 0.1)
    server, opened = simulator({"fault": "slow_answer", "seconds": 3}), await session()
    known = opened.library.ledger.submissions
    sending = asyncio.create_task(submit_once(opened, PaidRequest(song_request(), "key"), access(server.url)))

    async def billed() -> bool:
        return bool(server.bill())

    async def left_to_sender() -> bool:
        return (await known.of_key("key"))[0].is_left

    await until(billed)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert (await known.of_key("key"))[0].state is State.SENDING
    await until(left_to_sender)
    with pytest.raises(errors.UnsettledTwin):
        await submit_once(opened, PaidRequest(song_request(), "new"), access(server.url))
    again = await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    assert (again.state, again.generation_id) == (State.ACCEPTED, server.bill()[0].generation_id)
    assert len(server.bill()) == 1


async def test_a_cancelled_wait_releases_its_lease_and_can_be_continued(
    simulator, access, session, song_request
) -> None:
    """The cancelled wait releases its lease; the generation continues."""
    server, opened = simulator({"fault": "unknown_for_ever"}), await session()
    submission = await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    asked = asyncio.Event()

    async def progress(*_: object) -> None:
        asked.set()

    waiting = asyncio.create_task(wait(opened, submission, access(server.url), progress))
    await asked.wait()
    assert not (await opened.library.ledger.submissions.get(submission.id)).lease.is_dead()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    left = await opened.library.ledger.submissions.get(submission.id)
    assert (left.state, left.lease.is_dead()) == (State.RUNNING, True)


# --- the ledger cannot be written -------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ledger calls wait for no lock, and are tried twice without a pause."""
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0)
    with without_pauses(attempts=2):
        yield


@pytest.fixture
def lock(library_settings):
    """Another process's lock on the ledger: `lock()` takes it, `lock.free()` releases it."""

    class Lock:
        def __call__(self) -> None:
            self.connection = sqlite3.connect(library_settings.folder / "ledger.sqlite", isolation_level=None)
            self.connection.execute("BEGIN EXCLUSIVE")

        def free(self) -> None:
            self.connection.close()

    return Lock()


async def test_an_id_that_cannot_be_committed_is_in_the_spool_on_stderr_and_in_the_error(
    simulator, access, session, song_request, impatient, lock, after_the_answer, capsys, until, posts
) -> None:
    """Paid and not committed: exit 5; the sender commits it as soon as the lock ends."""
    server, opened = simulator(), await session()
    after_the_answer(lock)
    with pytest.raises(errors.NotCollected, match="held its lock") as caught:
        await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    paid_for = server.bill()[0].generation_id
    error = caught.value
    assert (error.exit_code, error.billed, error.generation_id, error.key) == (5, "yes", paid_for, "key")
    assert "--key key" in error.next
    assert f"generation {paid_for}" in capsys.readouterr().err
    lock.free()

    async def committed() -> bool:
        return (await opened.library.ledger.submissions.of_key("key"))[0].state is State.ACCEPTED

    await until(committed)
    again = await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    assert (again.ordinal, again.state, again.generation_id) == (1, State.ACCEPTED, paid_for)
    assert posts(server) == 1


async def test_the_commit_of_an_id_is_retried(
    simulator, access, session, song_request, monkeypatch, lock, after_the_answer, until, caplog
) -> None:
    """The commit of a paid id is tried again and again."""
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0)
    server, opened = simulator(), await session()
    after_the_answer(lock)
    sending = asyncio.create_task(submit_once(opened, PaidRequest(song_request(), "key"), access(server.url)))

    async def tried() -> bool:
        return "Trying again" in caplog.text

    await until(tried)
    lock.free()
    assert (await sending).state is State.ACCEPTED


@pytest.mark.postgres
async def test_the_commit_of_an_id_survives_an_outage_of_postgresql(
    simulator, access, session, song_request, new_postgres, after_the_answer, until, caplog, tmp_path
) -> None:
    """PostgreSQL drops and refuses connections just before the paid id is committed."""
    database = make_url(new_postgres).database
    admin = await asyncpg.connect(make_url(new_postgres).set(database="postgres").render_as_string(False))
    away = f"ALTER DATABASE {database} ALLOW_CONNECTIONS false"
    drop = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    server = simulator()
    opened = await session(library=LibrarySettings(tmp_path / "library", ledger_url=new_postgres))
    answered, gone = asyncio.Event(), asyncio.Event()
    after_the_answer(answered.set, gone.wait)
    sending = asyncio.create_task(submit_once(opened, PaidRequest(song_request(), "key"), access(server.url)))
    await answered.wait()
    await admin.execute(away)
    await admin.execute(drop)
    gone.set()

    async def tried() -> bool:
        return "Trying again" in caplog.text

    await until(tried)
    await admin.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
    assert (await sending).generation_id == server.bill()[0].generation_id
    await admin.close()


async def test_an_unknown_outcome_is_raised_although_it_cannot_be_committed(
    simulator, access, session, song_request, impatient, lock, after_the_answer, until
) -> None:
    """Its row stays `sending` until the sender can commit it."""
    server, opened = simulator({"fault": "lost_answer"}), await session()
    after_the_answer(lock)
    with pytest.raises(errors.OutcomeUnknown):
        await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    lock.free()

    async def committed() -> bool:
        return (await opened.library.ledger.submissions.of_key("key"))[0].state is State.UNKNOWN

    await until(committed)
    with pytest.raises(errors.OutcomeUnknown):
        await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    assert len(server.bill()) == 1


async def test_nothing_is_sent_if_the_ledger_is_locked(
    simulator, access, session, song_request, impatient, lock, posts
) -> None:
    """Exit 2: without a committed intent nothing is sent."""
    server, opened = simulator(), await session()
    lock()
    with pytest.raises(errors.LibraryError) as caught:
        await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    lock.free()
    assert (caught.value.exit_code, caught.value.billed) == (2, "no")
    assert posts(server) == 0


async def test_a_locked_ledger_while_waiting_is_reported_as_paid(
    simulator, access, session, song_request, impatient, lock
) -> None:
    """After the POST, a ledger error is exit 5 with the id, never 'nothing was sent'."""
    server, opened = simulator(), await session()
    submission = await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    lock()
    with pytest.raises(errors.NotCollected) as caught:
        await wait(opened, submission, access(server.url))
    lock.free()
    assert (caught.value.exit_code, caught.value.billed) == (5, "yes")
    assert caught.value.generation_id == submission.generation_id


async def test_a_cancellation_propagates_although_the_ledger_is_locked(
    simulator, access, session, song_request, impatient, lock, after_the_answer, capsys
) -> None:
    """The id is on stderr and in the spool; the caller gets its cancellation."""
    server, opened = simulator(), await session()
    sending = asyncio.create_task(submit_once(opened, PaidRequest(song_request(), "key"), access(server.url)))

    def lock_and_cancel() -> None:
        lock()
        sending.cancel()

    after_the_answer(lock_and_cancel)
    with pytest.raises(asyncio.CancelledError):
        await sending
    lock.free()
    assert server.bill()[0].generation_id in capsys.readouterr().err
    assert len(opened.library.spool.entries()) == 1


async def test_the_ledger_gets_the_id_although_the_spool_cannot_be_written(
    simulator, access, session, song_request, monkeypatch: pytest.MonkeyPatch, sender_in_thread, caplog
) -> None:
    """A full disk under the spool, whose reserve is gone, is logged, and the ledger has the id."""
    server, opened = simulator(), await session()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(Spool, "append", full)
    accepted = await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    assert accepted.state is State.ACCEPTED
    assert f"spool would not take the accepted generation {accepted.generation_id}" in caplog.text


# --- other processes' submissions -------------------------------------------------------------------------


@pytest.fixture
def left_behind(simulator, access, session, song_request, change):
    """A submission that a process left behind, with a session and its gateway."""

    async def leave(state: State, *, dead: bool = True, **columns):
        server, opened = simulator(), await session()
        request = song_request()
        intent = submit._intent(opened, PaidRequest(request, "key"), access(server.url))
        claim = await opened.library.ledger.submissions.intend(intent, Lease.take(-1.0 if dead else 60.0))
        left = await change(opened, claim.submission, state=state, **columns)
        return opened, server, left

    return leave


def _spooled(submission) -> SpoolEntry:
    return SpoolEntry(submission.id, "key", "simulator", submission.base_url, "test", "id-7", ("t",), "2026")


async def test_a_dead_sender_without_a_spooled_answer_is_unknown(left_behind, access, song_request) -> None:
    """Its POST may have been billed: it is reported, and not repeated."""
    opened, server, left = await left_behind(State.SENDING)
    with pytest.raises(errors.OutcomeUnknown, match="its process died"):
        await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    assert (await opened.library.ledger.submissions.get(left.id)).state is State.UNKNOWN
    assert server.bill() == []


@pytest.mark.parametrize("state", [State.SENDING, State.UNKNOWN])
async def test_a_spooled_answer_makes_a_submission_accepted(
    left_behind, access, song_request, state: State
) -> None:
    """Whether its sender has just died or its row is already unknown."""
    opened, server, left = await left_behind(state)
    Spool(opened.library.settings.folder / "spool").append(_spooled(left))
    accepted = await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    assert (accepted.id, accepted.state) == (left.id, State.ACCEPTED)
    assert (accepted.generation_id, accepted.track_ids) == ("id-7", ("t",))
    assert server.bill() == []


@pytest.mark.parametrize("state", [State.INTENDED, State.SENDING])
async def test_a_submit_waits_for_the_outcome_of_another_process_with_its_key(
    left_behind, access, song_request, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent beside an unexpired lease."""
    opened, server, left = await left_behind(state, dead=False)
    submissions = opened.library.ledger.submissions
    intend, looks = submissions.intend, 0

    async def other_works_on(*args: object, **named: object) -> object:
        nonlocal looks
        looks += 1
        if looks == 3:
            await submissions.begin_send(left.id, left.lease)
            await submissions.accepted(left.id, "theirs", (), None)
        return await intend(*args, **named)

    monkeypatch.setattr(submissions, "intend", other_works_on)
    got = await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    assert (got.id, got.generation_id, server.bill()) == (left.id, "theirs", [])
    assert looks == 3


async def test_an_intent_taken_over_by_another_process_is_not_sent(
    left_behind, access, song_request, monkeypatch: pytest.MonkeyPatch, session
) -> None:
    """The other's fence decides, and this process waits for its generation."""
    opened, server, left = await left_behind(State.INTENDED)
    get = opened.gateways.get

    async def taken_over_meanwhile(way):
        monkeypatch.undo()
        ledger = opened.library.ledger.submissions
        lease = Lease.take(60.0)
        await ledger.hold(left.id, lease)
        await ledger.begin_send(left.id, lease)
        await ledger.accepted(left.id, "theirs", (), None)
        return await get(way)

    monkeypatch.setattr(opened.gateways, "get", taken_over_meanwhile)
    got = await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    assert (got.generation_id, server.bill()) == ("theirs", [])


@pytest.mark.parametrize("state", [State.ACCEPTED, State.RUNNING, State.OVERDUE, State.SUCCEEDED])
async def test_an_accepted_submission_is_re_attached_to(
    left_behind, access, song_request, state: State
) -> None:
    """The stored submission comes back, and nothing is sent."""
    opened, server, left = await left_behind(state, generation_id="id-7")
    got = await submit_once(
        opened, PaidRequest(song_request(), "key"), access(server.url), PayingPolicy(retry_errors=True)
    )
    assert (got, server.bill()) == (left, [])


@pytest.mark.parametrize(
    ("state", "error", "code", "billed"),
    [
        (State.UNKNOWN, errors.OutcomeUnknown, 5, "maybe"),
        (State.LOST, errors.GenerationLost, 5, "maybe"),
        (State.FAILED, errors.GenerationFailed, 4, "maybe"),
    ],
)
@pytest.mark.parametrize("reason", [None, "moderated"])
async def test_a_stored_failure_is_raised_again(
    left_behind, access, song_request, state: State, error, code: int, billed: str, reason: str | None
) -> None:
    """With its reason if there is one, and nothing is sent."""
    opened, server, _ = await left_behind(state, generation_id="id-7", error=reason)
    with pytest.raises(error, match=reason) as caught:
        await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    assert (caught.value.exit_code, caught.value.billed, caught.value.state) == (code, billed, state)
    assert caught.value.next
    assert server.bill() == []


async def test_a_failed_generation_is_paid_for_again_only_with_retry_errors(
    left_behind, access, song_request
) -> None:
    """`pay_again` makes a second submission of the same generation."""
    opened, server, left = await left_behind(State.FAILED)
    again = await submit_once(
        opened, PaidRequest(song_request(), "key"), access(server.url), PayingPolicy(retry_errors=True)
    )
    assert (again.ordinal, again.state) == (2, State.ACCEPTED)
    assert (await opened.library.ledger.submissions.get(left.id)).state is State.FAILED
    assert len(server.bill()) == 1


async def test_a_post_does_not_start_after_its_lease(
    simulator, access, session, song_request, posts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit before it took too long (a lock, a suspended machine), so others may consider it dead."""
    server, opened = simulator(), await session(submit_timeout=1.0, lease_margin=-0.9)
    begin = type(opened.library.ledger.submissions).begin_send

    async def slow_begin(self, submission_id: str, lease: Lease) -> bool:
        committed = await begin(self, submission_id, lease)
        await asyncio.sleep(0.2)
        return committed

    monkeypatch.setattr(type(opened.library.ledger.submissions), "begin_send", slow_begin)
    with pytest.raises(errors.RequestNotSent):
        await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    assert (posts(server), server.bill()) == (0, [])
