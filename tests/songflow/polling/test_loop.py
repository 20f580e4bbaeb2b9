"""The polling loop, with a fake clock."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from songflow.gateways import FetchProblem, FetchProblemKind, Report, ReportStatus, TakeReport, read_word
from songflow.polling.loop import (
    MISSES_UNTIL_LOST,
    REFUSALS_UNTIL_STOPPED,
    VISIBILITY_SECONDS,
    Fixed,
    Overdue,
    Vanished,
    WaitEnded,
    default_deadline,
    wait_until_settled,
)

EVERY_5_S = Fixed(5.0, jitter=0.0)


def _report(
    status: ReportStatus, *takes: str, word: str | None = None, retry_after: float | None = None
) -> Report:
    made = tuple(TakeReport(name, name, 30.0, f"https://x/{name}", True, None, {}) for name in takes)
    return Report(status, made, None, None, "{}", retry_after=retry_after, word=word, stated=read_word(word))


QUEUED = _report(ReportStatus.QUEUED, word="QUEUED")
RUNNING = _report(ReportStatus.RUNNING, word="IN_PROGRESS")
UNCLEAR = _report(ReportStatus.UNCLEAR, word="UNKNOWN")
DONE = _report(ReportStatus.SUCCEEDED, "a", "b", word="SUCCESS")
FAILED = _report(ReportStatus.FAILED, word="FAILURE")


def _problem(kind: FetchProblemKind, retry_after: float | None = None) -> FetchProblem:
    return FetchProblem(kind, f"it answered {kind}", retry_after, None)


TRANSIENT = _problem(FetchProblemKind.TRANSIENT)
NOT_FOUND = _problem(FetchProblemKind.NOT_FOUND)
REFUSED = _problem(FetchProblemKind.CREDENTIALS)
MISCONFIGURED = _problem(FetchProblemKind.CONFIGURATION)


class Gateway:
    """Answers from a list, repeating the last one, and records the times of the polls."""

    def __init__(self, *answers: Report | FetchProblem) -> None:
        self.answers = list(answers)
        self.now = 1000.0
        self.asked: list[float] = []
        self.reported: list[tuple[str, float]] = []

    async def get(self) -> Report | FetchProblem:
        self.asked.append(self.now - 1000.0)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds

    async def on_report(self, report: Report, age: float) -> None:
        self.reported.append((str(report.status), age))

    async def wait(
        self, *, schedule: Any = EVERY_5_S, age: float = 0.0, deadline: float = 600.0, **more: Any
    ) -> Report:
        return await wait_until_settled(
            self.get,
            schedule,
            age=age,
            deadline=deadline,
            clock=lambda: self.now,
            sleep=self.sleep,
            on_report=self.on_report,
            **more,
        )


# --- settled ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [DONE, FAILED])
async def test_the_wait_ends_with_a_final_status(end: Report) -> None:
    """Success or failure: the report comes back as it is."""
    gateway = Gateway(QUEUED, RUNNING, end)
    assert await gateway.wait() is end
    assert gateway.asked == [5.0, 10.0, 15.0]


async def test_backward_and_unclear_statuses_do_not_end_the_wait() -> None:
    """Only a final answer counts, however the words before it jump."""
    gateway = Gateway(RUNNING, QUEUED, UNCLEAR, RUNNING, DONE)
    assert await gateway.wait() is DONE


async def test_all_takes_of_the_submit_are_waited_for() -> None:
    """A success that lists one of two track ids is not yet the end."""
    half = _report(ReportStatus.SUCCEEDED, "a", word="SUCCESS")
    gateway = Gateway(half, half, half, DONE)
    assert await gateway.wait(track_ids=("a", "b")) is DONE


async def test_a_list_without_a_status_word_counts_when_it_comes_twice() -> None:
    """Where no word says that the list is complete, the same list twice in a row does; trouble in between is none."""
    one, both = _report(ReportStatus.SUCCEEDED, "a"), _report(ReportStatus.SUCCEEDED, "a", "b")
    gateway = Gateway(one, both, TRANSIENT, both)
    assert await gateway.wait() is both
    assert len(gateway.asked) == 4


async def test_a_complete_list_is_confirmed_soon() -> None:
    """However long the schedule's next gap is: the second look only confirms the first."""

    class Rare:
        interval = 5.0

        def delay(self, elapsed: float) -> float:
            return 60.0

        def gap(self, elapsed: float) -> float:
            return 60.0

    both = _report(ReportStatus.SUCCEEDED, "a", "b")
    gateway = Gateway(RUNNING, both)
    assert await gateway.wait(schedule=Rare()) is both
    assert gateway.asked == [60.0, 120.0, 125.0]


async def test_each_readable_answer_is_reported_with_the_generations_age() -> None:
    """Progress counts from the acceptance, not from when this process began to wait."""
    gateway = Gateway(QUEUED, TRANSIENT, RUNNING, DONE)
    await gateway.wait(age=100.0)
    assert gateway.reported == [("queued", 105.0), ("running", 115.0), ("succeeded", 120.0)]


async def test_on_report_is_optional() -> None:
    """The wait works without it."""
    gateway = Gateway(RUNNING, DONE)
    ended = await wait_until_settled(
        gateway.get, EVERY_5_S, age=0.0, deadline=60.0, clock=lambda: gateway.now, sleep=gateway.sleep
    )
    assert ended is DONE


# --- when it asks -----------------------------------------------------------------------------------------


async def test_the_first_poll_can_come_at_once() -> None:
    """Who resumes a wait need not sit out another interval."""
    gateway = Gateway(RUNNING, DONE)
    await gateway.wait(first_delay=0.0)
    assert gateway.asked == [0.0, 5.0]


async def test_the_schedule_is_asked_with_the_generations_age() -> None:
    """A schedule that learns from history needs to know how old the generation is."""
    ages: list[float] = []

    class Growing:
        def delay(self, elapsed: float) -> float:
            ages.append(elapsed)
            return 10.0

        def gap(self, elapsed: float) -> float:
            return 10.0

    await Gateway(RUNNING, RUNNING, DONE).wait(schedule=Growing(), age=7.0)
    assert ages == [7.0, 17.0, 27.0]


@pytest.mark.parametrize(
    "answer",
    [
        _report(ReportStatus.RUNNING, word="IN_PROGRESS", retry_after=30.0),
        _problem(FetchProblemKind.TRANSIENT, retry_after=30.0),
    ],
)
async def test_retry_after_is_respected(answer: Report | FetchProblem) -> None:
    """A gateway that asks for more time gets it; one that asks for less gets the schedule's."""
    gateway = Gateway(answer, _problem(FetchProblemKind.TRANSIENT, retry_after=1.0), DONE)
    await gateway.wait()
    assert gateway.asked == [5.0, 35.0, 40.0]


def test_jitter_stays_within_its_share() -> None:
    """Waiters spread around their interval, evenly and never beyond the share."""
    schedule = Fixed(10.0, jitter=0.2, random=random.Random(1))
    delays = [schedule.delay(0.0) for _ in range(2000)]
    assert 8.0 <= min(delays) < 8.1
    assert 11.9 < max(delays) <= 12.0
    assert len(set(delays)) > 1000


def test_without_jitter_the_interval_is_exact() -> None:
    """`--poll-interval S` means S."""
    assert {Fixed(3.0, jitter=0.0).delay(age) for age in range(10)} == {3.0}


def test_the_default_deadline_grows_with_the_models_music() -> None:
    """At least twice the longest published generation (627 s), for every model."""
    assert default_deadline(32.81) > 2 * 627
    assert default_deadline(130.0) > default_deadline(32.81)


# --- the deadline -----------------------------------------------------------------------------------------


async def test_the_deadline_ends_the_wait_with_a_last_poll_at_the_deadline() -> None:
    """The last pause is cut short, so that a song that is done at the end is not missed."""
    gateway = Gateway(RUNNING)
    with pytest.raises(Overdue, match="after 12 s its status is still 'running'") as caught:
        await gateway.wait(deadline=12.0)
    assert gateway.asked == [5.0, 10.0, 12.0]
    assert caught.value.last is RUNNING


async def test_a_generation_that_ends_at_the_deadline_is_taken() -> None:
    """The poll at the deadline counts."""
    assert await Gateway(RUNNING, RUNNING, DONE).wait(deadline=12.0) is DONE


async def test_a_retry_after_beyond_the_deadline_does_not_prolong_it() -> None:
    """The deadline is fixed."""
    gateway = Gateway(_problem(FetchProblemKind.TRANSIENT, retry_after=3600.0))
    with pytest.raises(Overdue):
        await gateway.wait(deadline=60.0)
    assert gateway.asked == [5.0, 60.0]


async def test_a_zero_deadline_still_polls_once() -> None:
    """A wait without time is one poll."""
    gateway = Gateway(RUNNING)
    with pytest.raises(Overdue):
        await gateway.wait(deadline=0.0)
    assert gateway.asked == [0.0]
    assert await Gateway(DONE).wait(deadline=0.0) is DONE


async def test_a_lasting_unknown_status_ends_at_the_deadline() -> None:
    """An unknown status neither ends the wait nor makes it endless."""
    with pytest.raises(Overdue, match="'unclear'"):
        await Gateway(UNCLEAR).wait(deadline=3600.0)


# --- problems ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [TRANSIENT, MISCONFIGURED])
async def test_a_poll_that_fails_never_loses_a_generation(problem: FetchProblem) -> None:
    """However often and whatever the reason, the next answer counts."""
    gateway = Gateway(*[problem] * 100, DONE)
    assert await gateway.wait() is DONE


@pytest.mark.parametrize("problem", [TRANSIENT, MISCONFIGURED])
async def test_a_problem_at_the_deadline_is_in_the_error(problem: FetchProblem) -> None:
    """Overdue says what stood in the way; a gateway that never answered is not called running."""
    with pytest.raises(Overdue, match=f"it answered {problem.kind}") as caught:
        await Gateway(problem).wait(deadline=60.0)
    assert caught.value.last is None


async def test_a_past_problem_is_not_in_the_error() -> None:
    """The error at the deadline contains the last observation."""
    with pytest.raises(Overdue, match="its status is still 'running'"):
        await Gateway(TRANSIENT, RUNNING).wait(deadline=60.0)


async def test_a_key_that_is_refused_several_times_in_a_row_ends_the_wait() -> None:
    """Asking again with the same key would change nothing; the generation runs on."""
    gateway = Gateway(RUNNING, REFUSED)
    with pytest.raises(Overdue, match="refuses our key") as caught:
        await gateway.wait()
    assert gateway.asked == [5.0 * number for number in range(1, 2 + REFUSALS_UNTIL_STOPPED)]
    assert caught.value.last is RUNNING


@pytest.mark.parametrize("between", [RUNNING, TRANSIENT, NOT_FOUND])
async def test_single_refusals_of_the_key_are_hiccups(between: Report | FetchProblem) -> None:
    """Of a relay's database, or of a page before it."""
    assert await Gateway(*[REFUSED, REFUSED, between] * 5, DONE).wait() is DONE


@pytest.mark.parametrize("glitch", [NOT_FOUND, REFUSED])
async def test_a_single_bad_word_at_the_deadline_is_confirmed_before_it_counts(glitch: FetchProblem) -> None:
    """A rescue looks once: then it looks again, and not without end."""
    assert await Gateway(glitch, DONE).wait(age=1000.0, deadline=0.0) is DONE
    with pytest.raises(Overdue, match="'running'"):
        await Gateway(glitch, glitch, RUNNING).wait(age=1000.0, deadline=0.0)
    gateway = Gateway(glitch)
    with pytest.raises(WaitEnded):
        await gateway.wait(age=1000.0, deadline=0.0)
    assert len(gateway.asked) == 3


async def test_an_id_that_is_not_visible_yet_is_waited_for() -> None:
    """Just after a submit, gateways may not know what they have accepted."""
    visible_after = int(VISIBILITY_SECONDS // 5)
    gateway = Gateway(*[NOT_FOUND] * visible_after, RUNNING, DONE)
    assert await gateway.wait() is DONE


async def test_an_id_that_stays_unknown_has_vanished() -> None:
    """After two minutes."""
    gateway = Gateway(NOT_FOUND)
    with pytest.raises(Vanished, match="it answered not_found"):
        await gateway.wait()
    assert gateway.asked[-1] == VISIBILITY_SECONDS + 5.0


async def test_an_old_generation_vanishes_after_a_few_misses_in_a_row() -> None:
    """One miss among good answers is a hiccup; several in a row are the truth."""
    for between in (RUNNING, TRANSIENT):
        hiccups = [NOT_FOUND, NOT_FOUND, between]
        assert await Gateway(*hiccups * 5, DONE).wait(age=1000.0) is DONE
    gateway = Gateway(RUNNING, NOT_FOUND)
    with pytest.raises(Vanished) as caught:
        await gateway.wait(age=1000.0)
    assert len(gateway.asked) == 1 + MISSES_UNTIL_LOST
    assert caught.value.last is RUNNING


async def test_exceptions_of_get_propagate() -> None:
    """They are bugs, not bad responses."""

    async def broken() -> Report:
        raise ZeroDivisionError

    get: Callable[..., Any] = broken
    gateway = Gateway(DONE)
    with pytest.raises(ZeroDivisionError):
        await wait_until_settled(
            get, EVERY_5_S, age=0.0, deadline=60.0, clock=lambda: gateway.now, sleep=gateway.sleep
        )
