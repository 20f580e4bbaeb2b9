"""Two recordings become one: laid over each other where they hold the same music, with a crossfade at the seam."""

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

# So much of the source's edge is looked for in the new part: a gateway may give back what its model heard last, too.
_EDGES_SECONDS = (5.0, 2.0)
_COMPRESSION = 0.2  # libsndfile's level: about 200 kbit/s


@dataclass(frozen=True, slots=True)
class Joined:
    """Samples (n, channels) of a whole.

    `seam` is where the middle of the crossfade lies, `overlap` how much music both parts held (seconds).
    """

    samples: Samples
    seam: float
    overlap: float


def join(source: Samples, new: Samples, rate: int, *, new_first: bool, crossfade: float) -> Joined:
    """Join a source and its new part (samples (n, channels) of one width, at `rate` Hz).

    The source sounds to its very edge; there it passes into the new part. Where that repeats the source's edge, the
    repetition is left out and the fade is even, as for the same music; otherwise the two overlap for the
    crossfade and keep their power. Outside of the crossfade every sample is one of theirs.

    Args:
        new_first: The new part stands before the source (precede).
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
    """How many samples of the new part, from the seam on, are the source's own edge."""
    one, other = source.mean(axis=1), new.mean(axis=1)
    for seconds in _EDGES_SECONDS:
        length = min(round(seconds * rate), len(one), len(other))
        edge = one[:length] if new_first else one[-length:]
        found = _place_of(edge, other, rate)
        if found is None:
            continue
        shared = len(other) - found if new_first else found + length
        if not 0 < shared <= min(len(one), len(other)):
            continue
        # A loop may sound like the edge anywhere: only where all from there to the seam is the source's it counts.
        mine = one[:shared] if new_first else one[-shared:]
        theirs = other[-shared:] if new_first else other[:shared]
        if _place_of(mine, theirs, rate) is not None:
            return shared
    return 0


def _place_of(part: Samples, whole: Samples, rate: int) -> int | None:
    """The sample at which a part lies wholly inside; None where it does not."""
    try:
        match = search(part, whole, rate)
    except AudioProblem:  # silence is everywhere
        return None
    at = round(match.at * rate)
    return at if match.share >= HOLDS and -rate // 100 <= at <= len(whole) - len(part) + rate // 100 else None


def read_like(path: Path, rate: int, channels: int) -> Samples:
    """A file's samples, at the rate and in as many channels as another's.

    Raises:
        AudioProblem: see `read_samples`.
    """
    import numpy as np

    samples, its_rate = read_samples(path)
    if its_rate != rate:
        from scipy.signal import resample_poly

        common = math.gcd(rate, its_rate)
        samples = resample_poly(samples, rate // common, its_rate // common, axis=0).astype(np.float32)
    if samples.shape[1] != channels:
        samples = np.repeat(samples.mean(axis=1, keepdims=True), channels, axis=1)
    return samples


def write_mp3(path: Path, samples: Samples, rate: int, *, title: str, comment: str) -> None:
    """Encode as mp3, with what players show.

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
