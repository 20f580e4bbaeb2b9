"""`songflow stitch`: join an extension that contains only its new part with its source."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cli.options import Common
from cli.output import Output
from songflow.library.library import Library
from songflow.library.stitching import Stitched
from songflow.library.stitching import stitch as stitched
from songflow.settings import LibrarySettings

__all__ = ["stitch"]


def stitch(
    song_id: str,
    /,
    *,
    source: Path | None = None,
    crossfade: float = 0.5,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    common: Common = Common(),
) -> None:
    """Join an extension that contains only its new part with the song that it extends, into a local file.

    Parameters
    ----------
    song_id
        The extension, by the gateway's id or its beginning.
    source
        The file to join it with (default: the song that it extends).
    crossfade
        Seconds of crossfade between the two, 0..10.
    output
        Where to write the mp3 (default: `stitched/` in the library's folder).
    """
    speaker = Output(as_json=common.json, quiet=common.quiet)
    made = asyncio.run(_stitch(common.existing_library(), song_id, source, crossfade, output))
    if speaker.as_json:
        speaker.object(made.as_dict())
        return
    speaker.line(f"+ {made.seconds:.1f} s, seam at {made.seam:.1f} s  {made.path}")
    if made.overlap:
        speaker.say(f"The new part repeated {made.overlap:.1f} s of its source; they are included once.")


async def _stitch(
    settings: LibrarySettings, song_id: str, source: Path | None, crossfade: float, target: Path | None
) -> Stitched:
    async with Library(settings, reads_only=True) as library:
        return await stitched(library, song_id, source=source, crossfade=crossfade, target=target)
