"""Loudness after ITU-R BS.1770-4 and EBU Tech 3342, true peak, silence at the ends, clipping, and the waveform.

Everything is measured in one pass over blocks of samples; the memory does not grow with the song, but for 80 bytes a
second. pyloudnorm (MIT) measures integrated loudness alone, with all samples in memory: it has no true peak, no
loudness range, and would bring scipy.signal, whose import takes half a second.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from songflow.audio.decoding import Samples

__all__ = ["LOUDNESS_FLOOR", "PEAK_FLOOR_DB", "WAVEFORM_VALUES", "Loudness", "LoudnessMeter"]

LOUDNESS_FLOOR = -70.0
"""The absolute gate of BS.1770 (LUFS): the loudness of silence."""

PEAK_FLOOR_DB = -120.0
"""The true peak of silence."""

WAVEFORM_VALUES = 300
"""Values of a waveform."""

_SILENCE = 10 ** (-60 / 20)
_FULL_SCALE = 32767 / 32768
_LEAST_RATE = 4000
# In units of 100 ms: blocks of 400 ms overlap by 75 %, the short-term loudness is that of 3 s.
_MOMENTARY, _SHORT_TERM = 4, 30
_RELATIVE_GATE, _RANGE_GATE = -10.0, -20.0
_LOW, _HIGH = 10, 95
_FFT = 1 << 15
_OVERSAMPLED_HZ, _LEAST_FACTOR = 192_000, 4
_HALF_TAPS, _ROW = 16, 64
_MOST_CELLS = 1 << 15


@dataclass(frozen=True, slots=True)
class Loudness:
    """How loud a file is.

    Attributes:
        loudness_lufs: Integrated loudness (LUFS), -70 for silence; None below 0.4 s.
        true_peak_db: Largest value of the oversampled signal (dB true peak), -120 for silence.
        loudness_range: Loudness range (LU); None below 3 s or without sound.
        silence_start, silence_end: Seconds at the ends in which no sample exceeds -60 dBFS. A silent file has all of
            its length at the start.
        clipped_samples: Samples at full scale or above, over all channels.
        waveform: Base64 of `WAVEFORM_VALUES` bytes: the largest sample of each equal part, 255 is full scale.
    """

    loudness_lufs: float | None
    true_peak_db: float
    loudness_range: float | None
    silence_start: float
    silence_end: float
    clipped_samples: int
    waveform: str


class LoudnessMeter:
    """Measures samples that come in blocks. All channels count alike (mono and stereo; no surround layouts).

    Args:
        rate: Sample rate (Hz).
        channels: Number of channels.
    """

    def __init__(self, rate: int, channels: int) -> None:
        self._rate = rate
        self._power = _KWeightedPower(rate, channels)
        self._true_peak = _TruePeak(rate, channels)
        self._wave = _Wave()
        self._frames = 0
        self._clipped = 0
        self._first_sound: int | None = None
        self._end_of_sound = 0

    def add(self, block: Samples) -> None:
        """Measure the next samples, float32 of shape (frames, channels)."""
        import numpy as np

        size = np.abs(block).max(axis=1) if block.shape[1] > 2 else _larger(block)
        loud = np.flatnonzero(size > _SILENCE)
        if len(loud):
            if self._first_sound is None:
                self._first_sound = self._frames + int(loud[0])
            self._end_of_sound = self._frames + int(loud[-1]) + 1
        if float(size.max(initial=0.0)) >= _FULL_SCALE:
            self._clipped += int(np.count_nonzero(np.abs(block) >= _FULL_SCALE))
        self._wave.add(size)
        self._power.add(block)
        self._true_peak.add(block, float(size.max(initial=0.0)))
        self._frames += len(block)

    def result(self) -> Loudness:
        """What was measured; nothing can be added afterwards."""
        powers = self._power.finished() if self._rate >= _LEAST_RATE else None
        peak = self._true_peak.finished()
        start = self._frames if self._first_sound is None else self._first_sound
        end = 0 if self._first_sound is None else self._frames - self._end_of_sound
        return Loudness(
            loudness_lufs=None if powers is None else _integrated(powers),
            true_peak_db=round(max(PEAK_FLOOR_DB, _decibels(peak * peak)), 2),
            loudness_range=None if powers is None else _range(powers),
            silence_start=round(start / self._rate, 3),
            silence_end=round(end / self._rate, 3),
            clipped_samples=self._clipped,
            waveform=self._wave.text(),
        )


def _larger(block: Samples) -> Samples:
    """The larger of two channels' absolute values."""
    import numpy as np

    return np.maximum(np.abs(block[:, 0]), np.abs(block[:, -1]))


# --- loudness ---


class _KWeightedPower:
    """Mean square of the K-weighted signal, summed over the channels, in each 100 ms."""

    def __init__(self, rate: int, channels: int) -> None:
        import numpy as np

        self._step = round(rate / 10)
        # The filter's answer to one sample has decayed by 200 dB after 0.12 s: the rest need not be kept.
        self._overlap = min(_FFT // 2, round(0.12 * rate))
        self._history: Samples = np.zeros((self._overlap, channels), dtype=np.float32)
        self._rest: NDArray[Any] = np.zeros(0, dtype=np.float32)
        self._gain = _k_weighting(rate)
        self._found: list[NDArray[Any]] = []

    def add(self, block: Samples) -> None:
        import numpy as np

        signal = np.concatenate([self._history, block])
        self._history = signal[len(signal) - self._overlap :]
        hop = _FFT - self._overlap
        squares = [self._rest]
        for at in range(0, len(block), hop):
            part = signal[at : at + _FFT]
            filtered = np.fft.irfft(np.fft.rfft(part.T, _FFT) * self._gain, _FFT)[
                :, self._overlap : len(part)
            ]
            squares.append(np.square(filtered).sum(axis=0))
        power = np.concatenate(squares)
        whole = len(power) // self._step * self._step
        self._found.append(power[:whole].reshape(-1, self._step).mean(axis=1))
        self._rest = power[whole:]

    def finished(self) -> NDArray[np.float64]:
        import numpy as np

        return np.concatenate([*self._found, np.zeros(0)])


@cache
def _k_weighting(rate: int) -> NDArray[Any]:
    """The frequency response of both filters of BS.1770 (a high shelf and a high pass) at any sample rate."""
    import numpy as np

    z = np.exp(-2j * np.pi * np.arange(_FFT // 2 + 1) / _FFT)
    k = math.tan(math.pi * 1681.974450955533 / rate)
    quality, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    shelf = (
        (high + band * k / quality + k * k)
        + 2 * (k * k - high) * z
        + (high - band * k / quality + k * k) * z**2
    ) / ((1 + k / quality + k * k) + 2 * (k * k - 1) * z + (1 - k / quality + k * k) * z**2)
    k = math.tan(math.pi * 38.13547087602444 / rate)
    quality = 0.5003270373238773
    scale = 1 + k / quality + k * k
    high_pass = (1 - 2 * z + z**2) / (
        1 + 2 * (k * k - 1) / scale * z + (1 - k / quality + k * k) / scale * z**2
    )
    return np.asarray(shelf * high_pass, dtype=np.complex64)


def _over(powers: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Mean powers of overlapping blocks of so many steps."""
    import numpy as np

    if len(powers) < steps:
        return np.zeros(0)
    return np.asarray(np.lib.stride_tricks.sliding_window_view(powers, steps).mean(axis=1))


def _integrated(powers: NDArray[np.float64]) -> float | None:
    blocks = _over(powers, _MOMENTARY)
    if not len(blocks):
        return None
    blocks = blocks[blocks > _power_of(LOUDNESS_FLOOR)]
    if not len(blocks):
        return LOUDNESS_FLOOR
    blocks = blocks[blocks > blocks.mean() * 10 ** (_RELATIVE_GATE / 10)]
    return round(max(LOUDNESS_FLOOR, _lufs(float(blocks.mean()))), 2)


def _range(powers: NDArray[np.float64]) -> float | None:
    import numpy as np

    blocks = _over(powers, _SHORT_TERM)
    blocks = blocks[blocks > _power_of(LOUDNESS_FLOOR)]
    if not len(blocks):
        return None
    blocks = blocks[blocks > blocks.mean() * 10 ** (_RANGE_GATE / 10)]
    low, high = np.percentile(blocks, [_LOW, _HIGH])
    return round(_lufs(float(high)) - _lufs(float(low)), 2)


def _lufs(power: float) -> float:
    return _decibels(power) - 0.691


def _power_of(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


def _decibels(power: float) -> float:
    return 10 * math.log10(power) if power > 0 else -math.inf


# --- true peak ---


class _TruePeak:
    """The largest absolute value of the signal between and at its samples, oversampled to 176.4 kHz or more."""

    def __init__(self, rate: int, channels: int) -> None:
        import numpy as np

        self._between, self._most_gain = _interpolation(max(_LEAST_FACTOR, round(_OVERSAMPLED_HZ / rate)))
        # OpenBLAS starts threads for a larger product, which take more CPU waiting than they save.
        self._rows = max(1, (1 << 18) // self._between.size)
        self._channels = channels
        self._history: Samples = np.zeros((2 * _HALF_TAPS - 1, channels), dtype=np.float32)
        self._peak = 0.0

    def add(self, block: Samples, largest: float) -> None:
        import numpy as np

        self._peak = max(self._peak, largest)
        signal = np.concatenate([self._history, block])
        self._history = signal[len(signal) - len(self._history) :]
        window = _ROW + len(self._history)
        rest = -(len(signal) - window) % _ROW if len(signal) > window else window - len(signal)
        signal = np.concatenate([signal, np.zeros((rest, self._channels), dtype=np.float32)])
        for channel in signal.T:
            rows = np.lib.stride_tricks.sliding_window_view(np.ascontiguousarray(channel), window)[::_ROW]
            # Only where the samples are large enough for a larger value between them.
            sizes = np.maximum(rows.max(axis=1), -rows.min(axis=1))
            near = rows[sizes * self._most_gain > self._peak]
            for at in range(0, len(near), self._rows):
                between = near[at : at + self._rows] @ self._between
                self._peak = max(self._peak, float(between.max()), -float(between.min()))

    def finished(self) -> float:
        import numpy as np

        self.add(np.zeros((_HALF_TAPS, self._channels), dtype=np.float32), 0.0)
        return self._peak


@cache
def _interpolation(factor: int) -> tuple[Samples, float]:
    """A matrix from the samples around a row to the values between them, and its largest gain.

    The values are those of a sinc in a Kaiser window of 32 samples, at all places but the samples' own.
    """
    import numpy as np

    taps = 2 * _HALF_TAPS
    matrix = np.zeros((_ROW + taps - 1, _ROW * (factor - 1)), dtype=np.float32)
    place = np.arange(taps) - (_HALF_TAPS - 1)
    for phase in range(1, factor):
        at = place - phase / factor
        weights = np.sinc(at) * np.i0(9.0 * np.sqrt(np.maximum(0, 1 - (at / _HALF_TAPS) ** 2))) / np.i0(9.0)
        weights /= weights.sum()
        for row in range(_ROW):
            matrix[row : row + taps, row * (factor - 1) + phase - 1] = weights
    return matrix, float(np.abs(matrix).sum(axis=0).max())


# --- the waveform ---


class _Wave:
    """The largest samples of equal parts: finer than needed, and made coarser as the song goes on."""

    def __init__(self) -> None:
        self._cell = 16
        self._cells: list[Samples] = []
        self._count = 0

    def add(self, size: Samples) -> None:
        import numpy as np

        if not len(size):
            return
        new = np.maximum.reduceat(size, np.arange(0, len(size), self._cell))
        self._cells.append(new)
        self._count += len(new)
        while self._count > _MOST_CELLS and self._cell < len(size):
            joined = np.concatenate(self._cells)
            self._cells = [np.maximum.reduceat(joined, np.arange(0, len(joined), 2))]
            self._cell, self._count = 2 * self._cell, len(self._cells[0])

    def text(self) -> str:
        import numpy as np

        cells = np.concatenate(self._cells) if self._cells else np.zeros(1, dtype=np.float32)
        starts = np.arange(WAVEFORM_VALUES) * len(cells) // WAVEFORM_VALUES
        values = np.maximum.reduceat(cells, starts)
        return base64.b64encode(np.rint(np.minimum(values, 1.0) * 255).astype(np.uint8).tobytes()).decode()
