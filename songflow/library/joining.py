"""Join an extension's new part with the song that it extends, for families whose extensions are only the new part.

The source is cut where it was continued, and the new part follows with a short crossfade. The source is the whole song
if it was joined itself: a position in a clip is then a position in the song that holds the clip at its end. The result
is decoded again, and must contain what was left of its source. Both files are kept; the song's row names the whole one.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from songflow.audio.alignment import HOLDS, search
from songflow.audio.decoding import AudioProblem, downmix, read_mono, read_samples
from songflow.audio.splicing import join, read_like, write_mp3
from songflow.families.family import Mode, Request
from songflow.families.registry import returns_new_part
from songflow.ledger.rows import Song, SourceFound
from songflow.ledger.songs import Origin
from songflow.library.library import Library
from songflow.library.source_check import NOT_KEPT, in_compare_thread, source_of, without_errors

if TYPE_CHECKING:
    from songflow.audio.decoding import Samples

__all__ = [
    "JoinedPart",
    "Seam",
    "check_whole",
    "cut_at",
    "is_new_part",
    "join_part",
    "not_joined",
    "only_new_part",
    "seam_in",
]

log = logging.getLogger(__name__)

_CROSSFADE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class JoinedPart:
    """The whole song as a draft file (None: it could not be made), and what it contains of its source."""

    draft: Path | None
    found: SourceFound


@dataclass(frozen=True, slots=True)
class Seam:
    """Where a source was continued.

    Attributes:
        start: In seconds of the source's own file; None: at its end.
        clip_seconds: The length of the source's own file, if it was joined into a whole one, whose end it is.
    """

    start: float | None
    clip_seconds: float | None = None

    def sample(self, length: int, rate: int) -> int:
        """The same in samples of the source's file of this length, or of the whole one."""
        if self.start is None:
            return length
        before = 0 if self.clip_seconds is None else length - round(self.clip_seconds * rate)
        return min(length, max(0, before) + round(self.start * rate))


def is_new_part(request: Request) -> bool:
    """True for an extension that returns only the new part."""
    return request.mode is not Mode.REGULAR and returns_new_part(request.model_type)


def seam_in(request: Request, source: Song | None) -> Seam:
    """Where a request continues its source, in the source's file or in the whole one that the source is part of."""
    joined = source is not None and source.whole_path is not None
    start = request.start if is_new_part(request) else None
    return Seam(start, source.seconds if source is not None and joined else None)


def only_new_part() -> SourceFound:
    """What is known of an extension that is not to be joined."""
    return SourceFound(note="only the new part (`songflow stitch` joins it with its source)")


def not_joined(reason: str) -> SourceFound:
    """What is known of an extension that was to be joined and is not, for this reason."""
    return SourceFound(note=f"only the new part, not joined with its source: {reason}")


def cut_at(samples: Samples, rate: int, seam: Seam, crossfade: float) -> Samples:
    """A source up to where it was continued, and the crossfade (s) behind it, so that the beat goes on."""
    return samples[: seam.sample(len(samples), rate) + round(crossfade * rate)]


async def join_part(library: Library, origin: Origin, part: Path, draft: Path) -> JoinedPart:
    """Join an extension's file with its source into a draft. Never raises.

    The new part is paid for and is stored in any case; a note tells why there is no whole song.
    """
    try:
        source = await source_of(library, origin.song)
        if source is None or source.path is None:
            raise AudioProblem("this library does not have it")
        if source.whole_path is None and await _is_new_part(library, source):
            raise AudioProblem("it is only a new part itself, and not joined with its own source")
        async with AsyncExitStack() as files:
            path = await files.enter_async_context(library.store.open_local(source.whole_path or source.path))
            found = await in_compare_thread(_join, origin, source, path, part, draft)
    except (AudioProblem, OSError) as problem:
        return await _left(origin, draft, getattr(problem, "strerror", None) or str(problem))
    except Exception as error:  # a paid song is stored even if joining has a bug
        log.debug("Joining '%s' failed.", origin.song.title, exc_info=True)
        return await _left(origin, draft, type(error).__name__)
    return JoinedPart(draft, found)


async def check_whole(library: Library, part: Song, whole: Path) -> SourceFound:
    """How the whole song that the gateway made of a new part contains what was left of its source. Never raises.

    Args:
        part: The new part's row.
        whole: The file of the whole song.
    """
    return await without_errors(part, _compare_whole(library, part, whole))


async def _compare_whole(library: Library, part: Song, whole: Path) -> SourceFound:
    source = await source_of(library, part)
    if source is None or source.path is None:
        return SourceFound(note=NOT_KEPT)
    request = (await library.ledger.songs.origin(part.id)).generation.request
    seam = seam_in(request, source)
    async with library.store.open_local(source.whole_path or source.path) as file:
        return await in_compare_thread(_measure, seam, file, whole)


def _measure(seam: Seam, source_file: Path, whole: Path) -> SourceFound:
    old, rate = read_samples(source_file)
    written, its_rate = read_mono(whole)
    kept = read_like(source_file, its_rate, 1) if rate != its_rate else old
    match = search(downmix(cut_at(kept, its_rate, seam, 0.0)), written, its_rate)
    found = SourceFound(
        source_score=round(match.share, 4),
        source_at=round(match.at, 4),
        added_seconds=round(len(written) / its_rate - len(old) / rate, 4),
    )
    if match.share >= HOLDS:
        return found
    return replace(
        found,
        source_at=None,
        note=f"the whole song contains only {match.share:.0%} of its source (`songflow stitch` joins it anew)",
    )


async def _left(origin: Origin, draft: Path, reason: str) -> JoinedPart:
    with suppress(OSError):
        await asyncio.to_thread(draft.unlink, missing_ok=True)
    found = not_joined(reason)
    log.warning("'%s': %s.", origin.song.title, found.note)
    return JoinedPart(None, found)


async def _is_new_part(library: Library, song: Song) -> bool:
    return is_new_part((await library.ledger.songs.origin(song.id)).generation.request)


def _join(origin: Origin, source: Song, source_file: Path, part: Path, draft: Path) -> SourceFound:
    """Write the whole song, and measure what it contains of its source.

    Raises:
        AudioProblem, OSError: a file cannot be read or written, or the result does not contain its source.
    """
    old, rate = read_samples(source_file)
    seam = seam_in(origin.generation.request, source)
    kept = cut_at(old, rate, seam, _CROSSFADE_SECONDS)
    if not len(kept):
        raise AudioProblem("it holds no sound")
    new = read_like(part, rate, old.shape[1])
    whole = join(kept, new, rate, new_first=False, crossfade=_CROSSFADE_SECONDS)
    title = origin.song.title or origin.song.song_id
    write_mp3(
        draft,
        whole.samples,
        rate,
        title=f"{title} (joined)",
        comment=f"Joined by songflow from {source.song_id} and {origin.song.song_id}; no gateway made this file.",
    )
    written, its_rate = read_mono(draft)
    match = search(downmix(kept), written, its_rate)
    if match.share < HOLDS:
        raise AudioProblem(f"the joined file contains only {match.share:.0%} of it")
    return SourceFound(
        source_score=round(match.share, 4),
        source_at=round(match.at, 4),
        added_seconds=round((len(whole.samples) - len(old)) / rate, 4),
    )
