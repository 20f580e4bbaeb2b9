"""A run that is told to end ends, wherever the signal came up; what it says then takes the place of nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest
from prefect.exceptions import TerminationSignal
from sqlalchemy import text

from songflow.errors import LibraryError
from songflow.ledger import schema
from songflow.library import LibrarySettings
from songflow.session import Session
from songflow.together import all_ended
from tasks.sessions import open_session
from tasks.stopping import ends_when_stopped, tells_when_cancelled, tells_when_stopped


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
        async with tells_when_cancelled(without_ledger, "key"):
            raise asyncio.CancelledError


async def _stopped(session: Session, stopped: TerminationSignal, instead: Exception) -> None:
    with ends_when_stopped():
        async with tells_when_stopped(session, "key"):
            await _instead(stopped, instead)


async def _instead(stopped: TerminationSignal, instead: Exception) -> None:
    try:
        raise stopped
    except TerminationSignal:
        raise instead  # noqa: B904 - as Prefect raises it


@pytest.mark.parametrize(
    "instead", [ValueError("Prefect's crash handler failed"), LibraryError("The ledger is closed.", next="-")]
)
async def test_a_signal_that_an_error_took_the_place_of_is_raised_again(
    without_ledger: Session, instead: Exception
) -> None:
    """A run that was told to end is crashed, not failed, whatever failed on the way."""
    stopped = TerminationSignal(signal=signal.SIGTERM)
    with pytest.raises(TerminationSignal) as caught:
        await _stopped(without_ledger, stopped, instead)
    assert caught.value is stopped


@pytest.fixture
def as_prefect_does() -> Iterator[None]:
    """SIGTERM raises, wherever this process is; Prefect's own handler would end it for good afterwards."""

    def stop(number: int, _frame: object) -> NoReturn:
        raise TerminationSignal(signal=number)

    before = signal.signal(signal.SIGTERM, stop)
    yield
    signal.signal(signal.SIGTERM, before)


def told_to_end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def soon_told_to_end() -> None:
    await asyncio.sleep(0)
    told_to_end()


async def in_a_callback() -> None:
    asyncio.get_running_loop().call_soon(told_to_end)
    await asyncio.sleep(60)


async def in_a_callback_as_the_work_ends() -> None:
    asyncio.get_running_loop().call_soon(told_to_end)
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)


async def in_a_task_that_nobody_asks() -> None:
    forgotten = asyncio.create_task(soon_told_to_end())
    forgotten.add_done_callback(lambda _: None)
    del forgotten
    await asyncio.sleep(60)


async def in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(60))
        group.create_task(soon_told_to_end())


async def in_one_of_several() -> None:
    await all_ended(soon_told_to_end(), asyncio.sleep(60))


@pytest.mark.usefixtures("as_prefect_does")
@pytest.mark.parametrize(
    "work",
    [
        in_a_callback,
        in_a_callback_as_the_work_ends,
        in_a_task_that_nobody_asks,
        in_a_group,
        in_one_of_several,
    ],
)
async def test_a_signal_ends_the_work_wherever_it_comes_up(tmp_path: Path, work: Any) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(30):
        with pytest.raises(TerminationSignal):
            async with open_session(LibrarySettings(tmp_path / "songs")):
                await work()
        await asyncio.sleep(0)  # no cancellation is left behind
    assert loop.get_exception_handler() is None


@pytest.mark.usefixtures("as_prefect_does")
async def test_of_two_that_run_at_once_the_later_one_hears_a_signal() -> None:
    """Whatever the order they end in, and none listens any more when both have ended."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    async def first() -> None:
        with ends_when_stopped():
            await asyncio.sleep(0)
        ended.set()

    async def second() -> None:
        with ends_when_stopped():
            await ended.wait()
            await in_a_callback()

    async with asyncio.timeout(30):
        assert await asyncio.gather(first()) == [None]
        told = await asyncio.gather(first(), second(), return_exceptions=True)
    assert [type(one) for one in told] == [type(None), TerminationSignal]
    with ends_when_stopped():
        pass
    said: list[object] = []
    loop.set_exception_handler(lambda _loop, context: said.append(context["exception"]))
    with ends_when_stopped():
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert [type(one) for one in said] == [ZeroDivisionError]
