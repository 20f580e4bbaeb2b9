"""A report of generations in Prefect's UI: a page with its figures and pictures.

A report is for looking at: whatever goes wrong in drawing it is a warning, and never fails the run that asked.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Collection, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from prefect.artifacts import acreate_markdown_artifact

from songflow.catalog.manifest import read_manifest
from songflow.documents.text import counted
from songflow.library.library import Library
from songflow.library.measuring import measure_missing
from songflow.settings import LibrarySettings
from tasks.logs import show_in_runs
from tasks.ui.markdown import artifact_key, escape, table
from tasks.ui.players import MOST_PAGE_BYTES

if TYPE_CHECKING:
    import pandas

    from songflow.reports import Report
    from songflow.reports.report import Picture

__all__ = ["show_report"]

log = logging.getLogger(f"songflow.{__name__}")

_PATIENCE_SECONDS = 300.0
# Measuring takes about a second a song; `songflow sweep report` measures any number.
_MOST_MEASURED = 500
_MOST_ROWS = 60


async def show_report(library: LibrarySettings, keys: Collection[str], title: str) -> None:
    """Draw the report of some generations, by their request keys, as an artifact of the current run.

    Raises only on cancellation; anything that cannot be drawn or written is a warning in the run's log.
    """
    show_in_runs()
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            report = await _made(library, keys, title)
            if report is not None:
                await _show(report)
    except Exception as error:
        log.warning(
            "The report cannot be drawn (%s: %s); the songs are not affected.", type(error).__name__, error
        )


async def _made(library: LibrarySettings, keys: Collection[str], title: str) -> Report | None:
    wanted = list(keys)
    async with Library(library, reads_only=True) as opened:
        frame = await _rows(opened, wanted)
        if frame.empty:
            return None
        if await asyncio.to_thread(_varies, frame):
            measured = await measure_missing(opened.ledger.measures, keys=wanted, limit=_MOST_MEASURED)
            frame = await _rows(opened, wanted) if measured.measured else frame
    # Drawing takes seconds of CPU: run it outside the event loop.
    return await asyncio.to_thread(_drawn, frame, title)


def _varies(frame: pandas.DataFrame) -> bool:
    """Where nothing was varied, there is nothing that the sound could depend on."""
    from songflow.reports.facts import facts_of, varied_fields

    return bool(varied_fields(facts_of(frame)))


def _drawn(frame: pandas.DataFrame, title: str) -> Report:
    from songflow.reports import make_report

    return make_report(frame, title)


async def _rows(library: Library, keys: Sequence[str]) -> pandas.DataFrame:
    frame = await read_manifest(library.ledger)
    return frame[frame["key"].isin(keys)]


async def _show(report: Report) -> None:
    await acreate_markdown_artifact(
        _page(report),
        key=artifact_key(report.title, report.title, "report"),
        description=escape(report.title),
    )


def _page(report: Report) -> str:
    """The page with as many of the pictures as it has room for."""
    whole = _text(report, pictures=[])
    room = MOST_PAGE_BYTES - len(whole.encode())
    pictures = []
    for picture in report.pictures:
        markdown = _picture(picture)
        room -= len(markdown.encode()) + 2
        if room < 0:
            break
        pictures.append(markdown)
    return _text(report, pictures)


def _text(report: Report, pictures: Sequence[str]) -> str:
    varied = ", ".join(f"`{field.name}`" for field in report.fields) or "no field of the request"
    parts = [
        f"# {escape(report.title)}",
        f"{counted(report.generations, 'generation')}, {counted(report.songs, 'song')}. Varied: {varied}.",
    ]
    if report.same:
        same = ", ".join(one.phrase(f"{value:g}", value) for one, value in report.same)
        parts.append(f"The same everywhere: {escape(same)}.")
    parts += [*_effects(report), *pictures]
    left_out = len(report.pictures) - len(pictures)
    if left_out:
        parts.append(f"There is no room on this page for {counted(left_out, 'more picture')}.")
    parts.append("`songflow sweep report --output report` draws it again, with players, from the manifest.")
    return "\n\n".join(parts)


def _effects(report: Report) -> list[str]:
    from songflow.reports.page import effect_rows

    rows = list(islice(effect_rows(report.effects), _MOST_ROWS))
    if not rows:
        return []
    cells = ([escape(value, 80) for value in row.values()] for row in rows)
    return [
        "Effects: on the rating first, then the strongest.",
        table([escape(name) for name in rows[0]], cells),
    ]


def _picture(picture: Picture) -> str:
    data = base64.b64encode(picture.data).decode()
    return f"![{escape(picture.title)}](data:image/png;base64,{data})"
