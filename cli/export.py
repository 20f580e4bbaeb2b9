"""`songflow export`: the manifest and its songs in formats that other tools read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from cli.options import Common
from cli.output import Output
from songflow.catalog.export import AUDIO_FOLDER, Audio, refuse_own_folder
from songflow.catalog.export import export as write
from songflow.catalog.manifest import filter_manifest, read_manifest
from songflow.errors import InputError
from songflow.library.library import Library
from songflow.listening.sending import export_page, waveforms_of
from songflow.settings import LibrarySettings

if TYPE_CHECKING:
    import pandas

__all__ = ["export"]


def export(
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    format: Literal["csv", "parquet", "jsonl", "audiofolder", "nemo", "m3u", "page"] = "csv",
    audio: Audio = "none",
    beside: Annotated[bool, Parameter(negative="")] = False,
    private: Annotated[bool, Parameter(negative="")] = False,
    where: str | None = None,
    force: Annotated[bool, Parameter(negative="")] = False,
    formula_guard: bool = True,
    common: Common = Common(),
) -> None:
    """Write the manifest, and the songs if wanted, into a folder.

    Parameters
    ----------
    output
        The folder; nothing in it is overwritten.
    format
        csv, parquet or jsonl with every column; audiofolder for Hugging Face datasets; nemo for NVIDIA NeMo; m3u for
        players; page for somebody who shall hear and rate the songs, without Songflow (see `import`).
    audio
        none leaves the songs where they are, copy copies them to audio/, link links them there. A page always has
        copies, without the tags that tell where a song was made.
    beside
        With --audio: put each song's cover and lyrics (.txt, .lrc) beside it.
    private
        In an audiofolder, keep the columns that name the account, files of this machine, people and their notes. On a
        page, show the ratings, decisions and notes that stand.
    where
        Only rows that match this condition, such as: decision == 'keep' (see `songs`).
    force
        Overwrite the files of an earlier export; the library's own songs are never overwritten.
    formula_guard
        In CSV, an apostrophe before texts that a spreadsheet would run (=, +, -, @).
    """
    speaker = Output(as_json=common.json, quiet=common.quiet)
    if format == "page" and (audio == "link" or beside):
        raise InputError(
            "A page has copies of its songs, with covers and lyrics.", next="leave out --audio and --beside."
        )
    frame, waveforms = asyncio.run(_read(common.existing_library(), with_waveforms=format == "page"))
    if format == "page" or audio != "none":
        refuse_own_folder(frame, output / AUDIO_FOLDER)  # also if the condition leaves out the songs there
    if where:
        frame = filter_manifest(frame, where)
    if format == "page":
        written = export_page(frame, output, waveforms=waveforms, judged=private, force=force)
    else:
        written = write(
            frame,
            output,
            format,
            audio=audio,
            beside=beside,
            private=private,
            force=force,
            formula_guard=formula_guard,
        )
    if speaker.as_json:
        speaker.object({"table": str(written.table.resolve()), "rows": written.rows, "files": written.files})
    else:
        speaker.line(f"{written.table}: {written.rows} rows, {written.files} songs beside it.")


async def _read(
    settings: LibrarySettings, *, with_waveforms: bool
) -> tuple[pandas.DataFrame, dict[str, str]]:
    async with Library(settings, reads_only=True) as library:
        waveforms = await waveforms_of(library.ledger) if with_waveforms else {}
        return await read_manifest(library.ledger), waveforms
