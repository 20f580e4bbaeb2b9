"""Locate one recording inside another by cross-correlation, and measure how much of it is there.

Both are decoded to mono. A coarse search (FFT at about 5.5 kHz, on first differences so that steady bass does not
dominate) finds the offset, which is then refined to the sample. Then each second of the source is compared separately:
a source that was re-encoded, made quieter or cut is found; music that only shares key, tempo and instruments is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from songflow.audio.decoding import AudioProblem, downmix, read_mono

if TYPE_CHECKING:
    from songflow.audio.decoding import Samples

__all__ = ["HOLDS", "Match", "find_source", "search"]

HOLDS = 0.8
"""A song contains its source if it repeats at least this share of the source's seconds."""

_COARSE_RATE = 5512
_WINDOW_SECONDS = 1.0
_FINE_SECONDS = 8.0
# Correlation of one second of the same music: above 0.9 for mp3 at 160 kbit/s, above 0.75 at 56. Two takes of one
# request (same key, beat and instruments) are below this threshold in all but a few seconds.
_SAME = 0.7
_SILENCE = 1e-4  # root mean square, of 1


@dataclass(frozen=True, slots=True)
class Match:
    """Position of a source in a longer recording.

    Attributes:
        at: Start of the source in seconds; below 0 if its beginning was cut off.
        share: Share of the source's seconds that are there (0..1), without silent ones.
    """

    at: float
    share: float


def find_source(source: Path, whole: Path, kept: float | None = None) -> Match:
    """Locate a recording in another (about 1 s of CPU for songs of two minutes).

    Args:
        source: The file of the recording.
        whole: The other file.
        kept: Seconds of the recording's beginning to look for; None for all of it.

    Raises:
        AudioProblem: one of them cannot be decoded, is silent, or is longer than `LONGEST_SECONDS`.
    """
    part, rate = read_mono(source)
    inside, its_rate = read_mono(whole)
    if kept is not None:
        part = part[: max(1, round(kept * rate))]
    return search(part, _at_rate(inside, its_rate, rate), rate)


def search(source: Samples, whole: Samples, rate: int) -> Match:
    """Locate mono samples in others, both at `rate` (Hz).

    Raises:
        AudioProblem: the source is silent.
    """
    factor = max(1, rate // _COARSE_RATE)
    at = _exact_offset(
        source, whole, _coarse_offset(source, whole, factor), factor, round(_FINE_SECONDS * rate)
    )
    return Match(at / rate, _share(source, whole, at, factor, round(_WINDOW_SECONDS * rate)))


def _at_rate(samples: Samples, rate: int, wanted: int) -> Samples:
    """Resample by linear interpolation: accurate enough for the few kHz that are compared."""
    import numpy as np

    if rate == wanted:
        return samples
    moments = np.arange(0, len(samples), rate / wanted)
    moved: Samples = np.interp(moments, np.arange(len(samples)), samples).astype(np.float32)
    return moved


def _coarse_offset(source: Samples, whole: Samples, factor: int) -> int:
    """Find the best offset to within `factor` samples; up to half of the source may lie outside."""
    import numpy as np

    part = _coarse(source, factor)
    energy = float(np.square(part, dtype=np.float64).sum())
    if energy <= 0:
        raise AudioProblem("it holds no sound")
    over = len(part) // 2
    field = np.pad(_coarse(whole, factor), over)
    size = 1 << (len(field) + len(part) - 1).bit_length()
    spectrum = np.fft.rfft(field, size) * np.conj(np.fft.rfft(part, size))
    products = np.fft.irfft(spectrum, size)[: len(field) - len(part) + 1]
    sums = np.concatenate(([0.0], np.cumsum(np.square(field, dtype=np.float64))))
    energies = sums[len(part) :] - sums[: -len(part)]
    # Nearly silent stretches correlate by chance: their energy counts as at least a thousandth of the source's.
    similarity = products / np.sqrt(energy * np.maximum(energies, energy / 1000))
    return (int(np.argmax(similarity)) - over) * factor


def _exact_offset(source: Samples, whole: Samples, coarse: int, factor: int, length: int) -> int:
    """Refine the offset to the sample: between points of the coarse grid, high tones are out of phase."""
    start = _loudest(source, length)
    part = _coarse(source[start : start + length], factor)
    return max(
        range(coarse - factor, coarse + factor + 1),
        key=lambda at: _correlation(part, _coarse(_slice(whole, at + start, length), factor)[: len(part)]),
    )


def _loudest(samples: Samples, length: int) -> int:
    """Start of the loudest of consecutive stretches of a length."""
    import numpy as np

    starts = range(0, max(1, len(samples) - length + 1), length)
    return max(starts, key=lambda start: float(np.vdot(piece := samples[start : start + length], piece)))


def _coarse(samples: Samples, factor: int) -> Samples:
    """Average each `factor` samples, then take differences."""
    import numpy as np

    length = len(samples) // factor
    means = downmix(samples[: length * factor].reshape(length, factor))
    differences: Samples = np.diff(means, prepend=means[:1])
    return differences


def _slice(samples: Samples, at: int, length: int) -> Samples:
    """Samples from `at`, padded with silence outside of the recording."""
    import numpy as np

    inside = samples[max(0, at) : max(0, at + length)]
    before = min(length, max(0, -at))
    return np.pad(inside, (before, length - before - len(inside)))


def _share(source: Samples, whole: Samples, at: int, factor: int, window: int) -> float:
    """Share of the source's non-silent windows that the whole repeats at their position."""
    import numpy as np

    there = _slice(whole, at, len(source))
    heard = found = 0
    for start in range(0, max(1, len(source) - window // 2), window):
        piece = source[start : start + window]
        if float(np.sqrt(np.mean(np.square(piece)))) < _SILENCE:
            continue
        heard += 1
        other = there[start : start + window]
        found += _correlation(_coarse(piece, factor), _coarse(other, factor)) >= _SAME
    if not heard:
        raise AudioProblem("it holds no sound")
    return found / heard


def _correlation(one: Samples, other: Samples) -> float:
    """Normalised correlation of two pieces of equal length, -1..1; 0 if one is silent."""
    import numpy as np

    norm = float(np.sqrt(np.vdot(one, one) * np.vdot(other, other)))
    return float(np.vdot(one, other)) / norm if norm > 0 else 0.0
