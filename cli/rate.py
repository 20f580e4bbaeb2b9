"""`songflow rate`: rate a song, for reports and searches."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cli.options import Common
from cli.output import Output
from songflow.catalog.ratings import rate_song
from songflow.errors import InputError
from songflow.ledger.rows import Song
from songflow.library.library import Library
from songflow.settings import LibrarySettings

__all__ = ["rate"]


def rate(
    song: str,
    rating: float | None = None,
    /,
    *,
    clear: Annotated[bool, Parameter(negative="")] = False,
    common: Common = Common(),
) -> None:
    """Rate a song from 0 (bad) to 5 (best); a new rating replaces the old one.

    Parameters
    ----------
    song
        The song's id or its beginning, or its file.
    rating
        A number from 0 to 5.
    clear
        Remove the rating.
    """
    if (rating is None) != clear:
        raise InputError(
            "A rating and --clear were both given." if clear else "The rating is missing.",
            next="write `songflow rate SONG 4`, or `songflow rate SONG --clear`.",
        )
    output = Output(as_json=common.json, quiet=common.quiet)
    rated = asyncio.run(_rate(common.existing_library(), song, rating))
    if output.as_json:
        output.object(
            {
                "song_id": rated.song_id,
                "title": rated.title,
                "path": rated.path,
                "rating": rated.rating,
                "rated_at": rated.rated_at and rated.rated_at.isoformat(),
            }
        )
    else:
        opinion = "no rating" if rated.rating is None else f"{rated.rating:g} of 5"
        output.line(f"{rated.title or rated.song_id}: {opinion}")


async def _rate(settings: LibrarySettings, song: str, rating: float | None) -> Song:
    async with Library(settings) as library:
        return await rate_song(library.ledger, song, rating, folder=Path.cwd())
