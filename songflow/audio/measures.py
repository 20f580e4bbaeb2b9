"""Measure a stored song in one pass: loudness, peaks, silence, clipping, waveform, tempo and spectral centroid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from songflow.audio.decoding import AudioProblem, AudioReader, downmix
from songflow.audio.features import estimate_tempo, magnitudes, spectral_centroid
from songflow.audio.loudness import Loudness, LoudnessMeter
from songflow.runtime.remote_files import open_file

if TYPE_CHECKING:
    from songflow.audio.decoding import Samples

__all__ = ["MEASURES_VERSION", "Measures", "measure_song"]

MEASURES_VERSION = 1
"""Increased when a measure's computation changes: songs with an earlier one are measured again."""

# The tempo is the same in the whole song, so one minute of it is enough.
_LONGEST_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Measures(Loudness):
    """What a song sounds like.

    Attributes:
        tempo: Beats per minute, 45..200; None if the song has no pulse or is shorter than 4 s. It may be half or
            twice the tempo that a person would tap.
        centroid_hz: Spectral centroid over time, weighted by loudness: how bright the song sounds.
    """

    tempo: float | None
    centroid_hz: float | None


def measure_song(path: str) -> Measures:
    """Measure a stored song, by its path or fsspec URL (about 0.7 s of CPU for 130 s of music).

    Raises:
        OSError, AudioProblem: it cannot be read or decoded, or has no samples.
    """
    import numpy as np

    with open_file(path) as file, AudioReader(file) as audio:
        meter = LoudnessMeter(audio.rate, audio.channels)
        beginning: list[Samples] = []
        frames = 0
        for block in audio.blocks():
            meter.add(block)
            if frames < _LONGEST_SECONDS * audio.rate:
                beginning.append(downmix(block))
            frames += len(block)
    if not frames:
        raise AudioProblem("it holds no sound")
    spectrum = magnitudes(np.concatenate(beginning)[: _LONGEST_SECONDS * audio.rate])
    loudness = meter.result()
    return Measures(
        **{name: getattr(loudness, name) for name in Loudness.__slots__},
        tempo=estimate_tempo(spectrum, audio.rate),
        centroid_hz=spectral_centroid(spectrum, audio.rate),
    )
