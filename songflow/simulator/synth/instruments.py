"""Single sounds: notes from band-limited wavetables, a voice from formants, drums from sweeps and noise.

Every sound starts and ends at zero; a part of one has the same samples as the whole. Frequencies in Hz, lengths in
samples at 44.1 kHz.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from songflow.simulator.settings import SAMPLE_RATE
from songflow.simulator.synth.types import Mono, Part

# 2^11 entries: the top eleven bits of a 32-bit phase, whose overflow is the period.
_TABLE_BITS = 11
_TABLE = 1 << _TABLE_BITS
_SHIFT = np.uint32(32 - _TABLE_BITS)
_HIGHEST = 15_000.0

# Centre frequencies (Hz) of the first three formants and their strengths.
_FORMANTS = {
    "a": ((800, 1.0), (1150, 0.6), (2900, 0.25)),
    "e": ((400, 1.0), (1700, 0.5), (2600, 0.3)),
    "i": ((300, 1.0), (2200, 0.4), (3000, 0.35)),
    "o": ((450, 1.0), (800, 0.6), (2830, 0.15)),
    "u": ((325, 1.0), (700, 0.4), (2530, 0.1)),
}


def frequency(midi: float) -> float:
    """Hz of a MIDI note number."""
    return float(440.0 * 2.0 ** ((midi - 69.0) / 12.0))


def _cycle(amplitudes: Mono) -> Mono:
    """One period of a sum of sines, peak 1."""
    spectrum = np.zeros(_TABLE // 2 + 1, dtype=np.complex64)
    spectrum[1 : len(amplitudes) + 1] = -1j * amplitudes
    wave = np.fft.irfft(spectrum, _TABLE)
    return np.asarray(wave / max(1e-9, float(np.abs(wave).max())), dtype=np.float32)


def _harmonics(pitch: float, detail: float) -> Mono:
    count = int(min(_HIGHEST / pitch, 8 + 56 * detail, _TABLE // 2 - 1))
    return np.arange(1, max(1, count) + 1, dtype=np.float32)


def table(wave: str, pitch: float, brightness: float, detail: float) -> Mono:
    """One period of a named wave. Brightness 0..1 tilts the spectrum, detail 0..1 sets its upper end."""
    n = _harmonics(pitch, detail)
    tilt = 2.3 - 1.5 * brightness
    odd = n % 2 == 1
    amplitudes = n ** np.float32(-tilt)
    if wave == "square":
        amplitudes = np.where(odd, amplitudes, 0.05 * amplitudes)
    elif wave == "soft":
        amplitudes = amplitudes * np.exp(-(n - 1) * np.float32(0.25 * (1.4 - brightness)))
    elif wave == "pluck":
        amplitudes = amplitudes * np.abs(np.sin(n * np.float32(np.pi * 0.19))) * 1.4
    return _cycle(amplitudes.astype(np.float32))


def vowel_table(vowel: str, pitch: float) -> Mono:
    """One period of a sung vowel."""
    n = _harmonics(pitch, 1.0)
    at = n * np.float32(pitch)
    amplitudes = np.full_like(n, 0.01)
    for centre, strength in _FORMANTS[vowel]:
        width = 60.0 + 0.06 * centre
        amplitudes += strength / (1.0 + ((at - centre) / width) ** 2)
    return _cycle((amplitudes * n ** np.float32(-0.4)).astype(np.float32))


def play(wave: Mono, pitch: float, part: Part, cents: float = 0.0) -> Mono:
    """Read a period at a steady pitch."""
    step = np.uint32(int(pitch * 2.0 ** (cents / 1200.0) / SAMPLE_RATE * 2**32))
    phase = np.arange(part.start, part.stop, dtype=np.uint32) * step
    return np.asarray(wave[phase >> _SHIFT])


def play_vibrato(wave: Mono, pitch: float, part: Part) -> Mono:
    """Read a period with a singer's vibrato: 5.2 Hz, growing to a quarter tone."""
    time = np.arange(part.stop, dtype=np.float32) / SAMPLE_RATE
    depth = 0.012 * np.minimum(1.0, time / 0.3)
    steps = pitch / SAMPLE_RATE * 2**32 * (1.0 + depth * np.sin(2 * np.pi * 5.2 * time))
    phase = np.cumsum(steps.astype(np.uint32), dtype=np.uint32)
    return np.asarray(wave[phase[part.start :] >> _SHIFT])


def plucked(part: Part, decay: float, attack: float = 0.004) -> Mono:
    """Envelope of a struck string: `decay` seconds to 1/e, silent at both ends."""
    time = np.arange(part.start, part.stop, dtype=np.float32)
    fall: Mono = np.exp(-time / np.float32(decay * SAMPLE_RATE))
    return fall * sustained(part, attack, 0.01)


def sustained(part: Part, attack: float, release: float) -> Mono:
    """Envelope of a sustained sound, with the seconds of its attack and release."""
    length, start, stop = part
    envelope = np.ones(stop - start, dtype=np.float32)
    up = max(1, min(length // 2, round(attack * SAMPLE_RATE)))
    down = max(1, min(length // 2, round(release * SAMPLE_RATE)))
    if start < up:
        rise = np.linspace(0, 1, up, dtype=np.float32)[start:stop]
        envelope[: len(rise)] *= rise
    if (begin := length - down) < stop:
        fall = np.linspace(1, 0, down, dtype=np.float32)[max(0, start - begin) : stop - begin]
        envelope[len(envelope) - len(fall) :] *= fall
    return envelope


def kick(_: np.random.Generator) -> Mono:
    part = Part.whole(round(0.28 * SAMPLE_RATE))
    time = np.arange(part.length, dtype=np.float32) / SAMPLE_RATE
    phase = 2 * np.pi * (48 * time + 90 * 0.03 * (1 - np.exp(-time / 0.03)))
    return np.asarray(np.sin(phase) * plucked(part, 0.09, 0.001), dtype=np.float32)


def snare(noise: np.random.Generator) -> Mono:
    part = Part.whole(round(0.2 * SAMPLE_RATE))
    time = np.arange(part.length, dtype=np.float32) / SAMPLE_RATE
    tone = 0.5 * np.sin(2 * np.pi * 190 * time) * plucked(part, 0.04, 0.001)
    rattle = 0.55 * noise.standard_normal(part.length, dtype=np.float32) * plucked(part, 0.06, 0.001)
    return np.asarray(tone + rattle, dtype=np.float32)


def hat(noise: np.random.Generator) -> Mono:
    return _hiss(noise, 0.07, 0.02)


def crash(noise: np.random.Generator) -> Mono:
    return _hiss(noise, 1.4, 0.35)


def _hiss(noise: np.random.Generator, seconds: float, decay: float) -> Mono:
    part = Part.whole(round(seconds * SAMPLE_RATE))
    raw = noise.standard_normal(part.length + 1, dtype=np.float32)
    return np.asarray(0.5 * np.diff(raw) * plucked(part, decay, 0.001), dtype=np.float32)


DRUMS: dict[str, Callable[[np.random.Generator], Mono]] = {
    "kick": kick,
    "snare": snare,
    "hat": hat,
    "crash": crash,
}
