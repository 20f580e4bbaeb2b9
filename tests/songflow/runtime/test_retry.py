"""Retries: number of attempts, length of pauses, logging, and the switch for tests."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest

from songflow.errors import LibraryError, RequestNotSent
from songflow.runtime.retry import Attempts, Backoff, persist, retry, without_pauses


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def __call__(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def failing() -> Callable[..., Callable[[], Awaitable[str]]]:
    """Operations that raise these exceptions, one each time, and then return "done"."""

    def make(*failures: Exception) -> Callable[[], Awaitable[str]]:
        left = list(failures)

        async def attempt() -> str:
            if left:
                raise left.pop(0)
            return "done"

        return attempt

    return make


def test_pauses_grow_by_a_factor_up_to_the_longest() -> None:
    """However many failures there were."""
    backoff = Backoff(first=0.1, factor=2.0, longest=1.0)
    assert [backoff.pause(failures) for failures in (1, 2, 3, 4, 5, 10_000)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_jitter_shortens_a_pause_by_its_share_at_most() -> None:
    """Many processes do not return together."""
    pauses = {Backoff(first=8.0, jitter=0.5).pause(1) for _ in range(50)}
    assert len(pauses) > 1
    assert min(pauses) >= 4.0
    assert max(pauses) <= 8.0


def test_attempts_end_with_their_number(clock: Clock) -> None:
    """The first attempt counts, too."""
    attempts = Attempts(Backoff(first=1.0, attempts=3), clock)
    assert [attempts.next_pause() for _ in range(3)] == [1.0, 2.0, None]


async def test_attempts_end_with_their_time(clock: Clock) -> None:
    """A pause that would end later is not begun; after a new start the time counts from there."""
    attempts = Attempts(Backoff(first=4.0, factor=1.0, within=10.0), clock)
    for expected in (4.0, 4.0, None):
        assert attempts.next_pause() == expected
        await clock.sleep(expected or 0.0)
    attempts.start_again()
    assert attempts.next_pause() == 4.0


def test_the_other_side_may_ask_for_another_pause(clock: Clock) -> None:
    """It counts against the time, but not against the longest pause."""
    attempts = Attempts(Backoff(first=1.0, longest=2.0, within=60.0), clock)
    assert (attempts.next_pause(50.0), attempts.next_pause(61.0)) == (50.0, None)


async def test_an_operation_is_retried_until_it_succeeds(clock: Clock, failing, caplog) -> None:
    """Every retry is logged, with its details as fields."""
    with caplog.at_level(logging.WARNING, "songflow"):
        done = await retry(
            failing(RequestNotSent("Not reached."), KeyError("gone")),
            on=Exception,
            backoff=Backoff(first=1.0),
            clock=clock,
            sleep=clock.sleep,
        )
    assert (done, clock.slept) == ("done", [1.0, 2.0])
    assert [record.getMessage() for record in caplog.records] == [
        "Not reached. Trying again in 1.0 s.",
        "'gone'. Trying again in 2.0 s.",
    ]
    details = [(one.retry_failures, one.retry_pause, one.retry_error) for one in caplog.records]
    assert details == [(1, 1.0, "RequestNotSent"), (2, 2.0, "KeyError")]


@pytest.mark.parametrize("failure", [KeyError("another kind"), RequestNotSent("final")])
async def test_an_exception_that_may_not_be_retried_propagates_at_once(
    clock: Clock, failing, failure: Exception
) -> None:
    """Because of its class, or because of what it says."""
    with pytest.raises(type(failure)):
        await retry(
            failing(failure),
            on=RequestNotSent,
            when=lambda error: error.repeatable,
            backoff=Backoff(first=1.0),
            clock=clock,
            sleep=clock.sleep,
        )
    assert clock.slept == []


async def test_without_pauses_a_retry_comes_at_once_and_as_often_as_the_test_wants(failing) -> None:
    """Only inside the block; the operation's own limit still holds."""
    with without_pauses(attempts=3):
        assert await persist(failing(LibraryError("away"), LibraryError("away"))) == "done"
        with pytest.raises(LibraryError):
            await persist(failing(*[LibraryError("away")] * 3))
        with pytest.raises(LibraryError):
            await retry(
                failing(*[LibraryError("away")] * 2),
                on=LibraryError,
                backoff=Backoff(first=9.0, attempts=2),
            )


async def test_a_ledger_call_is_not_retried_for_another_error(failing) -> None:
    """A bug is not waited out."""
    with pytest.raises(KeyError):
        await persist(failing(KeyError()))
