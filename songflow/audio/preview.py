"""Short previews of songs for pages: some seconds as a small mono mp3, and the waveform of the whole song."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from songflow.audio.decoding import LONGEST_SECONDS, AudioProblem, AudioReader, downmix

if TYPE_CHECKING:
    from songflow.audio.decoding import Samples

__all__ = ["BITS_PER_SECOND", "PEAKS", "Preview", "make_preview"]

BITS_PER_SECOND = 32_000
"""Bit rate of a preview, at sample rates from 16 to 24 kHz: 4,000 bytes a second, audible up to 8 kHz."""

PEAKS = 150
"""Values of a waveform."""

# libsndfile's compression level for that bit rate, constant so that the size follows from the length.
_COMPRESSION = 0.84
_LEAST_RATE = 16_000
_TAPS_PER_FACTOR = 24
_FINE = 1024


@dataclass(frozen=True, slots=True)
class Preview:
    """A part of a song to play, and the waveform of all of it.

    Attributes:
        mp3: The part as a mono mp3.
        start: Where the part begins in the song (seconds).
        seconds: Length of the part.
        song_seconds: Length of the song.
        peaks: The largest absolute sample of each of `PEAKS` equal parts of the song, 0..1; fewer for a song of less
            than a few seconds.
    """

    mp3: bytes
    start: float
    seconds: float
    song_seconds: float
    peaks: tuple[float, ...]


def make_preview(file: IO[bytes], *, seconds: float, start: float = 0.0) -> Preview:
    """Decode a song and encode a part of it (about 0.5 s of CPU for 130 s of music).

    Args:
        file: The song, in any format that can be decoded.
        seconds: Length of the part; all of a shorter song.
        start: Where the part begins (seconds); earlier if the song ends before `seconds` are over.

    Raises:
        AudioProblem: it cannot be decoded or encoded, has no samples, or is longer than `LONGEST_SECONDS`.
        OSError: it cannot be read.
    """
    import numpy as np

    with AudioReader(file) as audio:
        rate = audio.rate
        known = audio.frames.seconds if audio.frames is not None else audio.claimed_frames / rate
        first = round(max(0.0, min(start, known - seconds)) * rate)
        last = first + round(seconds * rate)
        part: list[Samples] = []
        fine: list[Samples] = []
        frames = 0
        for block in audio.blocks():
            mono = downmix(block)
            part.append(mono[max(0, first - frames) : max(0, last - frames)])
            fine.append(np.maximum.reduceat(np.abs(mono), np.arange(0, len(mono), _FINE)))
            frames += len(mono)
            if frames > LONGEST_SECONDS * rate:
                raise AudioProblem(f"it is longer than {LONGEST_SECONDS / 60:.0f} minutes")
    sound = np.concatenate(part) if part else np.zeros(0, dtype=np.float32)
    if not len(sound):
        raise AudioProblem("it holds no sound")
    fine_peaks = np.concatenate(fine)
    peaks = [float(some.max()) for some in np.array_split(fine_peaks, min(PEAKS, len(fine_peaks)))]
    return Preview(
        mp3=_encoded(*_decimated(sound, rate)),
        start=first / rate,
        seconds=len(sound) / rate,
        song_seconds=frames / rate,
        peaks=tuple(round(min(1.0, peak), 3) for peak in peaks),
    )


def _decimated(sound: Samples, rate: int) -> tuple[Samples, int]:
    """Lower the sample rate by the largest whole factor that leaves at least 16 kHz, behind a low-pass filter."""
    import numpy as np

    factor = rate // _LEAST_RATE
    while factor > 1 and rate % factor:
        factor -= 1
    if factor <= 1:
        return sound, rate
    taps = _TAPS_PER_FACTOR * factor + 1
    place = np.arange(taps) - taps // 2
    low_pass = np.sinc(0.9 * place / factor) * np.hamming(taps)
    smooth = np.convolve(sound, (low_pass / low_pass.sum()).astype(np.float32), mode="same")
    return smooth[::factor].astype(np.float32), rate // factor


def _encoded(sound: Samples, rate: int) -> bytes:
    import soundfile

    data = io.BytesIO()
    try:
        with soundfile.SoundFile(
            data,
            "w",
            samplerate=rate,
            channels=1,
            format="MP3",
            subtype="MPEG_LAYER_III",
            compression_level=_COMPRESSION,
            bitrate_mode="CONSTANT",
        ) as file:
            file.write(sound)
    except (RuntimeError, ValueError) as error:
        raise AudioProblem(f"its sound cannot be encoded at {rate} Hz ({error})") from None
    return data.getvalue()
