"""Decode audio files: the one reader, completeness checks, and basic measures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

__all__ = [
    "LONGEST_SECONDS",
    "AudioFacts",
    "AudioProblem",
    "AudioReader",
    "check_whole",
    "downmix",
    "measure",
    "read_mono",
    "read_samples",
]

LENGTH_TOLERANCE_SECONDS = 2.0
"""Allowed difference between decoded and announced length: encoders pad, gateways round."""

LONGEST_SECONDS = 1200.0
"""Longer files are not read into memory: 20 minutes of stereo are 400 MB of samples."""

_BLOCK_FRAMES = 1 << 17
_SILENCE_DB = -120.0


class AudioProblem(Exception):
    """The file cannot be decoded, is incomplete, empty or too long."""


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """Measures of a completely decoded file.

    Attributes:
        seconds: Length of the audio that could be decoded.
        claimed_seconds: Length according to the file's header.
        peak: Largest absolute sample, 0..1 (above 1: clipped by the encoder).
        rms_db: Root mean square over all channels, in dBFS.
    """

    seconds: float
    claimed_seconds: float
    sample_rate: int
    channels: int
    peak: float
    rms_db: float


class AudioReader:
    """Decode a file to float32 samples of shape (frames, channels); a context manager.

    Attributes:
        rate: Sample rate in Hz.
        channels: Number of channels.
        claimed_frames: Length according to the header, which a truncated file does not reach.

    Raises:
        AudioProblem: the file cannot be opened or decoded.
    """

    def __init__(self, source: Path | IO[bytes]) -> None:
        # numpy and libsndfile take 0.2 s to load, which commands without audio should not pay.
        import soundfile

        with _as_audio_problem():
            self._file = soundfile.SoundFile(str(source) if isinstance(source, Path) else source)
        self.rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self.claimed_frames = int(self._file.frames)

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, frames: int) -> Samples:
        """Read the next frames; fewer at the end of the file."""
        with _as_audio_problem():
            samples: Samples = self._file.read(frames, dtype="float32", always_2d=True)
        return samples

    def blocks(self) -> Iterator[Samples]:
        """Read to the end in blocks of bounded memory."""
        # Not soundfile's own `blocks`: it trusts the header's length and pads what a truncated file lacks.
        while len(block := self.read(_BLOCK_FRAMES)):
            yield block


@contextmanager
def _as_audio_problem() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:  # soundfile's own errors are RuntimeErrors
        raise AudioProblem(f"it cannot be decoded ({error})") from None


def measure(path: Path) -> AudioFacts:
    """Decode a file to its end and measure it (about 0.3 s of CPU for 130 s of music).

    Raises:
        AudioProblem: it cannot be decoded, or has no samples.
    """
    import numpy as np

    frames, power, peak = 0, 0.0, 0.0
    with AudioReader(path) as audio:
        for block in audio.blocks():
            frames += len(block)
            power += float(np.square(block, dtype=np.float64).sum())
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
    if frames == 0:
        raise AudioProblem("it holds no sound")
    mean_square = power / (frames * audio.channels)
    rms_db = 10 * math.log10(mean_square) if mean_square > 0 else _SILENCE_DB
    return AudioFacts(
        seconds=frames / audio.rate,
        claimed_seconds=audio.claimed_frames / audio.rate,
        sample_rate=audio.rate,
        channels=audio.channels,
        peak=peak,
        rms_db=max(rms_db, _SILENCE_DB),
    )


def check_whole(facts: AudioFacts, announced_seconds: float | None) -> None:
    """Raise AudioProblem if the decoded length differs from the announced length or from the header's."""
    expectations = (("announced", announced_seconds), ("its header states", facts.claimed_seconds))
    for source, expected in expectations:
        if expected is not None and abs(facts.seconds - expected) > LENGTH_TOLERANCE_SECONDS:
            raise AudioProblem(f"{facts.seconds:.2f} s could be decoded, {source} {expected:.2f} s")


def read_samples(path: Path) -> tuple[Samples, int]:
    """Read all samples, of shape (frames, channels), and the sample rate (Hz).

    Raises:
        AudioProblem: it cannot be decoded, has no samples, or is longer than `LONGEST_SECONDS`.
    """
    with AudioReader(path) as audio:
        samples = audio.read(round(LONGEST_SECONDS * audio.rate) + 1)
        _check_length(len(samples), audio.rate)
    return samples, audio.rate


def read_mono(path: Path) -> tuple[Samples, int]:
    """Read all samples, mixed down to one channel, and the sample rate (Hz).

    Raises:
        AudioProblem: as `read_samples`.
    """
    import numpy as np

    blocks, frames = [], 0
    with AudioReader(path) as audio:
        for block in audio.blocks():
            blocks.append(downmix(block))
            frames += len(block)
            _check_length(frames, audio.rate)
    _check_length(frames, audio.rate)
    return np.concatenate(blocks), audio.rate


def downmix(samples: Samples) -> Samples:
    """Average the channels of each frame."""
    import numpy as np

    # A matrix product: `mean` takes ten times as long on rows this short.
    channels = samples.shape[1]
    mono: Samples = samples @ np.full(channels, 1 / channels, dtype=np.float32)
    return mono


def _check_length(frames: int, rate: int) -> None:
    if not frames:
        raise AudioProblem("it holds no sound")
    if frames > LONGEST_SECONDS * rate:
        raise AudioProblem(f"it is longer than {LONGEST_SECONDS / 60:.0f} minutes")
