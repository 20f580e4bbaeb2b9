"""Durations as intervals, and the selection of current ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from songflow.gateways import Report, ReportStatus, TakeReport
from songflow.ledger import Timing
from songflow.polling import Duration, Watch, duration_of
from songflow.polling.changes import recent
from songflow.polling.durations import usable

ACCEPTED = datetime(2026, 1, 1, tzinfo=UTC)


def _after(seconds: float | None) -> datetime | None:
    return None if seconds is None else ACCEPTED + timedelta(seconds=seconds)


def _timing(
    pending: float | None, finished: float | None, ran: float | None = None, submit: float = 0.0
) -> Timing:
    return Timing(ACCEPTED, _after(-submit), _after(pending), _after(finished), ran)


def test_a_duration_is_between_two_polls() -> None:
    """After the last that found it unfinished, up to the one that found it finished."""
    assert duration_of(_timing(50.0, 55.0)) == Duration(50.0, 55.0)
    assert duration_of(_timing(None, 5.0)) == Duration(0.0, 5.0)


def test_the_reported_duration_starts_within_the_submit() -> None:
    """A submit of four seconds makes it two less, and as much less sure."""
    assert duration_of(_timing(50.0, 55.0, ran=54.0, submit=4.0)) == Duration(
        50.0, 55.0, reported=52.0, tolerance=3.0
    )


@pytest.mark.parametrize(
    "timing",
    [
        _timing(50.0, None),
        _timing(50.0, 49.0),
        _timing(None, -3.0),
        _timing(50.0, 55.0, submit=3600.0),
        _timing(50.0, 55.0, submit=-5.0),
    ],
    ids=["no end", "a clock set back", "an end before the start", "an id adopted later", "a clock set on"],
)
def test_unusable_times_give_no_duration(timing: Timing) -> None:
    """Clocks that were set, and ids that came by another way than a submit's answer."""
    assert duration_of(timing) is None


def test_bounds_combine_polls_and_the_reported_duration() -> None:
    """A report that contradicts the polls is ignored."""
    assert Duration(50.0, 55.0, reported=52.0).bounds == (51.0, 53.0)
    assert Duration(50.0, 55.0, reported=55.5).bounds == (54.5, 55.0)
    assert Duration(50.0, 55.0, reported=40.0).bounds == (50.0, 55.0)
    assert Duration(50.0, 55.0, reported=40.0).contradicts
    assert not Duration(50.0, 55.0).contradicts


def test_reports_of_a_contradicted_gateway_are_ignored() -> None:
    """It shows a finish only some time after its own clock wrote it down."""
    late = [Duration(45.0, 50.0, reported=float(seconds)) for seconds in (40, 41, 47, 48)]
    assert [one.reported for one in usable(late)] == [None] * 4
    one_in_twenty = [Duration(45.0, 50.0, reported=47.0)] * 19 + [Duration(45.0, 50.0, reported=40.0)]
    assert [one.reported for one in usable(one_in_twenty)].count(47.0) == 19


def test_a_late_wait_gives_no_duration() -> None:
    """Rescued after a day: all it knows is that it was over by then. A long duration that was watched stays."""
    watched, rescued = Duration(800.0, 805.0), Duration(0.0, 86_400.0)
    usual = [Duration(50.0, 55.0)] * 10
    assert usable([*usual, rescued, watched]) == [*usual, watched]
    assert usable([]) == []


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_change_of_speed_cuts_the_history(factor: float) -> None:
    """What came before the change is forgotten, give or take a song or two at the seam."""
    draw = np.random.default_rng(1)
    seconds = 54 * np.exp(0.3 * draw.standard_normal(60)) * np.repeat([1.0, factor], [40, 20])
    kept = recent([Duration(x - 1, x + 1) for x in seconds])
    assert 17 <= len(kept) <= 24


def test_a_change_of_speed_is_detected_from_late_polls() -> None:
    """All that is known of the quicker songs is that each was over by the first look."""
    slow = [Duration(45.0 + 5 * (n % 4), 50.0 + 5 * (n % 4)) for n in range(30)]
    assert recent([*slow, *[Duration(0.0, 45.0)] * 8]) == [Duration(0.0, 45.0)] * 8


def test_false_changes_are_rare() -> None:
    """At most one history in two hundred is cut by mistake."""
    draw = np.random.default_rng(2)
    cut = sum(len(recent([Duration(x - 0.01, x) for x in draw.random(60) + 1])) < 60 for _ in range(600))
    assert cut <= 3


def test_a_short_history_is_kept_whole() -> None:
    """A few songs show nothing."""
    few = [Duration(0.0, float(n + 1)) for n in range(11)]
    assert recent(few) == few


def _report(*, finished: bool, submit: float | None = None, finish: float | None = None) -> Report:
    take = TakeReport("a", "a", 30.0, "https://x/a" if finished else None, finished, None, {})
    return Report(ReportStatus.RUNNING, (take,), None, None, "{}", submit_time=submit, finish_time=finish)


def test_a_wait_records_the_polls_around_the_finish() -> None:
    """A list that has to come twice was finished when it came first; one that goes back was not."""
    submission = SimpleNamespace(sending_at=None, answered_at=ACCEPTED, intended_at=ACCEPTED, pending_at=None)
    watch = Watch(submission)
    for age, finished in ((5, False), (10, True), (15, False), (20, True), (25, True)):
        watch.observe(_report(finished=finished), float(age))
    timing = watch.timing(_report(finished=True, submit=1000.0, finish=1018.0))
    assert (timing.pending_at, timing.finished_at, timing.ran_seconds) == (_after(15), _after(20), 18.0)
    assert _report(finished=True, submit=1000.0, finish=999.0).ran_seconds is None
