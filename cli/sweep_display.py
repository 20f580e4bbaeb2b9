"""Display of a sweep: its plan as a table, its live progress, its result in a few lines."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from rich.live import Live
from rich.text import Text

from cli.output import SIMULATED, Output, plain
from cli.tables import squeezed, table_of
from songflow.documents.text import one_line
from songflow.settings import amount
from songflow.sweeps.plan import Plan
from songflow.sweeps.status import SweepStatus
from songflow.sweeps.tally import SweepResult, Tally

__all__ = ["show_plan", "show_result", "show_status", "status_text", "watched"]

_SHOWN_CELLS = 20
_SHOWN_FAILURES = 10
_LONGEST_CELL = 40
_LIVE_EVERY_SECONDS = 0.5
# A pipe has no progress bar.
_PLAIN_EVERY_SECONDS = 15.0


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
        "price": [f"{one.price:g}" for one in first],
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
    output.line(f"{result.name}: {result.summary(unit)} It took {duration(result.seconds)}.{billed}")
    if result.exit_code:
        output.line("Run the same command again to continue: it pays for no cell twice.")


def show_status(output: Output, name: str, status: SweepStatus, unit: str) -> None:
    """One line about a sweep's progress."""
    output.line(status_text(name, status, unit))


def status_text(name: str, status: SweepStatus, unit: str) -> str:
    """One line: counts, price, rate and remaining time."""
    eta = f", done in about {duration(status.eta_seconds)}" if status.eta_seconds is not None else ""
    return (
        f"{name}: {status.stored} of {status.cells} cells stored ({status.songs} songs), {status.running} running, "
        f"{status.failed} failed, {status.unsettled} unsettled, {status.left} left; {status.spent:g} {unit} spent; "
        f"{status.per_hour:g} cells/h{eta}."
    )


@asynccontextmanager
async def watched(output: Output, name: str, tally: Tally) -> AsyncIterator[None]:
    """Show a run's progress while it lasts: live in a terminal, a line now and then in a pipe."""
    if output.quiet:
        yield
        return
    start = time.monotonic()
    watcher = asyncio.create_task(_watch(output, name, tally, start))
    try:
        yield
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher


async def _watch(output: Output, name: str, tally: Tally, start: float) -> None:
    if output.err.is_terminal and not output.as_json:
        with Live(console=output.err, auto_refresh=False, transient=True) as live:
            while True:
                live.update(_progress_text(name, tally, time.monotonic() - start), refresh=True)
                await asyncio.sleep(_LIVE_EVERY_SECONDS)
    while True:
        await asyncio.sleep(_PLAIN_EVERY_SECONDS)
        logging.getLogger("songflow").info("%s", _progress_text(name, tally, time.monotonic() - start))


def _progress_text(name: str, tally: Tally, seconds: float) -> Text:
    bad = tally.refused + tally.failed + tally.unsettled + tally.troubled
    rate = tally.stored / seconds if seconds else 0.0
    left = tally.cells - tally.ended
    eta = f", about {duration(left / rate)} left" if rate and left else ""
    return plain(
        f"{name}: {tally.ended}/{tally.cells} cells, {tally.running} at the gateway, {tally.collecting} being stored, "
        f"{bad} failed, {60 * rate:.1f} cells/min{eta}"
    )


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
