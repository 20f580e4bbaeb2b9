"""SIGTERM and SIGHUP during a request: its paid answer is stored before the process ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from songflow.errors import RequestNotSent
from songflow.generation.lifecycle import generate_in
from songflow.generation.policy import PaidRequest
from songflow.generation.submit import submit_once
from songflow.ledger import State
from songflow.runtime import shutdown as signals
from songflow.runtime.shutdown import answers_first, comes_after_answers, termination_requested

SLOW = {"fault": "slow_answer", "seconds": 1.0}


class Ended(BaseException):
    """What a handler raises, as Prefect's does."""


@pytest.fixture
def came(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Counts SIGTERM, without any other effect."""
    monkeypatch.setattr(signals, "_REACTION_SECONDS", 0.2)
    monkeypatch.setattr(signals._hold, "quiet_until", 0.0)
    counted: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: counted.append(number))
    yield counted
    signal.signal(signal.SIGTERM, before)
    assert signal.getsignal(signal.SIGHUP) != signals._hold.keep


@pytest.fixture
def raises(came: list[int]) -> list[int]:
    """The handler also raises, at whatever line the process is."""

    def handler(number: int, _frame: object) -> None:
        came.append(number)
        raise Ended

    signal.signal(signal.SIGTERM, handler)
    return came


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP])
async def test_a_terminated_process_stores_the_answer_of_its_request_first(
    simulator, access, session, song_request, run_process, library_settings, until, ending: signal.Signals
) -> None:
    """Even if the signal arrives twice: a worker may send it, and its process group, too."""
    server = simulator(SLOW)
    process = await run_process(folder=library_settings.folder, url=server.url, key="key")

    async def billed() -> bool:
        return bool(server.bill())

    await until(billed)
    process.send_signal(ending)
    process.send_signal(ending)
    _, errors = await process.communicate()
    assert process.returncode == -ending, errors.decode()
    assert f"Received {ending.name}: ending after the answers to 1 requests in flight." in errors.decode()
    opened = await session()
    (left,) = await opened.library.ledger.submissions.of_key("key")
    assert (left.state, left.generation_id) == (State.ACCEPTED, server.bill()[0].generation_id)
    result = await generate_in(opened, song_request(), access(server.url), key="key")
    assert (len(result.stored), len(server.bill())) == (2, 1)


async def test_no_request_starts_while_a_signal_is_deferred(
    simulator, access, session, song_request, until, posts, raises
) -> None:
    """The request in flight is the last one; a submit that waits for its turn is given up."""
    server, opened = simulator(SLOW), await session()

    async def billed() -> bool:
        return bool(server.bill())

    async def intended() -> bool:
        return bool(await opened.library.ledger.submissions.of_key("second"))

    first = asyncio.create_task(submit_once(opened, PaidRequest(song_request(), "first"), access(server.url)))
    await until(billed)
    terminate()
    second = asyncio.create_task(
        submit_once(opened, PaidRequest(song_request(prompt="another"), "second"), access(server.url))
    )
    await until(intended)
    with pytest.raises(Ended):
        await first
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    (accepted,) = await opened.library.ledger.submissions.of_key("first")
    (given_up,) = await opened.library.ledger.submissions.of_key("second")
    assert (accepted.state, given_up.state) == (State.ACCEPTED, State.UNSENT)
    assert (posts(server), raises) == (1, [signal.SIGTERM])


async def test_a_request_that_is_not_sent_yet_is_not_sent_after_the_signal(
    simulator, access, session, song_request, posts, came
) -> None:
    """The signal arrives while the connection is being made: nothing is paid for that cannot be recorded."""
    server, opened = simulator(), await session()
    make = opened.gateways.get

    async def signalled_meanwhile(way: Any) -> Any:
        terminate()
        return await make(way)

    opened.gateways.get = signalled_meanwhile
    with pytest.raises(
        RequestNotSent, match="received a termination signal before the request could be sent"
    ):
        await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    (left,) = await opened.library.ledger.submissions.of_key("key")
    assert (left.state, posts(server), came) == (State.UNSENT, 0, [signal.SIGTERM])


async def test_requests_start_again_if_the_signal_did_not_end_the_process(
    simulator, access, session, song_request, until, came
) -> None:
    server, opened = simulator(SLOW), await session()

    async def billed() -> bool:
        return bool(server.bill())

    first = asyncio.create_task(submit_once(opened, PaidRequest(song_request(), "first"), access(server.url)))
    await until(billed)
    terminate()
    assert came == []
    second = await submit_once(
        opened, PaidRequest(song_request(prompt="another"), "second"), access(server.url)
    )
    assert (second.state, (await first).state) == (State.ACCEPTED, State.ACCEPTED)
    assert came == [signal.SIGTERM]


async def test_the_signal_is_delivered_after_the_last_of_several_requests(came) -> None:
    with answers_first():
        with answers_first():
            terminate()
        assert came == []
    assert came == [signal.SIGTERM]
    terminate()
    assert came == [signal.SIGTERM] * 2


async def test_sigterm_is_delivered_instead_of_sighup(came) -> None:
    """A process may ignore SIGHUP, but not SIGTERM."""
    before = signal.signal(signal.SIGHUP, lambda number, _frame: came.append(number))
    try:
        with answers_first():
            os.kill(os.getpid(), signal.SIGHUP)
            terminate()
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert came == [signal.SIGTERM]


async def test_a_signal_at_the_start_of_a_request_leaves_no_handler_installed(
    raises, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It arrives between any two lines: it ends the work at once, and the next signal is deferred as usual."""
    install = signal.signal

    def and_signalled(number: int, handler: Any) -> Any:
        monkeypatch.setattr(signals.signal, "signal", install)
        installed = install(number, handler)
        terminate()
        return installed

    monkeypatch.setattr(signals.signal, "signal", and_signalled)
    with pytest.raises(Ended), answers_first():
        pass
    assert raises == [signal.SIGTERM]
    with suppress(Ended), answers_first():
        terminate()
        assert raises == [signal.SIGTERM]
    assert raises == [signal.SIGTERM] * 2


async def test_an_ending_process_starts_no_request(raises) -> None:
    """However long the process takes to end."""
    with suppress(Ended), answers_first():
        terminate()
    await asyncio.sleep(2 * signals._REACTION_SECONDS)
    assert termination_requested()


async def test_a_wrapped_handler_stays_installed_and_runs_after_the_answers() -> None:
    """Other code may look at the installed handler."""
    called: list[int] = []
    handler = comes_after_answers(lambda number, _frame: called.append(number))
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with answers_first():
            assert signal.getsignal(signal.SIGTERM) is handler
            terminate()
            terminate()
            assert (called, termination_requested()) == ([], True)
        assert called == [signal.SIGTERM]
        terminate()
        assert called == [signal.SIGTERM] * 2
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_the_exception_of_a_deferred_signal_has_the_outcome_as_its_context(raises) -> None:
    def refused() -> None:
        with answers_first():
            terminate()
            raise ValueError("refused")

    with pytest.raises(Ended) as caught:
        refused()
    assert isinstance(caught.value.__context__, ValueError)


async def test_a_handler_installed_during_a_request_is_deferred_from_the_next_request_on(came) -> None:
    """As when a flow starts during the request of another one; it may restore our handler after all of them."""
    theirs: list[int] = []
    with answers_first():
        ours = signal.signal(signal.SIGTERM, lambda number, _frame: theirs.append(number))
        with answers_first():
            terminate()
            assert (came, theirs) == ([], [])
    assert (came, theirs) == ([], [signal.SIGTERM])
    signal.signal(signal.SIGTERM, ours)
    terminate()
    assert theirs == [signal.SIGTERM] * 2


async def test_an_ignored_signal_stays_ignored(came) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with answers_first():
        terminate()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


async def test_signal_handlers_of_the_event_loop_are_left_alone(came) -> None:
    """It interrupts nothing: its cancellation waits for the answer like any other."""
    loop, taken = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, taken.set)
    try:
        with answers_first():
            terminate()
            async with asyncio.timeout(30):
                await taken.wait()
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def test_other_threads_change_no_handler(came) -> None:
    async def in_a_request() -> Any:
        with answers_first():
            return signal.getsignal(signal.SIGTERM)

    async def beside() -> Callable[[int, object], None]:
        return await asyncio.to_thread(asyncio.run, in_a_request())

    before = signal.getsignal(signal.SIGTERM)
    assert asyncio.run(beside()) is before
    with suppress(Ended):
        terminate()
    assert came == [signal.SIGTERM]
