"""Mix sounds: placement, reverb, loudness, fades."""

from __future__ import annotations

import numpy as np

from songflow.simulator.settings import SAMPLE_RATE
from songflow.simulator.synth.types import Audio, Mono, Part

# About -16 dBFS; peaks stay under 0.86 so that mp3's overshoot does not clip.
_LOUDNESS = 0.165
_CEILING = 0.86
_EDGE_SECONDS = 0.006
# Incommensurate delays (seconds) with gains, different left and right, sound like a room.
_ROOM = (
    ((0.0291, 0.50), (0.0473, 0.38), (0.0711, 0.30), (0.1133, 0.22), (0.1697, 0.15)),
    ((0.0331, 0.50), (0.0521, 0.38), (0.0797, 0.30), (0.1237, 0.22), (0.1879, 0.15)),
)
_BLOCK = 1 << 16


class Mix:
    """A stereo bus and a mono reverb send, `samples` long; sounds may extend over either end."""

    def __init__(self, samples: int) -> None:
        self.samples = samples
        self._bus = np.zeros((2, samples), dtype=np.float32)
        self._send = np.zeros(samples, dtype=np.float32)

    def heard(self, at: int, length: int) -> Part | None:
        """The part of a sound at a place that is inside the clip; None if it is not heard."""
        start, stop = max(0, -at), min(length, self.samples - at)
        return Part(length, start, stop) if start < stop else None

    def add(self, sound: Mono, at: int, gain: float, pan: float = 0.0, send: float = 0.0) -> None:
        """Place a mono sound; `pan` from -1 (left) to 1."""
        start, stop = max(0, at), min(self.samples, at + len(sound))
        if stop <= start or gain <= 0:
            return
        piece = sound[start - at : stop - at]
        for channel, side in ((0, 1.0 - pan), (1, 1.0 + pan)):
            if side > 0:
                self._bus[channel, start:stop] += piece * np.float32(gain * min(1.0, side))
        if send > 0:
            self._send[start:stop] += piece * np.float32(gain * send)

    def add_stereo(self, left: Mono, right: Mono, at: int, gain: float, send: float = 0.0) -> None:
        """Place a wide sound."""
        self.add(left, at, gain, -1.0, send / 2)
        self.add(right, at, gain, 1.0, send / 2)

    def master(self, *, room: float, presence: float, softness: float, level: Mono | None) -> Audio:
        """The finished (n, 2) samples.

        `room` 0..1 of reverb; `presence` 0..1 raises the treble, `softness` 0..1 lowers it; `level` is a
        gain per sample (fades and build-ups), applied before loudness is set.
        """
        for side, taps in enumerate(_ROOM):
            for delay, gain in taps:
                shift = round(delay * SAMPLE_RATE)
                if shift < self.samples:
                    self._bus[side, shift:] += np.float32(room * gain) * self._send[: self.samples - shift]
        for channel in self._bus:
            _tilt(channel, presence, softness)
            channel -= channel.mean()
            if level is not None:
                channel *= level
        self._set_loudness()
        audio = np.ascontiguousarray(self._bus.T)
        _fade_edges(audio)
        return audio

    def _set_loudness(self) -> None:
        rms = float(np.sqrt(np.mean(np.square(self._bus), dtype=np.float64)))
        self._bus *= np.float32(_LOUDNESS / max(rms, 1e-6) / _CEILING)
        for channel in self._bus:
            for start in range(0, self.samples, _BLOCK):
                block = channel[start : start + _BLOCK]
                np.tanh(block, out=block)
        self._bus *= np.float32(_CEILING)
        self._bus -= self._bus.mean(axis=1, keepdims=True)


def _tilt(channel: Mono, presence: float, softness: float) -> None:
    """Apply one-sample filters in place: the difference of neighbours is treble, their mean lacks it."""
    if presence > 0 and len(channel) > 1:
        channel[1:] += np.float32(1.2 * presence) * np.diff(channel)
    if softness > 0 and len(channel) > 1:
        for _ in range(2):
            channel[1:] += np.float32(0.5 * softness) * (channel[:-1] - channel[1:])


def _fade_edges(audio: Audio) -> None:
    edge = min(len(audio) // 2, round(_EDGE_SECONDS * SAMPLE_RATE))
    if edge:
        ramp = np.linspace(0, 1, edge, dtype=np.float32)[:, None]
        audio[:edge] *= ramp
        audio[len(audio) - edge :] *= ramp[::-1]
