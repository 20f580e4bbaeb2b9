"""Progress on one line: what matters is never cut, and the time left comes from the ledger's history."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from rich.cells import cell_len

from cli.progress import Waiting, bar, fitting_line, time_left
from cli.sweep_display import progress_lines, status_lines
from songflow.sweeps.status import SweepStatus
from songflow.sweeps.tally import Tally


@pytest.mark.parametrize("width", [40, 60, 80, 160])
@pytest.mark.parametrize(
    "name", ["waltz", "a very long name of a sweep that somebody gave " * 2, "夜の歌" * 9]
)
def test_a_line_fits_and_keeps_its_facts(width: int, name: str) -> None:
    """The bar and the name give way."""
    line = fitting_line(name, 0.5, "12 of 48 cells, 3 min left", width)
    assert cell_len(line) <= width
    assert line.endswith("12 of 48 cells, 3 min left")
    assert ("━" in line) == (width > 40)


def test_a_bar_is_as_full_as_its_share() -> None:
    """From empty to full, whatever the share."""
    assert [bar(share, 4) for share in (-1.0, 0.0, 0.5, 1.0, 7.0)] == ["────", "────", "━━──", "━━━━", "━━━━"]


def test_the_time_left_comes_from_history_then_from_the_gateway() -> None:
    """Without either, none is promised."""
    assert time_left(60.0, 0.5, 20.0) == 40.0
    assert time_left(60.0, 0.75, 90.0) == 30.0
    assert [time_left(None, share, 20.0) for share in (None, 0.0, 0.99, 1.0)] == [None] * 4
    assert time_left(60.0, None, 59.5) is None


async def test_a_generation_shows_its_share_and_the_time_left() -> None:
    """In a terminal on one line; the end has no time left."""
    lines: list[str] = []
    waiting = Waiting("'a slow waltz for two cellos'", lines.append, 80)
    waiting.expected = 60.0
    await waiting("running", None, 15.0)
    await waiting("succeeded", 1.0, 61.0)
    assert all(cell_len(line) <= 80 for line in lines)
    assert lines[0].endswith("sending")
    assert lines[1].endswith("running, 15 s, about 45 s left")
    assert lines[1].count("━") * 3 == pytest.approx(lines[1].count("─"), abs=3)
    assert lines[2].endswith("succeeded, 100%, 61 s")
    step = waiting.named("step 2 of 3 (intro)")
    await step("queued", 0.0, 1.0)
    assert lines[-1].startswith("step 2 of 3 (intro)  ─")


async def test_a_pipe_has_lines_with_the_time_left(caplog: pytest.LogCaptureFixture) -> None:
    """One for each change."""
    waiting = Waiting("core")
    waiting.expected = 60.0
    with caplog.at_level(logging.INFO, "songflow"):
        for seconds in (1.0, 2.0):
            await waiting("queued", 0.0, seconds)
    assert [record.getMessage() for record in caplog.records] == ["core: queued after 1 s, about 59 s left."]


def some(**counts: Any) -> Tally:
    """A tally of 480 cells."""
    return Tally(cells=480, **counts)


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_sweep_shows_counts_rate_and_time_left(width: int) -> None:
    """By the plan until its own rate is known, or the plan has failed."""
    first = progress_lines("waltz", some(running=10), 5.0, 600.0, width)
    later = progress_lines("waltz", some(stored=48, songs=96, failed=2, running=10), 120.0, 600.0, width)
    assert all(cell_len(line) <= width for line in (*first, *later))
    assert first[0].endswith("0 of 480 cells · 10 min left")
    assert later[0].endswith("50 of 480 cells · 48.0 songs/min · 18 min left")
    overdue = progress_lines("waltz", some(stored=2, songs=4), 700.0, 600.0, width)
    assert overdue[0].endswith("2 of 480 cells · 0.3 songs/min · 46 h 28 min left")
    assert later[1] == "  10 at the gateway, 0 being stored, 2 failed"
    assert progress_lines("waltz", Tally(), 1.0, 600.0, width) == ["waltz  starting"]
    assert progress_lines("waltz", some(stored=480, songs=960), 9.0, 0.0, 80)[0].endswith("6400.0 songs/min")


def test_a_status_fits_with_its_bar() -> None:
    """Two lines of 80 cells."""
    found = SweepStatus(480, 120, 10, 1, 1, 348, 240, 130.0, 1200.0, 1074.0)
    first, second = status_lines("waltz", found, "units", 80)
    assert first.endswith("120 of 480 cells · 240 songs · 20.0 cells/min · 18 min left")
    assert second == "  10 running, 1 failed, 1 unsettled, 348 left; 130 units spent"
    assert (cell_len(first) <= 80, "━" in first) == (True, True)


def test_prefects_log_lines_take_our_form(capfd: pytest.CaptureFixture[str]) -> None:
    """The run's address once and what repeats a step; the command itself reports the rest of a run's lines.

    Its loggers are as before after the command.
    """
    import prefect.main  # noqa: F401
    from prefect.settings import PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW, temporary_settings

    from cli.logs import join_prefect_logs, stop_logging
    from cli.output import Output

    loggers = (logging.root, logging.getLogger("prefect"), logging.getLogger("prefect.flow_runs"))
    before = [set(logger.handlers) for logger in loggers]
    Output()
    join_prefect_logs()
    run, client = logging.getLogger("prefect.flow_runs"), logging.getLogger("prefect.client")
    with temporary_settings({PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore"}):
        for message in ("View at http://x/run/1", "View at http://x/run/1", "Finished in state Completed()"):
            run.info(message)
        run.error("Finished in state Failed('no')")
        logging.getLogger("prefect.task_runs").info(
            "Task run failed with an error: E() - Retry 1/4 will start soon"
        )
    client.info("asked")
    client.warning("The server is away.")
    stop_logging()
    lines = [line.split(maxsplit=1)[1] for line in capfd.readouterr().err.splitlines()]
    assert lines == [
        "View at http://x/run/1",
        "Task run failed with an error: E() - Retry 1/4 will start soon",
        "The server is away.",
    ]
    assert [set(logger.handlers) for logger in loggers] == before
