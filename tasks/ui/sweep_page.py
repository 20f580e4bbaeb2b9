"""A sweep in Prefect's UI: a bar while it runs, and a table of its cells at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from prefect.artifacts import acreate_table_artifact

from songflow.ledger.key_summaries import KeySummary
from songflow.sweeps.cells import Cell
from songflow.sweeps.tally import SweepResult, Tally
from tasks.ui.links import NO_LINKS, SWEEP, form_links
from tasks.ui.markdown import artifact_key, escape
from tasks.ui.pages import shown
from tasks.ui.progress import ProgressBar
from tasks.watching import sweep_watched
from tasks.wording import worded

__all__ = ["MAX_ROWS", "show_sweep", "sweep_bar", "sweep_rows"]

MAX_ROWS = 500
"""A page with more rows is slow in a browser; the manifest has all of them."""

_BAR_EVERY_SECONDS = 5.0
_AGAIN, _REST = "Make the failed cells again", "Make the cells that are missing"


@asynccontextmanager
async def sweep_bar(name: str, tally: Tally) -> AsyncIterator[None]:
    """A progress artifact that follows a run's counts, which who watches the run sees as well."""
    bar = ProgressBar(f"Sweep {name}")
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def follow() -> None:
        while True:
            await asyncio.sleep(_BAR_EVERY_SECONDS)
            share = tally.ended / tally.cells if tally.cells else 0.0
            status = f"{tally.ended} of {tally.cells} cells, {tally.running} at the gateway"
            await bar.update(status, share, loop.time() - start)

    follower = asyncio.create_task(follow())
    try:
        async with sweep_watched(name, tally):
            yield
    finally:
        follower.cancel()
        await asyncio.wait([follower])
    await bar.finish()


def sweep_rows(cells: Sequence[Cell], summaries: Mapping[str, KeySummary]) -> list[dict[str, Any]]:
    """Rows for the first cells: the fields in which they differ, and the state of each."""
    rows = []
    for number, cell in enumerate(cells[:MAX_ROWS], start=1):
        summary = summaries.get(cell.key)
        rows.append(
            {
                "cell": number,
                **{name: escape(value, 80) for name, value in cell.fields.items()},
                "state": str(summary.state) if summary else "not started",
                "songs": summary.stored if summary else 0,
                "units": summary.spent if summary else 0,
                "why": escape(worded((summary.error if summary else "") or "")),
                "key": escape(cell.key),
            }
        )
    return rows


async def show_sweep(result: SweepResult, cells: Sequence[Cell], summaries: Mapping[str, KeySummary]) -> None:
    """Write the table artifact."""
    more = f" The first {MAX_ROWS} of {len(cells)} cells are shown." if len(cells) > MAX_ROWS else ""
    async with shown("The sweep", "its songs are stored"):
        links = await form_links(SWEEP) if result.exit_code else NO_LINKS
        text = [escape(f"{result.summary()}{more}", 600), links.again(_AGAIN if result.failed else _REST)]
        await acreate_table_artifact(
            sweep_rows(cells, summaries),
            key=artifact_key(result.name, result.name, "sweep"),
            description=" ".join(filter(None, text)),
        )
