"""Encode and decode mp3, and splice extensions. Samples are float32, shape (n, 2), 44.1 kHz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf

from songflow.simulator.settings import SAMPLE_RATE
from songflow.simulator.synth.types import Audio

_SEAM_SECONDS = 0.01
# libsndfile's compression level by generation_quality: about 120 to 250 kbit/s.
_COMPRESSION = {0.25: 0.6, 0.5: 0.45, 0.75: 0.3, 1.0: 0.1}


def write_mp3(
    path: Path, audio: Audio, *, title: str, artist: str, comment: str, quality: float = 0.75
) -> None:
    """Encode with a variable bit rate: in this mode the decoded length is exact to the sample."""
    with sf.SoundFile(
        path,
        "w",
        samplerate=SAMPLE_RATE,
        channels=2,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=_COMPRESSION.get(quality, 0.3),
        bitrate_mode="VARIABLE",
    ) as file:
        file.title, file.artist, file.comment = title, artist, comment
        file.write(audio)


def read_mp3(path: Path) -> Audio:
    """Decode a whole file."""
    audio, _ = sf.read(path, dtype="float32", always_2d=True)
    return np.asarray(audio, dtype=np.float32)


def splice(source: Audio, new: Audio, *, before: bool) -> Audio:
    """Join source and new part. The source is unchanged; only the new part fades at the seam."""
    new = new.copy()
    fade = min(len(new), round(_SEAM_SECONDS * SAMPLE_RATE))
    ramp = np.linspace(1.0, 0.0, fade, dtype=np.float32)[:, None]
    if before:
        new[len(new) - fade :] *= ramp
        return np.concatenate((new, source))
    new[:fade] *= ramp[::-1]
    return np.concatenate((source, new))
