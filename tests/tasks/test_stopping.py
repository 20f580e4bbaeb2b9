"""A run that is told to end ends, wherever the signal came up; what it says then takes the place of nothing."""

from __future__ import annotations

import asyncio
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

from songflow.errors import LibraryError
from songflow.generation.session import Session
from songflow.ledger import schema
from songflow.runtime.concurrency import all_ended
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


def test_a_run_that_has_started_gets_our_handler_while_our_work_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A flow of the user's own opens a session at any of its lines."""

    def prefects(number: int, _frame: object) -> None:
        raise TerminationSignal(signal=number)

    monkeypatch.setattr(engine, "_prefect_sigterm_handler", prefects)
    signal.signal(signal.SIGTERM, prefects)
    with stopping._takeover():
        assert engine.is_prefect_sigterm_handler_installed()
        assert signal.getsignal(signal.SIGTERM) is not prefects
    assert engine.is_prefect_sigterm_handler_installed()
    assert signal.getsignal(signal.SIGTERM) is prefects


def test_work_beside_the_main_thread_leaves_prefects_handler_in_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ours cannot be installed there; Prefect would acknowledge no cancellation with neither of the two."""

    def prefects(number: int, _frame: object) -> None:
        raise TerminationSignal(signal=number)

    before = prefects.__code__
    monkeypatch.setattr(engine, "_prefect_sigterm_handler", prefects)
    signal.signal(signal.SIGTERM, prefects)
    installed, leave = threading.Event(), threading.Event()

    def beside() -> None:
        with stopping._takeover():
            installed.set()
            leave.wait(30)

    thread = threading.Thread(target=beside)
    thread.start()
    assert installed.wait(30)
    assert engine.can_ack_control_intent()
    assert prefects.__code__ is not before
    leave.set()
    thread.join(30)
    assert engine.can_ack_control_intent()
    assert prefects.__code__ is before


@pytest.mark.oldest_prefect
def test_prefect_installs_our_handler_and_recognizes_it_as_its_own() -> None:
    """Its own handler has a private name: check another version of Prefect here before allowing it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    prefects = engine._prefect_sigterm_handler
    with engine.capture_sigterm():
        with stopping._takeover():
            assert signal.getsignal(signal.SIGTERM) is stopping._on_sigterm
            assert engine.can_ack_control_intent()
            with engine.capture_sigterm():  # a subflow
                assert signal.getsignal(signal.SIGTERM) is stopping._on_sigterm
                assert engine.can_ack_control_intent()
        assert signal.getsignal(signal.SIGTERM) is prefects
        assert engine.can_ack_control_intent()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert engine._prefect_sigterm_handler is prefects


async def test_of_two_overlapping_runs_the_one_that_continues_still_has_our_handler() -> None:
    """Two top-level flows in one process; Prefect's own handler goes with the run that started first."""
    prefects = engine._prefect_sigterm_handler
    started, other_ended = asyncio.Event(), asyncio.Event()

    async def started_first() -> None:
        with engine.capture_sigterm(), cancel_on_sigterm():
            started.set()
            await other_ended.wait()
            await in_a_callback()

    running = asyncio.create_task(started_first())
    await started.wait()
    with engine.capture_sigterm(), cancel_on_sigterm():
        assert signal.getsignal(signal.SIGTERM) is stopping._on_sigterm
    assert signal.getsignal(signal.SIGTERM) is stopping._on_sigterm
    assert engine.can_ack_control_intent()
    other_ended.set()
    async with asyncio.timeout(30):
        with pytest.raises(TerminationSignal):
            await running
    assert engine._prefect_sigterm_handler is prefects
    assert signal.getsignal(signal.SIGTERM) is prefects


async def test_two_runs_one_after_the_other_each_get_our_handler() -> None:
    prefects = engine._prefect_sigterm_handler
    for _ in range(2):
        with engine.capture_sigterm(), cancel_on_sigterm():
            assert signal.getsignal(signal.SIGTERM) is stopping._on_sigterm
        assert signal.getsignal(signal.SIGTERM) is prefects


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
