"""`songflow export`: the manifest and its songs in formats that other tools read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from cli.options import Common
from cli.output import Output
from cli.report import manifest_of
from songflow.catalog.export import Audio
from songflow.catalog.export import export as write
from songflow.catalog.manifest import filter_manifest

__all__ = ["export"]


def export(
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    format: Literal["csv", "parquet", "jsonl", "audiofolder", "nemo"] = "csv",
    audio: Audio = "none",
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
        csv, parquet or jsonl with every column; audiofolder for Hugging Face datasets; nemo for NVIDIA NeMo.
    audio
        none leaves the songs where they are, copy copies them to audio/, link links them there.
    where
        Only rows that match this condition, such as: rating >= 4 (see `songs`).
    force
        Overwrite the files of an earlier export.
    formula_guard
        In CSV, an apostrophe before texts that a spreadsheet would run (=, +, -, @).
    """
    speaker = Output(as_json=common.json, quiet=common.quiet)
    frame = asyncio.run(manifest_of(common.existing_library()))
    if where:
        frame = filter_manifest(frame, where)
    written = write(frame, output, format, audio=audio, force=force, formula_guard=formula_guard)
    if speaker.as_json:
        speaker.object({"table": str(written.table.resolve()), "rows": written.rows, "files": written.files})
    else:
        speaker.line(f"{written.table}: {written.rows} rows, {written.files} songs beside it.")
