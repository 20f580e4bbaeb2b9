"""A run that is told to end ends, wherever the signal came up; what it says then takes the place of nothing."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import TerminationSignal
from prefect.utilities import engine
from sqlalchemy import text

import songflow
from songflow.errors import LibraryError, RequestNotSent
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.ledger import schema
from songflow.runtime.concurrency import all_ended
from songflow.sender import client
from songflow.settings import LibrarySettings
from tasks import stopping
from tasks.sessions import open_session
from tasks.stopping import cancel_on_sigterm, report_cancellation


@pytest.fixture
async def without_ledger(tmp_path: Path) -> AsyncIterator[Session]:
    """A session whose ledger has gone away."""
    async with Session(LibrarySettings(tmp_path / "songs")) as session:
        async with session.library.ledger.database.write("test") as connection:
            await connection.execute(text(f"DROP TABLE {schema.submissions.name}"))
        yield session


async def test_a_cancellation_stays_one(without_ledger: Session) -> None:
    """A cluster that shuts down takes its database away as well."""
    with pytest.raises(asyncio.CancelledError):
        async with report_cancellation(without_ledger, "key"):
            raise asyncio.CancelledError


@pytest.fixture(autouse=True)
def as_in_a_flow() -> Iterator[None]:
    """The handler that Prefect installs around a flow; here nothing ends the process for good afterwards."""
    before = signal.signal(signal.SIGTERM, engine._prefect_sigterm_handler)
    yield
    signal.signal(signal.SIGTERM, before)


def told_to_end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def soon_told_to_end() -> None:
    await asyncio.sleep(0)
    told_to_end()


async def in_its_own_step() -> None:
    told_to_end()
    await asyncio.sleep(60)


async def in_its_last_step() -> None:
    told_to_end()


async def in_its_last_step_which_fails() -> None:
    told_to_end()
    raise LibraryError("The ledger is closed.", next="-")


async def in_a_callback() -> None:
    asyncio.get_running_loop().call_soon(told_to_end)
    await asyncio.sleep(60)


async def in_a_callback_of_work_that_ends_as_well() -> None:
    asyncio.get_running_loop().call_soon(told_to_end)
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)


async def in_a_task_that_nobody_asks() -> None:
    forgotten = asyncio.create_task(soon_told_to_end())
    await asyncio.sleep(60)
    del forgotten


async def in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(60))
        group.create_task(soon_told_to_end())


async def in_one_of_several() -> None:
    await all_ended(soon_told_to_end(), asyncio.sleep(60))


async def in_work_within_work() -> None:
    with cancel_on_sigterm():
        await in_a_callback()


async def in_a_task_of_its_own() -> None:
    await asyncio.gather(in_work_within_work())


async def and_once_more() -> None:
    told_to_end()
    told_to_end()
    await asyncio.sleep(60)


async def and_once_more_while_it_is_cancelled() -> None:
    try:
        await in_its_own_step()
    finally:
        with suppress(TerminationSignal):
            told_to_end()


@pytest.mark.parametrize(
    "work",
    [
        in_its_own_step,
        in_its_last_step,
        in_its_last_step_which_fails,
        in_a_callback,
        in_a_callback_of_work_that_ends_as_well,
        in_a_task_that_nobody_asks,
        in_a_group,
        in_one_of_several,
        in_work_within_work,
        in_a_task_of_its_own,
        and_once_more,
        and_once_more_while_it_is_cancelled,
    ],
)
async def test_a_signal_ends_the_work_wherever_it_comes_up(tmp_path: Path, work: Any) -> None:
    """As what Prefect knows: the run is crashed or cancelled then, not failed and to be retried."""
    task = asyncio.current_task()
    assert task is not None
    async with asyncio.timeout(30):
        with pytest.raises(TerminationSignal):
            async with open_session(LibrarySettings(tmp_path / "songs")):
                await work()
        await asyncio.sleep(0)  # no cancellation is left behind
    assert task.cancelling() == 0


async def test_all_that_runs_at_once_is_ended(tmp_path: Path) -> None:
    async def work() -> None:
        with cancel_on_sigterm():
            await asyncio.sleep(60)

    async with asyncio.timeout(30):
        told = await asyncio.gather(work(), work(), soon_told_to_end(), return_exceptions=True)
    assert [type(one) for one in told] == [TerminationSignal, TerminationSignal, type(None)]


async def test_what_is_told_after_the_work_has_ended_is_raised_as_prefect_does() -> None:
    with cancel_on_sigterm():
        pass
    with pytest.raises(TerminationSignal):
        told_to_end()


def test_work_beside_the_main_thread_is_cancelled_and_the_main_thread_ends_as_well() -> None:
    """A task runner's thread: nothing would end its work, and Prefect waits for it."""
    at_work, ended = threading.Event(), []

    async def work() -> None:
        with cancel_on_sigterm():
            at_work.set()
            await asyncio.sleep(60)

    def beside() -> None:
        try:
            asyncio.run(work())
        except TerminationSignal as error:
            ended.append(error)

    thread = threading.Thread(target=beside)
    thread.start()
    assert at_work.wait(30)
    with pytest.raises(TerminationSignal):
        told_to_end()
    thread.join(30)
    assert len(ended) == 1


def is_ours(handler: Any) -> bool:
    """Whether Prefect's function has our code now."""
    return handler.__code__ is stopping._on_sigterm_as_prefects.__code__


@pytest.fixture
def prefects(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A handler that Prefect takes for its own, as a run that has started has installed it."""

    def handler(number: int, _frame: object) -> None:
        raise TerminationSignal(signal=number)

    monkeypatch.setattr(engine, "_prefect_sigterm_handler", handler)
    signal.signal(signal.SIGTERM, handler)
    return handler


async def test_prefects_handler_is_ours_while_our_work_is_open_and_its_own_again_after(prefects: Any) -> None:
    """A flow of the user's own opens a session at any of its lines."""
    before = prefects.__code__
    with cancel_on_sigterm():
        assert (engine.can_ack_control_intent(), is_ours(prefects)) == (True, True)
    assert (engine.can_ack_control_intent(), prefects.__code__ is before) == (True, True)
    assert signal.getsignal(signal.SIGTERM) is prefects


def test_work_beside_the_main_thread_has_our_handler_too(prefects: Any) -> None:
    """No handler can be installed there."""
    installed, leave = threading.Event(), threading.Event()

    async def work() -> None:
        with cancel_on_sigterm():
            installed.set()
            await asyncio.to_thread(leave.wait, 30)

    thread = threading.Thread(target=asyncio.run, args=(work(),))
    thread.start()
    assert installed.wait(30)
    assert (engine.can_ack_control_intent(), is_ours(prefects)) == (True, True)
    leave.set()
    thread.join(30)
    assert (engine.can_ack_control_intent(), is_ours(prefects)) == (True, False)


@pytest.mark.oldest_prefect
async def test_prefect_recognizes_the_handler_as_its_own() -> None:
    """Its handler has a private name: check another version of Prefect here before allowing it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    prefects = engine._prefect_sigterm_handler
    with engine.capture_sigterm():
        with cancel_on_sigterm():
            assert signal.getsignal(signal.SIGTERM) is prefects
            assert (engine.can_ack_control_intent(), is_ours(prefects)) == (True, True)
            with engine.capture_sigterm(), cancel_on_sigterm():  # a subflow
                assert signal.getsignal(signal.SIGTERM) is prefects
            assert (engine.can_ack_control_intent(), is_ours(prefects)) == (True, True)
        assert signal.getsignal(signal.SIGTERM) is prefects
        assert (engine.can_ack_control_intent(), is_ours(prefects)) == (True, False)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("first_to_end", [0, 1])
async def test_of_two_overlapping_runs_the_one_that_continues_still_ends_at_the_signal(
    first_to_end: int,
) -> None:
    """Two top-level flows in one process, whichever ends first."""
    started = [asyncio.Event(), asyncio.Event()]

    async def run(number: int) -> None:
        with cancel_on_sigterm():
            started[number].set()
            await asyncio.sleep(60)

    with engine.capture_sigterm():
        runs = [asyncio.create_task(run(0))]
        await started[0].wait()
        runs.append(asyncio.create_task(run(1)))
        await started[1].wait()
        runs[first_to_end].cancel()
        await asyncio.wait([runs[first_to_end]])
        told_to_end()
        async with asyncio.timeout(30):
            with pytest.raises(TerminationSignal):
                await runs[1 - first_to_end]
    assert not is_ours(engine._prefect_sigterm_handler)


async def test_two_runs_one_after_the_other_each_get_our_handler() -> None:
    prefects = engine._prefect_sigterm_handler
    for _ in range(2):
        with engine.capture_sigterm(), cancel_on_sigterm():
            assert is_ours(prefects)
        assert not is_ours(prefects)


def test_the_first_signal_is_raised_if_the_loop_of_the_work_is_closed() -> None:
    """A loop that was closed over unfinished work: there is nothing to cancel, and nothing is swallowed."""
    loop = asyncio.new_event_loop()

    async def work() -> None:
        with cancel_on_sigterm():
            await asyncio.sleep(60)

    context = contextvars.copy_context()
    task = loop.create_task(work(), context=context)
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    with pytest.raises(TerminationSignal):
        told_to_end()
    with suppress(TerminationSignal):
        context.run(task.get_coro().close)  # as when it is collected
    assert stopping._open == []


async def test_nothing_is_sent_after_the_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request whose work ignores the cancellation is refused by the sender."""
    monkeypatch.setattr(client, "_ENDING_SECONDS", 0.3)

    async def work() -> None:
        with cancel_on_sigterm():
            told_to_end()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            with pytest.raises(RequestNotSent, match="told to end before the request could be sent"):
                await songflow.generate(
                    "a waltz", library=tmp_path / "songs", settings=SessionSettings(retries=0)
                )

    with pytest.raises(TerminationSignal):
        await work()


def test_importing_tasks_and_flows_patches_nothing_in_prefect() -> None:
    code = """
import signal
from prefect.utilities import engine
handler = engine._prefect_sigterm_handler
before = handler, handler.__code__, signal.getsignal(signal.SIGTERM)
import flows.extend, flows.generate, flows.rescue, flows.song, flows.sweep
import tasks.download, tasks.record, tasks.shard, tasks.submit, tasks.wait
handler = engine._prefect_sigterm_handler
assert before == (handler, handler.__code__, signal.getsignal(signal.SIGTERM))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240)
