"""`songflow finish`: copies of songs that are trimmed, faded and evenly loud."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from cli.options import Common
from cli.output import Output
from songflow.audio.finishing import FinishSettings
from songflow.catalog.judging import find_songs
from songflow.errors import InputError
from songflow.ledger.finished import FinishedCopy
from songflow.ledger.rows import Song
from songflow.library.finishing import finish_settings, finish_song
from songflow.library.library import Library
from songflow.settings import LibrarySettings

__all__ = ["finish"]


def finish(
    *songs: str,
    format: Literal["mp3", "flac", "wav"] = "mp3",
    loudness: float | None = -14.0,
    keep_loudness: Annotated[bool, Parameter(negative="")] = False,
    true_peak: float = -1.0,
    trim: bool = True,
    start: float | None = None,
    end: float | None = None,
    fade_in: float = 0.0,
    fade_out: float = 0.0,
    common: Common = Common(),
) -> None:
    """Make a copy that is trimmed, faded and brought to a loudness; the song itself is not changed.

    Parameters
    ----------
    songs
        The songs' ids or their beginnings, or their files.
    format
        mp3 (variable bitrate, the best quality), flac or wav (24 bits).
    loudness
        Integrated loudness in LUFS.
    keep_loudness
        Leave the loudness as it is.
    true_peak
        The highest true peak in dBTP.
    trim
        Remove the silence at both ends.
    start
        Begin at this second of the song instead.
    end
        End at this second of the song instead.
    fade_in
        Seconds of fade at the beginning.
    fade_out
        Seconds of fade at the end.
    """
    if not songs:
        raise InputError("The songs are missing.", next="write `songflow finish SONG`.")
    settings = finish_settings(
        {
            "format": format,
            "loudness": None if keep_loudness else loudness,
            "true_peak": true_peak,
            "trim": trim,
            "start": start,
            "end": end,
            "fade_in": fade_in,
            "fade_out": fade_out,
        }
    )
    speaker = Output(as_json=common.json, quiet=common.quiet)
    made = asyncio.run(_finish(common.existing_library(), songs, settings))
    if speaker.as_json:
        speaker.object({"finished": [_facts(song, copy) for song, copy in made]})
        return
    for _, copy in made:
        speaker.line(f"+ {copy.seconds:.1f} s  {copy.path}")


async def _finish(
    settings: LibrarySettings, references: tuple[str, ...], how: FinishSettings
) -> list[tuple[Song, FinishedCopy]]:
    async with Library(settings) as library:
        found = [(await find_songs(library.ledger, one, folder=Path.cwd()))[0] for one in references]
        return [(song, await finish_song(library, song, how)) for song in found]


def _facts(song: Song, copy: FinishedCopy) -> dict[str, Any]:
    return {
        "song_id": song.song_id,
        "path": copy.path,
        "seconds": copy.seconds,
        "bytes": copy.bytes,
        "sha256": copy.sha256,
    }
