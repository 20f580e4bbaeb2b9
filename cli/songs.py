"""`songflow songs`: the manifest."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from cli.options import Common
from cli.output import Output
from cli.spending import cost as cost_of
from cli.spending import show_cost
from cli.tree import check_picture, show_trees, write_picture
from songflow.catalog.lineage import families, trees
from songflow.catalog.manifest import empty_manifest, filter_manifest, read_manifest
from songflow.documents.csv_table import csv_bytes
from songflow.errors import InputError
from songflow.library.library import Library
from songflow.settings import LibrarySettings

if TYPE_CHECKING:
    import pandas

__all__ = ["songs"]

Format = Literal["table", "json", "csv", "parquet"]


def songs(
    *,
    format: Format = "table",
    where: str | None = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    cost: Annotated[bool, Parameter(negative="")] = False,
    tree: Annotated[bool, Parameter(negative="")] = False,
    picture: Path | None = None,
    wide: Annotated[bool, Parameter(negative="")] = False,
    formula_guard: bool = True,
    common: Common = Common(),
) -> None:
    """Show the manifest: a row per song, and one for each generation without songs.

    Parameters
    ----------
    format
        table for people; json, csv and parquet with every column.
    where
        Only rows for which this holds, such as: seconds > 30 and title == "Rain".
    output
        Write to a file instead of stdout.
    cost
        Show what the library has spent, reserved and may spend instead.
    tree
        Show each song under the one that it extends.
    picture
        Draw the songs with extensions into this PNG file (all songs if there are none).
    wide
        Every column of the table, and whole ids, whatever the terminal's width.
    formula_guard
        In CSV, an apostrophe before texts that a spreadsheet would run (=, +, -, @).
    """
    speaker = Output(as_json=common.json, quiet=common.quiet)
    if cost:
        if tree or picture is not None or where or output is not None or format not in {"table", "json"}:
            raise InputError(
                "--cost shows sums, not rows.",
                next="leave out --where, --output, --format, --tree and --picture, or --cost.",
            )
        found = asyncio.run(cost_of(common.library_settings()))
        if common.json or format == "json":
            speaker.object({"cost": found})
        else:
            show_cost(speaker, found)
        return
    if picture is not None:
        check_picture(picture)
    if (tree or picture is not None) and (output is not None or format != "table"):
        raise InputError(
            "--tree and --picture show songs, not columns.", next="leave out --output and --format."
        )
    settings = common.library_settings()
    if format == "parquet":
        written = _parquet(settings, where, output, to_stdout=not common.json)
        if not common.json:
            if output is not None:
                speaker.say(f"Wrote {written} rows to {output}.")
            return
    frame = asyncio.run(_read(settings, speaker))
    if where:
        frame = filter_manifest(frame, where)
    if tree or picture is not None:
        _show_lineage(speaker, frame, picture, wide)
        return
    if output is not None and format != "parquet":
        _write(_encoded(frame, "csv" if format == "table" else format, formula_guard), output)
    if common.json:
        speaker.object({"songs": _records(frame)})
    elif output is not None:
        speaker.say(f"Wrote {len(frame)} rows to {output}.")
    elif format == "table":
        speaker.manifest(frame, wide=wide)
    else:
        _write(_encoded(frame, format, formula_guard), None)


def _parquet(settings: LibrarySettings, where: str | None, output: Path | None, *, to_stdout: bool) -> int:
    """Write the rows as Parquet, to stdout if no file is named; returns their number."""
    if output is None and not to_stdout:
        return 0
    if output is None and sys.stdout.isatty():
        raise InputError("Parquet is not for a terminal.", next="add --output FILE or send it to a file.")
    with tempfile.TemporaryDirectory(prefix="songflow-") as folder:
        target = output or Path(folder) / "manifest.parquet"
        with _writing(target):
            rows = asyncio.run(_write_parquet(settings, where, target))
        if output is None:
            with target.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
    return rows


async def _write_parquet(settings: LibrarySettings, where: str | None, target: Path) -> int:
    from songflow.catalog.parquet import write_parquet  # it imports pyarrow, which is slow

    if not settings.exists():
        empty_manifest().to_parquet(target, index=False)
        return 0
    async with Library(settings, reads_only=True) as library:
        return await write_parquet(library.ledger, target, where=where)


def _show_lineage(output: Output, frame: pandas.DataFrame, picture: Path | None, wide: bool) -> None:
    roots = trees(frame)
    # A song without extensions has no line to draw.
    drawn_roots = families(roots) or roots
    if picture is not None:
        write_picture(picture, drawn_roots)
    if output.as_json:
        drawn = {"picture": str(picture.absolute())} if picture is not None else {}
        output.object({"trees": [root.as_dict() for root in roots], **drawn})
        return
    show_trees(output, roots, wide=wide)
    if picture is not None:
        drawn_songs = sum(1 for root in drawn_roots for _ in root.walk())
        output.say(f"Drew {drawn_songs} songs into {picture}.")


async def _read(settings: LibrarySettings, output: Output) -> pandas.DataFrame:
    """The manifest; looking at a library that is not there does not make one."""
    if not settings.exists():
        output.say(
            f"There is no library at {settings.folder} yet; `songflow demo` makes one with simulated songs."
        )
        return empty_manifest()
    async with Library(settings, reads_only=True) as library:
        return await read_manifest(library.ledger)


def _write(data: bytes, target: Path | None) -> None:
    if target is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    with _writing(target):
        target.write_bytes(data)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{target} cannot be written: {error.strerror or error}.", next="choose another --output."
        ) from None


def _encoded(frame: pandas.DataFrame, format: Format, formula_guard: bool) -> bytes:
    if format == "json":
        return (json.dumps(_records(frame), ensure_ascii=False) + "\n").encode()
    return csv_bytes(frame, guard=formula_guard)


def _records(frame: pandas.DataFrame) -> list[dict[str, object]]:
    text = frame.to_json(orient="records", date_format="iso", date_unit="us", double_precision=15)
    records: list[dict[str, object]] = json.loads(text or "[]")
    return records
