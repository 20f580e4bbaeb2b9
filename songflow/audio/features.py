"""Audio features of stored songs that are not in the manifest: tempo and spectral centroid.

They are computed on demand (for a report) from the file, and cached in the library's folder by the file's SHA-256: a
repeated report decodes nothing, and copies of a song are measured once.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from songflow.audio.decoding import AudioProblem, AudioReader, downmix
from songflow.runtime.remote_files import open_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from songflow.audio.decoding import Samples

__all__ = ["CACHE_NAME", "Measures", "estimate_tempo", "measure_song", "measure_songs", "spectral_centroid"]

log = logging.getLogger(__name__)

CACHE_NAME = "measures.jsonl"
_VERSION = 1
"""Version of the cached features; increased when their computation changes."""

# The tempo is the same in the whole song, so one minute of it is enough.
_LONGEST_SECONDS = 60
_LEAST_SECONDS = 4.0
_WINDOW, _HOP = 2048, 512
_SLOWEST, _FASTEST = 45.0, 200.0
# Prior of perceived tempi: of a pulse, its half and its double, listeners tap the one nearest to this.
_USUAL_TEMPO, _OCTAVES = 120.0, 2.0
# Bass and kick drum mark the beat; higher instruments also play halves and quarters of it.
_BASS_BANDS, _BASS_WEIGHT = 6, 4.0
_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class Measures:
    """Features of a song.

    Attributes:
        tempo: Beats per minute, 45..200; None if the song has no pulse or is shorter than 4 s. It may be half or
            twice the tempo that a person would tap.
        centroid_hz: Spectral centroid over time, weighted by loudness: how bright the song sounds.
    """

    tempo: float | None
    centroid_hz: float | None


def measure_song(path: str) -> Measures:
    """Measure a stored song, by its path or fsspec URL (about 0.1 s of CPU).

    Raises:
        OSError, AudioProblem: it cannot be read or decoded.
    """
    with open_file(path) as file, AudioReader(file) as audio:
        spectrum = _magnitudes(downmix(audio.read(_LONGEST_SECONDS * audio.rate)))
    return Measures(estimate_tempo(spectrum, audio.rate), spectral_centroid(spectrum, audio.rate))


def measure_songs(
    songs: Iterable[tuple[str, str]],
    cache: Path,
    measured: Callable[[int, int], None] | None = None,
) -> dict[str, Measures]:
    """Measure songs given as (sha256, path or URL); return measures by sha256, without unreadable songs.

    Args:
        cache: A file of one JSON line per song.
        measured: Called with (number done, number to do) after each decoded song.
    """
    known = _read_cache(cache)
    wanted = dict(songs)
    missing = {sha256: path for sha256, path in wanted.items() if sha256 not in known}
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="measure") as threads:
        for done, (sha256, found) in enumerate(
            zip(missing, threads.map(_measured, missing.values()), strict=True), 1
        ):
            if found is not None:
                known[sha256] = found
                _append_to_cache(cache, sha256, found)
            if measured is not None:
                measured(done, len(missing))
    return {sha256: known[sha256] for sha256 in wanted if sha256 in known}


def _measured(path: str) -> Measures | None:
    try:
        return measure_song(path)
    except (OSError, AudioProblem) as error:
        log.warning("%s cannot be measured (%s).", path, error)
        return None


# --- the cache ---


def _read_cache(cache: Path) -> dict[str, Measures]:
    """Read the cache; skip truncated lines and those of other versions."""
    try:
        lines = cache.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    known: dict[str, Measures] = {}
    for line in lines:
        try:
            row = json.loads(line)
            if row["version"] == _VERSION:
                known[row["sha256"]] = Measures(row["tempo"], row["centroid_hz"])
        except (ValueError, TypeError, KeyError):
            continue
    return known


def _append_to_cache(cache: Path, sha256: str, found: Measures) -> None:
    """Append a line. A single short write does not mix with other processes' lines; a lost one costs a decode."""
    line = json.dumps({"sha256": sha256, "version": _VERSION, **asdict(found)}) + "\n"
    try:
        with cache.open("ab", buffering=0) as file:
            file.write(line.encode())
    except OSError as error:
        log.warning("%s cannot be written (%s); the songs will be measured again.", cache, error.strerror)


# --- the features ---


def _magnitudes(sound: Samples) -> Samples:
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
    rise = np.maximum(0.0, np.diff(loud, axis=0)) @ weights / weights.sum()
    second = round(rate / _HOP)
    return np.asarray(rise - np.convolve(rise, np.ones(second) / second, mode="same"))


def _bands(spectrum: Samples, rate: int) -> Samples:
    """Sum the spectrum over at most 32 logarithmically spaced bands from 60 Hz."""
    import numpy as np

    hertz = np.geomspace(60.0, min(12_000.0, rate / 2), 33)
    edges = np.unique((hertz / (rate / 2) * (spectrum.shape[1] - 1)).astype(int))
    return np.asarray(np.add.reduceat(spectrum, edges[:-1], axis=1), dtype=np.float32)
