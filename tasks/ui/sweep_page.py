"""A sweep in Prefect's UI: a bar while it runs, and a page of its cells and songs at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice

from prefect.artifacts import acreate_markdown_artifact

from songflow.generation.session import Session
from songflow.ledger.key_summaries import KeySummary
from songflow.ledger.rows import Song
from songflow.runtime.retry import persist
from songflow.settings import PageSettings, number_text
from songflow.sweeps.cells import Cell
from songflow.sweeps.tally import SweepResult, Tally
from tasks.ui.links import NO_LINKS, SWEEP, form_links, page_in_v1
from tasks.ui.markdown import artifact_key, escape, first_rows, table
from tasks.ui.pages import shown
from tasks.ui.players import MOST_HEARD, MOST_ROW_BYTES, Players, with_players
from tasks.ui.progress import ProgressBar
from tasks.ui.takes import take_block, take_links
from tasks.watching import sweep_watched
from tasks.wording import worded

__all__ = ["MAX_ROWS", "heard_in", "show_sweep", "sweep_bar", "sweep_page"]

MAX_ROWS = 500
"""A page with more rows is slow in a browser; the manifest has all of them."""

_BAR_EVERY_SECONDS = 5.0
_AGAIN, _REST = "Make the failed cells again", "Make the cells that are missing"


@asynccontextmanager
async def sweep_bar(name: str, tally: Tally) -> AsyncIterator[None]:
    """Show a run's counts as a progress artifact, and to its watcher."""
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


def sweep_page(
    result: SweepResult,
    cells: Sequence[Cell],
    summaries: Mapping[str, KeySummary],
    takes: Mapping[str, Sequence[Song]],
    players: Players,
    unit: str,
    again: str | None = None,
) -> str:
    """The counts of a sweep, players of its first cells with songs, and a table of its first cells.

    Args:
        result: The sweep's result.
        cells: All its cells, in order.
        summaries: The state of the first `MAX_ROWS` cells, by request key.
        takes: The songs of these cells, by request key.
        players: Those of the songs of `heard_in`.
        unit: The library's, for prices.
        again: A link to the form that makes the cells without songs.
    """
    names = list(dict.fromkeys(name for cell in cells[:MAX_ROWS] for name in cell.fields))
    rows = first_rows(
        (
            _row(number, cell, names, summaries.get(cell.key), takes.get(cell.key, ()), players.settings)
            for number, cell in enumerate(cells[:MAX_ROWS], start=1)
        ),
        MOST_ROW_BYTES,
    )
    parts = [f"# {escape(result.name)}", escape(result.summary(unit), 600), *filter(None, (again,))]
    heard = _heard_cells(cells, takes)
    if heard:
        parts += ["## Listen", *(_cell_block(number, cell, song, players) for number, cell, song in heard)]
    head = ("cell", *(escape(name) for name in names), "state", "songs", escape(unit), "why", "key")
    parts += ["## Cells", table(head, rows)]
    if len(rows) < len(cells):
        parts.append(
            f"The first {len(rows)} of {len(cells)} cells are shown; `songflow songs` lists all songs."
        )
    return "\n\n".join(parts)


def heard_in(cells: Sequence[Cell], takes: Mapping[str, Sequence[Song]]) -> list[Song]:
    """The songs that a sweep's page plays: the first stored take of each of the first cells that have one."""
    return [song for _, _, song in _heard_cells(cells, takes)]


def _heard_cells(cells: Sequence[Cell], takes: Mapping[str, Sequence[Song]]) -> list[tuple[int, Cell, Song]]:
    stored = (
        (number, cell, song)
        for number, cell in enumerate(cells[:MAX_ROWS], start=1)
        for song in [one for one in takes.get(cell.key, ()) if one.path is not None][:1]
    )
    return list(islice(stored, MOST_HEARD))


def _cell_block(number: int, cell: Cell, song: Song, players: Players) -> str:
    fields = ", ".join(f"{escape(name)} {escape(value, 80)}" for name, value in cell.fields.items())
    return take_block(f"Cell {number}: {escape(song.title or 'untitled')}", song, players, fields)


def _row(
    number: int,
    cell: Cell,
    names: Sequence[str],
    summary: KeySummary | None,
    songs: Sequence[Song],
    settings: PageSettings,
) -> tuple[str, ...]:
    return (
        str(number),
        *(escape(cell.fields[name], 80) if name in cell.fields else "" for name in names),
        str(summary.state) if summary else "not started",
        take_links(songs, settings),
        number_text(summary.spent) if summary else "0",
        escape(worded((summary.error if summary else "") or "")),
        escape(cell.key),
    )


async def show_sweep(session: Session, result: SweepResult, cells: Sequence[Cell]) -> None:
    """Write the page; see `sweep_page`."""
    async with shown("The sweep", "its songs are stored"):
        ledger, unit = session.library.ledger, session.library.settings.unit
        keys = [cell.key for cell in cells[:MAX_ROWS]]
        summaries = await persist(lambda: ledger.key_summaries.of_keys(keys))
        takes = await persist(lambda: ledger.songs.of_keys(keys))
        links = await form_links(SWEEP) if result.exit_code else NO_LINKS
        again = links.again(_AGAIN if result.failed else _REST, failed=bool(result.failed))
        key = artifact_key(result.name, result.name, "sweep")
        await acreate_markdown_artifact(
            await with_players(
                lambda players: sweep_page(result, cells, summaries, takes, players, unit, again),
                heard_in(cells, takes),
                page_in_v1(key),
            ),
            key=key,
            description=escape(result.summary(unit), 600),
        )
