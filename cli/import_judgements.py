"""`songflow import`: take in what others said of songs on an exported page."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cli.options import Common
from cli.output import Output
from songflow.catalog.judgement_file import JudgementFile, read_judgement_file
from songflow.catalog.judgement_import import TakenIn, take_in
from songflow.errors import InputError
from songflow.library.library import Library
from songflow.library.trash import restore_undiscarded
from songflow.settings import LibrarySettings

__all__ = ["import_judgements"]

_NAMED = 10
_AT_ONCE = 1_000


def import_judgements(*files: Path, common: Common = Common()) -> None:
    """Take in ratings, decisions and notes that were saved from an exported page.

    A file that was taken in before changes nothing. Of two judgements of one kind, the newer one stands.

    Parameters
    ----------
    files
        The files that the page saved.
    """
    if not files:
        raise InputError("The files are missing.", next="write `songflow import judgements.json`.")
    settings = common.existing_library()
    read = [read_judgement_file(file) for file in files]
    taken = asyncio.run(_take_in(settings, read))
    recorded, known = (sum(getattr(one, name) for one in taken) for name in ("recorded", "known"))
    unknown: dict[str, int] = {}
    for one in taken:
        for name, number in one.unknown.items():
            unknown[name] = unknown.get(name, 0) + number
    output = Output(as_json=common.json, quiet=common.quiet)
    if output.as_json:
        output.object({"recorded": recorded, "known": known, "unknown": unknown})
        return
    output.line(f"{recorded} judgements taken in, {known} known before.")
    if unknown:
        more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
        named = ", ".join(list(unknown)[:_NAMED])
        output.line(f"{sum(unknown.values())} are of songs that this library does not have: {named}{more}.")


async def _take_in(settings: LibrarySettings, files: list[JudgementFile]) -> list[TakenIn]:
    async with Library(settings) as library:
        taken = [await take_in(library.ledger, file) for file in files]
        decided = sorted(frozenset().union(*(one.decided for one in taken)))
        for start in range(0, len(decided), _AT_ONCE):
            songs = await library.ledger.songs.of_rows(decided[start : start + _AT_ONCE])
            await restore_undiscarded(library, songs)
        return taken
