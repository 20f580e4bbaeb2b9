"""Audio features of a song's spectrum: tempo and spectral centroid."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from songflow.audio.decoding import Samples

__all__ = ["estimate_tempo", "magnitudes", "spectral_centroid"]

_LEAST_SECONDS = 4.0
_WINDOW, _HOP = 2048, 512
_SLOWEST, _FASTEST = 45.0, 200.0
# Prior of perceived tempi: of a pulse, its half and its double, listeners tap the one nearest to this.
_USUAL_TEMPO, _OCTAVES = 120.0, 2.0
# Bass and kick drum mark the beat; higher instruments also play halves and quarters of it.
_BASS_BANDS, _BASS_WEIGHT = 6, 4.0


def magnitudes(sound: Samples) -> Samples:
    """Magnitude spectrum of overlapping windows, of shape (windows, bins)."""
    import numpy as np

    if len(sound) < _WINDOW:
        return np.zeros((0, _WINDOW // 2 + 1), dtype=np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_HOP]
    shape = np.hanning(_WINDOW).astype(np.float32)
    # In blocks: all windows of a minute at once would take 120 MB.
    blocks = [
        np.abs(np.fft.rfft(windows[at : at + 512] * shape, axis=1)).astype(np.float32)
        for at in range(0, len(windows), 512)
    ]
    return np.concatenate(blocks)


def spectral_centroid(spectrum: Samples, rate: int) -> float | None:
    """Spectral centroid (Hz) of a magnitude spectrum of shape (windows, bins); None for silence."""
    import numpy as np

    total = float(spectrum.sum())
    if total <= 0:
        return None
    hertz = np.linspace(0, rate / 2, spectrum.shape[1], dtype=np.float32)
    return round(float(spectrum.sum(axis=0) @ hertz) / total, 1)


def estimate_tempo(spectrum: Samples, rate: int) -> float | None:
    """Estimate the tempo (beats per minute) from a magnitude spectrum's onsets; None if there is no pulse.

    The autocorrelation of the onset envelope peaks at the beat and at its multiples; each candidate sums
    its values at one and two beats. A wide log-normal prior, modelled on listeners (Ellis 2007, "Beat tracking by
    dynamic programming"), chooses between a tempo, its half and its double.
    """
    import numpy as np

    per_second = rate / _HOP
    if len(spectrum) < _LEAST_SECONDS * per_second:
        return None
    onsets = _onsets(spectrum, rate)
    size = 1 << (2 * len(onsets) - 1).bit_length()
    repeats = np.fft.irfft(np.abs(np.fft.rfft(onsets, size)) ** 2, size)[: len(onsets)]
    if repeats[0] <= 0:
        return None
    repeats /= np.arange(len(onsets), 0, -1)  # fewer windows overlap at a longer lag
    tempi = np.geomspace(_SLOWEST, _FASTEST, 600)
    lags, places = 60.0 * per_second / tempi, np.arange(len(repeats))
    pulse = np.interp(lags, places, repeats) + np.interp(2 * lags, places, repeats)
    prior = np.exp(-0.5 * (np.log2(tempi / _USUAL_TEMPO) / _OCTAVES) ** 2)
    best = int(np.argmax(pulse * prior))
    return round(float(tempi[best]), 1) if pulse[best] > 0 else None


def _onsets(spectrum: Samples, rate: int) -> NDArray[np.float64]:
    """Onset strength of each window: the rise of the log spectrum, minus its average over 1 s."""
    import numpy as np

    loud = np.log1p(100.0 * _bands(spectrum, rate) / max(1e-9, float(spectrum.max())))
    weights = np.ones(loud.shape[1])
    weights[:_BASS_BANDS] = _BASS_WEIGHT
    # No matrix product: for one of this size OpenBLAS starts threads, which take more CPU waiting than they save.
    rise = (np.maximum(0.0, np.diff(loud, axis=0)) * weights).sum(axis=1) / weights.sum()
    second = round(rate / _HOP)
    return np.asarray(rise - np.convolve(rise, np.ones(second) / second, mode="same"))


def _bands(spectrum: Samples, rate: int) -> Samples:
    """Sum the spectrum over at most 32 logarithmically spaced bands from 60 Hz."""
    import numpy as np

    hertz = np.geomspace(60.0, min(12_000.0, rate / 2), 33)
    edges = np.unique((hertz / (rate / 2) * (spectrum.shape[1] - 1)).astype(int))
    return np.asarray(np.add.reduceat(spectrum, edges[:-1], axis=1), dtype=np.float32)
