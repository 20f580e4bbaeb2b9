"""Display of a sweep: its plan as a table, its live progress, its result in a few lines."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from rich.live import Live
from rich.text import Text

from cli.lines import plain
from cli.output import SIMULATED, Output
from cli.progress import duration, fitting_line
from cli.tables import cut, squeezed, table_of
from songflow.documents.text import one_line
from songflow.settings import amount, number_text
from songflow.sweeps.plan import Plan
from songflow.sweeps.status import SweepStatus
from songflow.sweeps.tally import SweepResult, Tally

__all__ = [
    "plain_lines",
    "progress_lines",
    "show_plan",
    "show_result",
    "show_status",
    "status_lines",
    "watched",
]

_SHOWN_CELLS = 20
_SHOWN_FAILURES = 10
_LONGEST_CELL = 40
_LIVE_EVERY_SECONDS = 0.5
# A pipe has no progress bar.
_PLAIN_EVERY_SECONDS = 15.0
_PLAIN_WIDTH = 200
# A terminal writes ^C behind the last line.
_ECHO = 3
# The rate of a run with fewer stored cells is a matter of luck.
_TRUSTED_CELLS = 3


def show_plan(
    output: Output,
    name: str,
    plan: Plan,
    unit: str,
    concurrency: int,
    *,
    simulated: bool = False,
    wide: bool = False,
) -> None:
    """The first cells as a table that fits the terminal, unless it is to be `wide`; then the sums."""
    first = plan.cells[:_SHOWN_CELLS]
    columns = {
        "cell": [str(number) for number, _ in enumerate(first, start=1)],
        **{
            field: [one_line(one.cell.fields[field], _LONGEST_CELL) for one in first]
            for field in first[0].cell.fields
        },
        "next": [str(one.step) for one in first],
        "price": [number_text(one.price) for one in first],
    }
    fitting = squeezed(columns, None if wide else output.width, ("cell", "next", "price"))
    output.table(table_of(fitting))
    if hidden := len(columns) - len(fitting):
        output.line(f"{hidden} more fields do not fit here: --wide shows them.")
    if more := len(plan.cells) - len(first):
        output.line(f"... and {more} more.")
    steps = ", ".join(f"{count} {step}" for step, count in sorted(plan.steps.items()))
    output.line(f"{name}: {len(plan.cells)} cells ({steps}).")
    billed = f" ({SIMULATED})" if simulated else ""
    output.line(
        f"{plan.posts} requests for {amount(plan.price, unit)}{billed}, about {duration(plan.seconds)} with "
        f"{concurrency} at once; {plan.existing} cells exist already and cost nothing."
    )


def show_result(output: Output, result: SweepResult, unit: str, *, simulated: bool = False) -> None:
    """The result of a run, with its failures."""
    for failure in result.failures[:_SHOWN_FAILURES]:
        output.line(f"- {failure.key}: {failure.error} Next: {failure.next}")
    if len(result.failures) > _SHOWN_FAILURES:
        output.line(f"- and {len(result.failures) - _SHOWN_FAILURES} more.")
    billed = f" ({SIMULATED})" if simulated else ""
    output.line(f"{result.name}: {result.summary(unit)} It took {duration(result.seconds)}{billed}.")
    if result.exit_code:
        output.line("Run the same command again to continue: it pays for no cell twice.")


def plain_lines(lines: Sequence[str]) -> Text:
    """Lines for a live display."""
    return Text("\n").join(map(plain, lines))


def status_lines(name: str, status: SweepStatus, unit: str, width: int) -> list[str]:
    """The status for a terminal: a line with a bar, and the rest, each at most `width` cells."""
    facts = [f"{status.stored} of {status.cells} cells", f"{status.songs} songs"]
    facts += [f"{status.per_hour / 60:.1f} cells/min"] if status.per_hour and status.eta_seconds else []
    facts += [f"{duration(status.eta_seconds)} left"] if status.eta_seconds is not None else []
    share = status.stored / status.cells if status.cells else 1.0
    rest = (
        f"  {status.running} running, {status.failed} failed, {status.unsettled} unsettled, {status.left} left; "
        f"{amount(status.spent, unit)} spent"
    )
    return [fitting_line(name, share, " · ".join(facts), width), cut(rest, width)]


def show_status(output: Output, name: str, status: SweepStatus, unit: str) -> None:
    """A sweep's progress: a bar in a terminal, one line in a pipe."""
    if output.width is None:
        output.line(status_text(name, status, unit))
    else:
        for line in status_lines(name, status, unit, output.width):
            output.line(line)


def status_text(name: str, status: SweepStatus, unit: str) -> str:
    """One line: counts, price, rate and remaining time."""
    eta = f", done in about {duration(status.eta_seconds)}" if status.eta_seconds is not None else ""
    return (
        f"{name}: {status.stored} of {status.cells} cells stored ({status.songs} songs), {status.running} running, "
        f"{status.failed} failed, {status.unsettled} unsettled, {status.left} left; "
        f"{amount(status.spent, unit)} spent; {status.per_hour:g} cells/h{eta}."
    )


@asynccontextmanager
async def watched(output: Output, name: str, tally: Tally, expected: float) -> AsyncIterator[None]:
    """Show a run's progress while it lasts: live in a terminal, a line now and then in a pipe.

    Args:
        output: Where to.
        name: The sweep's.
        tally: Its counts, which the run updates.
        expected: Seconds that the run is planned to take.
    """
    if output.quiet:
        yield
        return
    start = time.monotonic()
    watcher = asyncio.create_task(_watch(output, name, tally, start, expected))
    try:
        yield
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher


async def _watch(output: Output, name: str, tally: Tally, start: float, expected: float) -> None:
    if output.err.is_terminal and not output.as_json:
        with Live(console=output.err, auto_refresh=False, transient=True) as live:
            while True:
                lines = progress_lines(
                    name, tally, time.monotonic() - start, expected, output.err.width - _ECHO
                )
                live.update(plain_lines(lines), refresh=True)
                await asyncio.sleep(_LIVE_EVERY_SECONDS)
    while True:
        await asyncio.sleep(_PLAIN_EVERY_SECONDS)
        lines = progress_lines(name, tally, time.monotonic() - start, expected, _PLAIN_WIDTH)
        logging.getLogger("songflow").info("%s", ",".join(lines))


def progress_lines(name: str, tally: Tally, seconds: float, expected: float, width: int) -> list[str]:
    """Two lines of at most `width` cells: how far a run is, and what is under way.

    Args:
        name: The sweep's.
        tally: Its counts.
        seconds: Since the run began.
        expected: What the plan expects of the whole run, from the ledger's history.
        width: The cells of a line.
    """
    if not tally.cells:
        return [fitting_line(name, None, "starting", width)]
    rate = tally.songs / seconds if seconds else 0.0
    left = _seconds_left(tally, seconds, expected)
    facts = [f"{tally.ended} of {tally.cells} cells"]
    facts += [f"{60 * rate:.1f} songs/min"] if rate else []
    facts += [f"{duration(left)} left"] if left is not None else []
    share = tally.ended / tally.cells
    bad = tally.refused + tally.failed + tally.unsettled + tally.troubled
    under_way = f"{tally.running} at the gateway, {tally.collecting} being stored, {bad} failed"
    return [fitting_line(name, share, " · ".join(facts), width), cut(f"  {under_way}", width)]


def _seconds_left(tally: Tally, seconds: float, expected: float) -> float | None:
    """By the plan until the rate of this run is known, or the plan is overdue; None at the end."""
    left = tally.cells - tally.ended
    if not left:
        return None
    if tally.stored >= _TRUSTED_CELLS or (tally.stored and seconds > expected):
        return left * seconds / tally.stored
    return max(0.0, expected - seconds) or None
