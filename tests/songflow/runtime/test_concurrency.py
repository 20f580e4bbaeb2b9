"""Coroutines that run together or shielded: each ends, and the caller sees the right exception."""

from __future__ import annotations

import asyncio

import pytest

from songflow import errors
from songflow.runtime.concurrency import all_ended, one_error, shielded


async def test_shielded_work_that_fails_after_a_cancellation_is_logged(caplog) -> None:
    """Who is cancelled is cancelled, but an error that nobody will see otherwise is written down."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await go.wait()
        raise errors.OutcomeUnknown("the answer was lost")

    task = asyncio.create_task(shielded(work()))
    await begun.wait()
    task.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "the answer was lost" in caplog.text


async def test_shielded_work_gives_its_result_or_its_error() -> None:
    """Without a cancellation nothing is different."""

    async def good() -> int:
        return 7

    async def bad() -> int:
        await asyncio.sleep(0)
        raise KeyError

    assert await shielded(good()) == 7
    with pytest.raises(KeyError):
        await shielded(bad())


async def test_shielded_work_that_is_itself_cancelled_is_cancelled() -> None:
    """A loop that shuts down cancels every task, ours too."""
    inner: asyncio.Future[asyncio.Task] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        inner.set_result(asyncio.current_task())
        await asyncio.Event().wait()

    outer = asyncio.create_task(shielded(work()))
    (await inner).cancel()
    with pytest.raises(asyncio.CancelledError):
        await outer


async def test_together_each_runs_to_its_end_and_results_keep_their_order() -> None:
    """One that fails or is cancelled does not end the others."""
    failed = asyncio.Event()

    async def fails() -> int:
        failed.set()
        raise KeyError

    async def succeeds() -> int:
        await failed.wait()
        return 7

    async def is_cancelled() -> int:
        raise asyncio.CancelledError

    found = await all_ended(succeeds(), fails(), is_cancelled())
    assert [type(one) for one in found] == [int, KeyError, asyncio.CancelledError]


async def test_what_ends_the_process_ends_all_of_them() -> None:
    """A signal's exception propagates as itself, and the others are cancelled."""
    cancelled: list[bool] = []

    class SignalReceived(BaseException):
        """As a signal's handler raises it."""

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    async def stops() -> None:
        await asyncio.sleep(0)
        raise SignalReceived

    with pytest.raises(SignalReceived):
        await all_ended(waits(), stops())
    assert cancelled == [True]


def test_of_a_group_of_errors_the_first_is_raised() -> None:
    """Its message says what to do next."""
    with pytest.raises(errors.InputError), one_error():
        raise ExceptionGroup("two", [errors.InputError("one"), KeyError()])
