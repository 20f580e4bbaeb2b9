"""Join an extension that contains only its new part with its source.

The new mp3 is written to `stitched/` in the library's folder (or to a given path), and its tags name its two parts. It
is not a song of the ledger: no gateway made it and nobody paid for it. The extension's row gets a note that names the
file. The two source files are only read.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from songflow.audio.alignment import HOLDS
from songflow.audio.decoding import AudioProblem, read_samples
from songflow.audio.splicing import join, read_like, write_mp3
from songflow.errors import InputError
from songflow.families.family import Mode
from songflow.ledger.references import full_song_id
from songflow.ledger.rows import Song
from songflow.ledger.states import SongState
from songflow.library.audio_store import move_into_place, prepare_folder
from songflow.library.file_names import file_name
from songflow.library.joining import Seam, cut_at, seam_in
from songflow.library.library import Library
from songflow.library.source_check import compare_songs, contains_source, source_of

__all__ = ["FOLDER", "LONGEST_CROSSFADE", "Stitched", "stitch"]

FOLDER = "stitched"
LONGEST_CROSSFADE = 10.0


@dataclass(frozen=True, slots=True)
class Stitched:
    """A joined file: `source` is the song or file that `song_id` was joined with; times in seconds."""

    song_id: str
    source: str
    path: str
    seconds: float
    seam: float
    overlap: float
    crossfade: float

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


async def stitch(
    library: Library,
    song_id: str,
    *,
    source: Path | None = None,
    crossfade: float = 0.5,
    target: Path | None = None,
) -> Stitched:
    """Join an extension's new part with the song that it extends.

    Args:
        song_id: The extension, stored in this library; the beginning of its id is enough.
        source: The file to join it with (None: the stored song that it extends).
        crossfade: Length of the crossfade in seconds.
        target: Where to write the mp3 (None: a generated name in `stitched/` of the library's folder).

    Raises:
        InputError: there is nothing to join, or a file cannot be read or written. Nothing was changed.
    """
    _check(crossfade, target)
    song_id = await full_song_id(library.ledger, song_id)
    song = await _extension(library, song_id)
    parent = None if source is not None else await _parent(library, song)
    request = (await library.ledger.songs.origin(song.id)).generation.request
    seam = seam_in(request, parent)
    async with AsyncExitStack() as files:
        try:
            new = await files.enter_async_context(library.store.open_local(song.path or ""))
            if parent is not None:
                source = await files.enter_async_context(
                    library.store.open_local(parent.whole_path or parent.path or "")
                )
            assert source is not None, "one of the two is given"
            named = str(parent.song_id) if parent is not None else str(source)
            made = await asyncio.to_thread(
                _make, library.settings.folder, song, new, source, named, seam, crossfade, target
            )
        except (AudioProblem, OSError) as problem:
            reason = getattr(problem, "strerror", None) or problem
            raise InputError(
                f"The song {song_id} cannot be joined: {reason}.",
                next="check that both files exist and that the target can be written.",
            ) from None
    await library.ledger.songs.add_note(song, f"joined with {made.source} by songflow stitch: {made.path}")
    return made


def _check(crossfade: float, target: Path | None) -> None:
    if not 0 <= crossfade <= LONGEST_CROSSFADE:
        raise InputError(
            f"The crossfade is {crossfade:g} s: allowed are 0 to {LONGEST_CROSSFADE:g} s.", next="correct it."
        )
    if target is not None and target.suffix.lower() != ".mp3":
        raise InputError(f"The output is an mp3, but its name is {target.name!r}.", next="name it FILE.mp3.")
    if target is not None and target.exists():
        raise InputError(f"{target} exists already.", next="choose another name: nothing is overwritten.")


async def _extension(library: Library, song_id: str) -> Song:
    found = [
        song for song in await library.ledger.songs.by_song_id(song_id) if song.state is SongState.STORED
    ]
    if len(found) != 1:
        problem = "No stored song" if not found else "More than one stored song"
        raise InputError(
            f"{problem} of this library has the id {song_id!r}.", next="see the ids with `songflow songs`."
        )
    if found[0].mode == Mode.REGULAR:
        raise InputError(
            f"The song {song_id} is not an extension.", next="name an extension: `songflow songs --tree`."
        )
    return found[0]


async def _parent(library: Library, song: Song) -> Song:
    parent = await source_of(library, song)
    if parent is None:
        raise InputError(
            f"This library does not have the song {song.parent_song_id} that {song.song_id} extends.",
            next="name its file with --source.",
        )
    if song.whole_path is not None and contains_source(song) is not False:
        raise InputError(
            f"The song {song.song_id} is joined with its source already: {song.whole_path}.",
            next="use that file.",
        )
    score = None if song.whole_path is not None else song.source_score  # else it is the whole file's
    if score is None:
        score = (await compare_songs(library, parent, song)).source_score
    if score is not None and score >= HOLDS:
        raise InputError(
            f"The song {song.song_id} contains its source already ({score:.0%} of it): there is nothing to join.",
            next="use it as it is.",
        )
    return parent


def _make(
    folder: Path,
    song: Song,
    new: Path,
    source: Path,
    named: str,
    seam: Seam,
    crossfade: float,
    target: Path | None,
) -> Stitched:
    old, rate = read_samples(source)
    whole = join(
        cut_at(old, rate, seam, crossfade),
        read_like(new, rate, old.shape[1]),
        rate,
        new_first=song.mode == Mode.PRECEDE,
        crossfade=crossfade,
    )
    target = (target or folder / FOLDER / _name(song, named, crossfade)).absolute()
    prepare_folder(target.parent)
    draft = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        write_mp3(
            draft,
            whole.samples,
            rate,
            title=f"{song.title or song.song_id} (stitched)",
            comment=f"Joined by songflow stitch from {named} and {song.song_id}; no gateway made this file.",
        )
        move_into_place(draft, target)
    finally:
        draft.unlink(missing_ok=True)
    return Stitched(
        song_id=song.song_id or "",
        source=named,
        path=str(target),
        seconds=len(whole.samples) / rate,
        seam=whole.seam,
        overlap=whole.overlap,
        crossfade=crossfade,
    )


def _name(song: Song, source: str, crossfade: float) -> str:
    """A file name made from the two songs and the crossfade: joining them again makes no second file."""
    identity = f"{song.submission_id}/{song.take}/{source}/{crossfade:g}"
    uid = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return file_name("{title}-{uid}.mp3", title=song.title, song_id=song.song_id, uid=uid)
