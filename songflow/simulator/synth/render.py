"""Render a request to samples, bar by bar; the energy of a section decides which instruments play.

Time is counted from the first bar of the root song, so that an extension's bars, chords and key continue where
the source stopped (or, at negative times, end where it begins).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from songflow.simulator.settings import MODEL_SECONDS, SAMPLE_RATE
from songflow.simulator.synth import instruments as sound
from songflow.simulator.synth.mix import Mix
from songflow.simulator.synth.style import Style, read_style
from songflow.simulator.synth.types import Audio, Mono, Part
from songflow.simulator.synth.words import Syllable, sung_lyrics, syllables

_MINOR = (0, 2, 3, 5, 7, 8, 10)
_MAJOR = (0, 2, 4, 5, 7, 9, 11)
_WHOLE_SONG = MODEL_SECONDS["udio130-v1.5"]
_BUILD_UP, _FADE_FROM = 0.12, 0.9


def render(
    params: Mapping[str, Any],
    *,
    root: Mapping[str, Any],
    root_seed: str,
    seed: str,
    samples: int,
    start: int,
) -> Audio:
    """`samples` of music, float32 of shape (samples, 2).

    Key, tempo and chords come from the root request, sound and melody from this one. `start` is the position of
    the first sample in the root's time. The same arguments give the same samples.
    """
    return _Band(
        params, read_style(root, root_seed), read_style(params, seed), seed, samples, start
    ).perform()


class _Sound(NamedTuple):
    """A sound of `length` samples that is made when it is heard; sounds with one key are the same."""

    key: tuple[Any, ...]
    length: int
    make: Callable[[Part], Mono]


class _Band:
    """One performance: its instruments, the sounds that it has made, and its mix."""

    def __init__(
        self, params: Mapping[str, Any], frame: Style, style: Style, seed: str, samples: int, start: int
    ) -> None:
        self._params = params
        self._frame = frame
        self._style = style
        self._seed = seed
        self._samples = samples
        self._start = start
        self._mix = Mix(samples)
        self._beat = 60.0 / frame.tempo * SAMPLE_RATE
        self._quality = float(params.get("generation_quality", 0.75))
        self._clarity = float(params.get("clarity_strength", 0.25))
        self._brightness = 0.6 * style.brightness + 0.4 * self._clarity
        self._sounds: dict[tuple[Any, ...], Mono] = {}
        self._drums: dict[str, Mono] = {}
        self._periods: dict[tuple[Any, ...], Mono] = {}

    def perform(self) -> Audio:
        bar = 4 * self._beat
        first = int(self._start // bar) - 1  # notes of the previous bar are still sounding
        last = int((self._start + self._samples) // bar) + 1
        for number in range(first, last):
            self._bar(number, round(number * bar) - self._start)
        if "voice" in self._style.parts:
            self._sing()
        return self._mix.master(
            room=0.9 * (1.0 - 0.75 * self._clarity),
            presence=self._clarity,
            softness=1.0 - self._quality,
            level=self._level(),
        )

    # ---- position in the song

    @cached_property
    def _span(self) -> tuple[float, float]:
        """The section of a whole song that this clip covers, 0..1; an end of 1 means as long as the model's length."""
        model = str(self._params.get("model_type", "udio130-v1.5"))
        start = float(self._params.get("song_section_start", 0.0))
        end = float(self._params.get("song_section_end", 1.0))
        if end >= 1.0:
            end = min(1.0, start + MODEL_SECONDS[model] / _WHOLE_SONG)
        return start, max(end, start + 0.02)

    def _place(self, at: float) -> float:
        start, end = self._span
        return start + (end - start) * min(1.0, max(0.0, at / self._samples))

    def _energy(self, at: float) -> float:
        """Energy 0..1: a build-up, then verses and choruses, then an ending."""
        place = self._place(at)
        if place < _BUILD_UP:
            return 0.25 + 0.6 * place / _BUILD_UP
        if place > _FADE_FROM:
            return 0.7 - 0.5 * (place - _FADE_FROM) / (1 - _FADE_FROM)
        return 1.0 if int(place * 8) % 2 else 0.8

    def _level(self) -> Mono:
        """Gain per sample: rises at a beginning, falls at an ending, flat in the middle of a song."""
        knots = np.linspace(0, self._samples, 65)
        gains = []
        for knot in knots:
            place = self._place(float(knot))
            rise = 0.35 + 0.65 * min(1.0, place / _BUILD_UP)
            fall = 1.0 - 0.92 * max(0.0, place - _FADE_FROM) / (1 - _FADE_FROM)
            gains.append(rise * fall)
        return np.interp(np.arange(self._samples), knots, gains).astype(np.float32)

    # ---- notes

    def _note_number(self, degree: int, octave: int = 0) -> int:
        scale = _MINOR if self._frame.minor else _MAJOR
        return self._frame.root + 12 * (octave + degree // 7) + scale[degree % 7]

    def _chord(self, bar: int) -> int:
        return self._frame.progression[bar % len(self._frame.progression)]

    def _bar(self, number: int, at: int) -> None:
        energy = self._energy(at + 2 * self._beat)
        chord, parts = self._chord(number), self._style.parts
        luck = random.Random(f"{self._seed}:bar:{number % 8}")
        if "pad" in parts:
            self._pad(chord, at, 0.5 + 0.5 * energy)
        if "bass" in parts and energy > 0.4:
            self._bass(chord, at, luck)
        if "arp" in parts and energy > 0.3:
            self._arp(chord, at, luck, energy)
        if "drums" in parts and energy > 0.5 and self._style.drums > 0.05:
            self._drum_bar(number, at, energy, luck)
        if "lead" in parts and "voice" not in parts and energy > 0.6:
            self._lead(chord, at, luck)

    def _pad(self, chord: int, at: int, gain: float) -> None:
        length = round(4.2 * self._beat)
        wave = "soft" if self._style.wave in ("soft", "pluck") else "saw"
        for degree in (chord, chord + 2, chord + 4):
            number = self._note_number(degree, 1)
            for side, cents in ((-1.0, -6.0), (1.0, 6.0)):
                pad = self._held(wave, number, length, 0.5 * self._brightness, cents)
                width = side * (0.45 + 0.55 * self._clarity)
                self._add(pad, at, 0.10 * gain, width, 0.5)

    def _bass(self, chord: int, at: int, luck: random.Random) -> None:
        number = self._note_number(chord, -1)
        pattern = (
            ((0, 1.5), (1.5, 0.5), (2, 1.5), (3.5, 0.5))
            if luck.random() < 0.6
            else ((0, 2.0), (2, 1.0), (3, 1.0))
        )
        for beat, length in pattern:
            lift = 12 if beat == 3.5 else 0
            note = self._plucked(
                "saw", number + lift, round(length * self._beat), 0.5, 0.35 * self._brightness
            )
            self._add(note, at + round(beat * self._beat), 0.42)

    def _arp(self, chord: int, at: int, luck: random.Random, energy: float) -> None:
        order = [0, 2, 4, 7, 4, 2] if luck.random() < 0.5 else [0, 4, 2, 7, 2, 4]
        steps = 8 if energy > 0.5 else 4
        wave = self._style.wave
        for step in range(steps):
            number = self._note_number(chord + order[step % len(order)], 2)
            note = self._plucked(wave, number, round(1.6 * self._beat), 0.28, self._brightness)
            side = (0.3 + 0.5 * self._clarity) * (1 if step % 2 else -1)
            self._add(note, at + round(step * 4 / steps * self._beat), 0.15, side, 0.45)

    def _lead(self, chord: int, at: int, luck: random.Random) -> None:
        beat = 0.0
        while beat < 4:
            length = luck.choice((0.5, 0.5, 1.0, 1.5))
            if luck.random() < 0.75:
                number = self._note_number(chord + luck.choice((0, 1, 2, 4, 5)), 2)
                note = self._held(self._style.wave, number, round(length * self._beat), self._brightness)
                self._add(note, at + round(beat * self._beat), 0.16, 0.0, 0.4)
            beat += length

    def _drum_bar(self, number: int, at: int, energy: float, luck: random.Random) -> None:
        level = self._style.drums * energy
        hits = [("kick", 0.0, 0.8), ("kick", 2.0, 0.8), ("snare", 1.0, 0.42), ("snare", 3.0, 0.42)]
        if self._frame.tempo > 115:
            hits += [("kick", 1.0, 0.7), ("kick", 3.0, 0.7)]
        elif luck.random() < 0.6:
            hits.append(("kick", 2.5, 0.6))
        hits += [("hat", step / 2, 0.16 if step % 2 else 0.1) for step in range(8)]
        if number % 8 == 0:
            hits.append(("crash", 0.0, 0.12))
        if number % 4 == 3:
            hits += [("snare", 3.5, 0.3), ("snare", 3.75, 0.36)]
        for name, beat, gain in hits:
            pan = 0.25 if name in ("hat", "crash") else 0.0
            self._hit(name, at + round(beat * self._beat), level * gain, pan)

    # ---- the singer

    def _sing(self) -> None:
        words = syllables(sung_lyrics(self._params, self._seed))
        gain = 0.52 * 2.0 * float(self._params.get("lyrics_strength", 0.5))
        if not words or gain <= 0:
            return
        luck = random.Random(f"{self._seed}:melody")
        low = self._at_share("lyrics_placement_start", 0.0)
        high = self._at_share("lyrics_placement_end", 1.0)
        step, degree, sung = self._beat / 2, 4, 0
        number = int(-(-(self._start + low) // step))
        while (at := round(number * step) - self._start) < high - step:
            inside = number % 16  # two bars per line; the last half bar is a breath
            long = luck.random() < 0.3 or inside == 11
            if inside < 12:
                degree = min(9, max(0, degree + luck.choice((-2, -1, -1, 0, 1, 1, 2))))
                chord = self._chord(number // 8)
                target = degree if long is False else chord + luck.choice((0, 2, 4))
                self._syllable(
                    words[sung % len(words)], target % 10, at, round((2 if long else 1) * step), gain
                )
                sung += 1
            number += 2 if long else 1

    def _at_share(self, field: str, default: float) -> float:
        share = self._params.get(field)
        return self._samples * float(default if share is None else share)

    def _syllable(self, word: Syllable, degree: int, at: int, length: int, gain: float) -> None:
        pitch = sound.frequency(self._note_number(degree, 1))

        def make(part: Part) -> Mono:
            period = self._period(("voice", word.vowel, pitch), lambda: sound.vowel_table(word.vowel, pitch))
            return sound.play_vibrato(period, pitch, part) * sound.sustained(part, 0.025, 0.06)

        self._add(_Sound(("voice", word.vowel, pitch, length), length, make), at, gain, 0.0, 0.3)
        if word.hiss:
            self._hit("hat", at - round(0.02 * SAMPLE_RATE), 0.25 * gain, 0.0)

    # ---- sounds, of which only what is heard is made

    def _add(self, made: _Sound, at: int, gain: float, pan: float = 0.0, send: float = 0.0) -> None:
        """Place a sound; one that is heard whole is kept for the next time."""
        part = self._mix.heard(at, made.length)
        if part is None:
            return
        if part == Part.whole(made.length):
            if made.key not in self._sounds:
                self._sounds[made.key] = made.make(part)
            samples = self._sounds[made.key]
        else:
            samples = made.make(part)
        self._mix.add(samples, at + part.start, gain, pan, send)

    def _hit(self, drum: str, at: int, gain: float, pan: float) -> None:
        if not self._drums:
            noise = np.random.default_rng(np.frombuffer(self._seed.encode(), dtype=np.uint8))
            self._drums = {name: make(noise) for name, make in sound.DRUMS.items()}
        self._mix.add(self._drums[drum], at, gain, pan, 0.1)

    def _plucked(self, wave: str, number: int, length: int, decay: float, brightness: float) -> _Sound:
        pitch = sound.frequency(number)

        def make(part: Part) -> Mono:
            period = self._wave(wave, pitch, brightness)
            return sound.play(period, pitch, part) * sound.plucked(part, decay)

        return _Sound(("plucked", wave, number, length), length, make)

    def _held(self, wave: str, number: int, length: int, brightness: float, cents: float = 0.0) -> _Sound:
        pitch = sound.frequency(number)

        def make(part: Part) -> Mono:
            period = self._wave(wave, pitch, brightness)
            return sound.play(period, pitch, part, cents) * sound.sustained(part, 0.12, 0.2)

        return _Sound(("held", wave, number, length, cents), length, make)

    def _wave(self, wave: str, pitch: float, brightness: float) -> Mono:
        return self._period(
            (wave, pitch, brightness), lambda: sound.table(wave, pitch, brightness, self._quality)
        )

    def _period(self, key: tuple[Any, ...], make: Callable[[], Mono]) -> Mono:
        if key not in self._periods:
            self._periods[key] = make()
        return self._periods[key]
