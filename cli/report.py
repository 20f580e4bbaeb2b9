"""`songflow sweep report`: the effect of the varied fields on the songs, as a page, pictures and a table."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import Common
from cli.output import Output
from songflow.catalog.manifest import filter_manifest, read_manifest
from songflow.library.library import Library
from songflow.library.measuring import Measured, measure_missing
from songflow.settings import LibrarySettings
from songflow.sweeps.parents import key_stems
from songflow.sweeps.spec import Sweep, load_sweep

if TYPE_CHECKING:
    import pandas

__all__ = ["manifest_of", "measured", "of_sweep", "report"]

_TELL_EVERY = 100


def report(
    spec: Path | None = None,
    /,
    *,
    where: str | None = None,
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("report"),
    field: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    measure: bool = True,
    formula_guard: bool = True,
    common: Common = Common(),
) -> None:
    """Report the effect of the varied fields on the songs: a page with pictures and players, the pictures, and a table.

    Everything comes from the manifest and the stored files, so it can be drawn again at any time; nothing is sent.

    Parameters
    ----------
    spec
        Only the cells of this sweep, whoever made them.
    where
        Only the generations for which this holds, such as: take == 0 and rating > 3 (see `songs`).
    output
        The folder to write to: report.html, songs.csv and plots/.
    field
        A field to look at, by its wire name (can be given several times); without it those that varied.
    measure
        Measure the songs that were not measured yet (about a second for each).
    formula_guard
        In songs.csv, an apostrophe before texts that a spreadsheet would run (=, +, -, @).
    """
    speaker = Output(as_json=common.json, quiet=common.quiet)
    sweep = None if spec is None else load_sweep(spec)
    settings = common.existing_library()

    def selected() -> pandas.DataFrame:
        frame = asyncio.run(manifest_of(settings))
        if sweep is not None:
            frame = of_sweep(frame, sweep, settings)
        return filter_manifest(frame, where) if where else frame

    frame = selected()
    if measure and asyncio.run(measured(settings, frame["key"].unique().tolist(), speaker)):
        frame = selected()
    from songflow.reports import make_report, write_report

    title = sweep.name if sweep is not None else f"Songs of {settings.folder.name}"
    made = make_report(frame, title, fields=field or None)
    page = write_report(made, output, formula_guard=formula_guard)
    if speaker.as_json:
        speaker.object(
            {
                "report": str(page.resolve()),
                "generations": made.generations,
                "songs": made.songs,
                "fields": [one.name for one in made.fields],
                "pictures": [
                    str(page.resolve().parent / "plots" / f"{one.name}.png") for one in made.pictures
                ],
            }
        )
    else:
        varied = ", ".join(one.name for one in made.fields) or "no field"
        speaker.line(f"{page}: {made.generations} generations, {made.songs} songs; varied: {varied}.")


async def manifest_of(settings: LibrarySettings) -> pandas.DataFrame:
    """Read the whole manifest of a library."""
    async with Library(settings, reads_only=True) as library:
        return await read_manifest(library.ledger)


def of_sweep(frame: pandas.DataFrame, sweep: Sweep, settings: LibrarySettings) -> pandas.DataFrame:
    """The rows of a sweep's cells, through whichever gateway and account they were made."""
    # The account is in a cell's key, but not in the part that is compared here.
    stems = asyncio.run(key_stems(sweep, settings))
    length = len(next(iter(stems)))
    return frame[frame["key"].str.slice(0, length).isin(stems)]


async def measured(settings: LibrarySettings, keys: Sequence[str], speaker: Output) -> int:
    """Measure the songs of these request keys that have no measures; what takes long says how far it is."""

    def report_progress(so_far: Measured) -> None:
        if so_far.all % _TELL_EVERY == 0:
            speaker.say(f"Measured {so_far.all} songs.")

    async with Library(settings, reads_only=True) as library:
        return (await measure_missing(library.ledger.measures, keys=keys, tell=report_progress)).measured
