"""Join two recordings: overlap the music that both contain, and crossfade at the seam."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from songflow.audio.alignment import HOLDS, search
from songflow.audio.decoding import AudioProblem, read_samples

if TYPE_CHECKING:
    from songflow.audio.decoding import Samples

__all__ = ["Joined", "join", "read_like", "write_mp3"]

# Lengths of the source's edge to search for in the new part: a gateway may also return the audio its model continued.
_EDGES_SECONDS = (5.0, 2.0)
_COMPRESSION = 0.2  # libsndfile's level: about 200 kbit/s


@dataclass(frozen=True, slots=True)
class Joined:
    """Joined samples of shape (n, channels).

    `seam` is the middle of the crossfade, `overlap` the length of the music that both parts contained (seconds).
    """

    samples: Samples
    seam: float
    overlap: float


def join(source: Samples, new: Samples, rate: int, *, new_first: bool, crossfade: float) -> Joined:
    """Join a source and its new part (samples (n, channels) of one width, at `rate` Hz).

    The source is used up to its edge, where it crossfades into the new part. If the new part repeats the source's edge,
    the repetition is dropped and the crossfade is linear, as both are the same music; otherwise it keeps the power
    constant. Outside of the crossfade, samples are copied unchanged.

    Args:
        new_first: The new part comes before the source (precede).
        crossfade: Seconds; at most half of the shorter part.
    """
    import numpy as np

    fade = min(round(crossfade * rate), len(source) // 2, len(new) // 2)
    shared = _shared(source, new, rate, new_first=new_first)
    if shared:
        fade = min(fade, shared)
    over = max(shared, fade)
    if new_first:
        head, outgoing = new[: len(new) - over], new[len(new) - over :][:fade]
        incoming, tail = source[:fade], source[fade:]
    else:
        head, outgoing = source[: len(source) - fade], source[len(source) - fade :]
        incoming, tail = new[over - fade : over], new[over:]
    rising = np.linspace(0, 1, fade, dtype=np.float32)[:, None]
    falling = 1 - rising
    if not shared:
        rising, falling = np.sin(rising * math.pi / 2), np.cos(rising * math.pi / 2)
    whole = np.concatenate((head, outgoing * falling + incoming * rising, tail))
    return Joined(whole.astype(np.float32), (len(head) + fade / 2) / rate, shared / rate)


def _shared(source: Samples, new: Samples, rate: int, *, new_first: bool) -> int:
    """Number of samples at the new part's seam that repeat the source's edge."""
    one, other = source.mean(axis=1), new.mean(axis=1)
    for seconds in _EDGES_SECONDS:
        length = min(round(seconds * rate), len(one), len(other))
        edge = one[:length] if new_first else one[-length:]
        found = _offset_in(edge, other, rate)
        if found is None:
            continue
        shared = len(other) - found if new_first else found + length
        if not 0 < shared <= min(len(one), len(other)):
            continue
        # A loop may match the edge anywhere: a match counts only if everything from there to the seam matches, too.
        ours = one[:shared] if new_first else one[-shared:]
        theirs = other[-shared:] if new_first else other[:shared]
        if _offset_in(ours, theirs, rate) is not None:
            return shared
    return 0


def _offset_in(part: Samples, whole: Samples, rate: int) -> int | None:
    """Offset of a part that is completely inside; None if it is not."""
    try:
        match = search(part, whole, rate)
    except AudioProblem:  # silence has no position
        return None
    at = round(match.at * rate)
    return at if match.share >= HOLDS and -rate // 100 <= at <= len(whole) - len(part) + rate // 100 else None


def read_like(path: Path, rate: int, channels: int) -> Samples:
    """Read a file's samples, converted to another file's sample rate and number of channels.

    Raises:
        AudioProblem: as `read_samples`.
    """
    import numpy as np

    samples, own_rate = read_samples(path)
    if own_rate != rate:
        from scipy.signal import resample_poly

        common = math.gcd(rate, own_rate)
        samples = resample_poly(samples, rate // common, own_rate // common, axis=0).astype(np.float32)
    if samples.shape[1] != channels:
        samples = np.repeat(samples.mean(axis=1, keepdims=True), channels, axis=1)
    return samples


def write_mp3(path: Path, samples: Samples, rate: int, *, title: str, comment: str) -> None:
    """Encode as mp3, with a title and a comment.

    Raises:
        OSError: it cannot be written.
    """
    import soundfile

    try:
        with soundfile.SoundFile(
            str(path),
            "w",
            samplerate=rate,
            channels=samples.shape[1],
            format="MP3",
            subtype="MPEG_LAYER_III",
            compression_level=_COMPRESSION,
            bitrate_mode="VARIABLE",
        ) as file:
            file.title, file.comment = title, comment
            file.write(samples)
    except soundfile.LibsndfileError as error:
        raise OSError(f"{error}") from None
