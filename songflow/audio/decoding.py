"""Decode audio files: the one reader, completeness checks, and basic measures."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from songflow.audio.mpeg import MpegFrames, find_frames, states_length

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]

__all__ = [
    "LONGEST_SECONDS",
    "AudioFacts",
    "AudioProblem",
    "AudioReader",
    "doubt_of",
    "downmix",
    "measure",
    "read_mono",
    "read_samples",
    "remark_of",
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
        claimed_seconds: Length according to the file's header; None if it states none.
        peak: Largest absolute sample, 0..1 (above 1: clipped by the encoder).
        rms_db: Root mean square over all channels, in dBFS.
        frames: The frames of an mp3.
    """

    seconds: float
    claimed_seconds: float | None
    sample_rate: int
    channels: int
    peak: float
    rms_db: float
    frames: MpegFrames | None = None


class AudioReader:
    """Decode a file to float32 samples of shape (frames, channels); a context manager.

    Attributes:
        rate: Sample rate in Hz.
        channels: Number of channels.
        claimed_frames: Length according to the header, which a truncated file does not reach.
        frames: The frames of an mp3 that is a file of this machine.

    Raises:
        AudioProblem: the file cannot be opened or decoded.
    """

    def __init__(self, source: Path | IO[bytes]) -> None:
        # numpy and libsndfile take 0.2 s to load, which commands without audio should not pay.
        import soundfile

        with _as_audio_problem():
            self.frames, readable = _readable(source)
            self._file = soundfile.SoundFile(readable)
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


def _readable(source: Path | IO[bytes]) -> tuple[MpegFrames | None, str | IO[bytes]]:
    """A source as libsndfile can read it to its end, and the frames of an mp3 (of another source: if needed)."""
    if not isinstance(source, Path):
        frames = None if states_length(source) else find_frames(source)
        source.seek(0)
        return frames, _mended(source, frames) or source
    try:
        with source.open("rb") as opened:
            frames = find_frames(opened)
            return frames, _mended(opened, frames) or str(source)
    except OSError:
        return None, str(source)  # libsndfile's error is the one to show


def _mended(file: IO[bytes], frames: MpegFrames | None) -> IO[bytes] | None:
    """The frames behind a header that is right; None for a file that needs none."""
    if frames is None or frames.tidy or not frames.is_layer_3:
        return None
    file.seek(0)
    return io.BytesIO(frames.with_own_header(file.read()))


@contextmanager
def _as_audio_problem() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:  # soundfile's own errors are RuntimeErrors
        # Its text alone: libsndfile's message begins with the file's path.
        reason = str(getattr(error, "error_string", error)).rstrip(".")
        raise AudioProblem(f"it cannot be decoded ({reason})") from None


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
    claimed = audio.claimed_frames / audio.rate if audio.frames is None else audio.frames.stated_seconds
    return AudioFacts(
        seconds=frames / audio.rate,
        claimed_seconds=claimed,
        sample_rate=audio.rate,
        channels=audio.channels,
        peak=peak,
        rms_db=max(rms_db, _SILENCE_DB),
        frames=audio.frames,
    )


def doubt_of(facts: AudioFacts, announced_seconds: float | None) -> str | None:
    """Why a file may not be the whole song; None if nothing speaks against it.

    A header that states more than there is, a last frame that is cut, and a hole are signs of a part. The announced
    length only counts for a file whose own header states none.
    """
    seconds, claimed, frames = facts.seconds, facts.claimed_seconds, facts.frames
    if frames is not None and _is_shorter(seconds, frames.seconds):
        return f"{seconds:.2f} s of {frames.seconds:.2f} s could be decoded"
    if _is_shorter(seconds, claimed):
        return f"{seconds:.2f} s could be decoded, its header states {claimed:.2f} s"
    if frames is not None and frames.gap_bytes:
        return f"{frames.gap_bytes} bytes inside it are no audio"
    if claimed is None and frames is not None and frames.cut:
        return "its last frame is cut"
    if claimed is None and _is_shorter(seconds, announced_seconds):
        return f"{seconds:.2f} s could be decoded, announced {announced_seconds:.2f} s"
    return None


def remark_of(facts: AudioFacts, announced_seconds: float | None) -> str | None:
    """What is worth a note on a whole song: a length that differs from the announced one."""
    if announced_seconds is None or abs(facts.seconds - announced_seconds) <= LENGTH_TOLERANCE_SECONDS:
        return None
    return f"{facts.seconds:.2f} s long, announced as {announced_seconds:.6g} s"


def _is_shorter(seconds: float, expected: float | None) -> bool:
    return expected is not None and expected - seconds > LENGTH_TOLERANCE_SECONDS


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
    # `mean` takes ten times as long on rows this short; for a matrix product OpenBLAS starts threads.
    mono: Samples = samples[:, 0].copy()
    for channel in range(1, samples.shape[1]):
        mono += samples[:, channel]
    mono /= samples.shape[1]
    return mono


def _check_length(frames: int, rate: int) -> None:
    if not frames:
        raise AudioProblem("it holds no sound")
    if frames > LONGEST_SECONDS * rate:
        raise AudioProblem(f"it is longer than {LONGEST_SECONDS / 60:.0f} minutes")
