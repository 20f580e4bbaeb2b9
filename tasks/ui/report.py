"""A report of generations in Prefect's UI: pictures, a table, and a page that explains them.

A report is for looking at: whatever goes wrong in drawing it is a warning, and never fails the run that asked.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from prefect.artifacts import acreate_image_artifact, acreate_markdown_artifact, acreate_table_artifact

from songflow.audio.features import CACHE_NAME, measure_songs
from songflow.catalog.manifest import read_manifest
from songflow.library.library import Library
from songflow.settings import LibrarySettings
from tasks.logs import show_in_runs
from tasks.ui.markdown import escape

if TYPE_CHECKING:
    from songflow.reports import Report

__all__ = ["show_report"]

log = logging.getLogger(f"songflow.{__name__}")

_PATIENCE_SECONDS = 300.0
# Measuring takes a tenth of a second a song; `songflow sweep report` measures any number.
_MOST_MEASURED = 500
# Pictures travel in artifacts as data URLs, and Prefect's database keeps each.
_MOST_PICTURES = 8
_MOST_ROWS = 60


async def show_report(library: LibrarySettings, keys: Collection[str], title: str) -> None:
    """Draw the report of some generations, by their request keys, as artifacts of the current run.

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
    async with Library(library, reads_only=True) as opened:
        frame = await read_manifest(opened.ledger)
    frame = frame[frame["key"].isin(list(keys))]
    if frame.empty:
        return None
    stored = frame[frame["path"].notna() & frame["sha256"].notna()].head(_MOST_MEASURED)
    songs = list(zip(stored["sha256"], stored["path"], strict=True))

    def draw() -> Report:
        from songflow.reports import make_report

        measures = measure_songs(songs, library.folder / CACHE_NAME)
        return make_report(frame, title, measures=measures)

    # Decoding and drawing take seconds of CPU: run them outside the event loop.
    return await asyncio.to_thread(draw)


async def _show(report: Report) -> None:
    from songflow.reports.page import effect_rows

    stem = _stem(report.title)
    for picture in report.pictures[:_MOST_PICTURES]:
        await acreate_image_artifact(
            f"data:image/png;base64,{base64.b64encode(picture.data).decode()}",
            key=f"{stem}-{_dashes(picture.name)}",
            description=escape(f"{report.title}: {picture.title}"),
        )
    rows = [
        {name: escape(value) for name, value in row.items()}
        for row, _ in zip(effect_rows(report.effects), range(_MOST_ROWS), strict=False)
    ]
    if rows:
        await acreate_table_artifact(
            rows,
            key=f"{stem}-effects",
            description="Effects: on the rating first, then the strongest.",
        )
    await acreate_markdown_artifact(
        _page(report, stem), key=f"{stem}-report", description=escape(report.title)
    )


def _page(report: Report, stem: str) -> str:
    varied = ", ".join(f"`{field.name}`" for field in report.fields) or "no field of the request"
    lines = [
        f"# {escape(report.title)}",
        f"{report.generations} generations, {report.songs} songs. Varied: {varied}.",
    ]
    if report.same:
        same = ", ".join(one.phrase(f"{value:g}", value) for one, value in report.same)
        lines.append(f"The same everywhere: {escape(same)}.")
    if report.pictures:
        shown = report.pictures[:_MOST_PICTURES]
        lines.append("The pictures are artifacts of this run, too:")
        lines.append("\n".join(f"- `{stem}-{_dashes(one.name)}`: {escape(one.title)}" for one in shown))
        lines.append(f"`{stem}-effects` has the figures: effects on the rating first, then the strongest.")
    lines.append("`songflow sweep report --output report` draws it again, with players, from the manifest.")
    return "\n\n".join(lines)


def _stem(title: str) -> str:
    """The prefix of the artifacts' keys; the same sweep has the same prefix, so its reports form a history."""
    return f"report-{_dashes(title)[:40].strip('-')}-{hashlib.sha256(title.encode()).hexdigest()[:6]}"


def _dashes(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
