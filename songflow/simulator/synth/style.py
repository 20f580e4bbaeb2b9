"""Derive the musical style from a request's words. Pure Python, so that reading tags does not load numpy."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from songflow.simulator.synth.words import has_voice


@dataclass(frozen=True)
class Nudge:
    """The effect of one word of a prompt at prompt_strength 0.5. Tempo in beats per minute, the rest in shares."""

    tempo: float = 0.0
    mood: float = 0.0  # negative: minor
    drums: float = 0.0
    brightness: float = 0.0
    wave: str = ""


# Stems: `electro` matches electronic and electropop.
_WORDS: dict[str, Nudge] = {
    "slow": Nudge(tempo=-28, drums=-0.2),
    "ballad": Nudge(tempo=-24, drums=-0.3, brightness=-0.1),
    "sad": Nudge(tempo=-12, mood=-1),
    "melanchol": Nudge(tempo=-12, mood=-1),
    "lonely": Nudge(mood=-1, drums=-0.2),
    "dark": Nudge(mood=-1, brightness=-0.25),
    "storm": Nudge(mood=-0.6, drums=0.2),
    "minor": Nudge(mood=-2),
    "major": Nudge(mood=2),
    "happy": Nudge(tempo=14, mood=1, brightness=0.15),
    "joy": Nudge(tempo=12, mood=1),
    "summer": Nudge(tempo=8, mood=1, brightness=0.1),
    "bright": Nudge(mood=0.5, brightness=0.3),
    "calm": Nudge(tempo=-18, drums=-0.4, brightness=-0.1),
    "lullaby": Nudge(tempo=-26, mood=0.6, drums=-0.9, brightness=-0.2, wave="soft"),
    "ambient": Nudge(tempo=-26, drums=-0.9, brightness=-0.15, wave="soft"),
    "orchest": Nudge(drums=-0.3, wave="soft"),
    "string": Nudge(drums=-0.2, wave="soft"),
    "piano": Nudge(drums=-0.3, wave="pluck"),
    "acoustic": Nudge(drums=-0.2, wave="pluck"),
    "folk": Nudge(drums=-0.2, wave="pluck"),
    "guitar": Nudge(wave="pluck"),
    "jazz": Nudge(tempo=8, wave="pluck", brightness=-0.1),
    "lofi": Nudge(tempo=-20, brightness=-0.3, wave="pluck"),
    "lo-fi": Nudge(tempo=-20, brightness=-0.3, wave="pluck"),
    "fast": Nudge(tempo=36, drums=0.1),
    "energetic": Nudge(tempo=24, drums=0.2, brightness=0.1),
    "dance": Nudge(tempo=20, drums=0.3, wave="saw"),
    "techno": Nudge(tempo=28, drums=0.4, wave="saw"),
    "house": Nudge(tempo=22, drums=0.3, wave="saw"),
    "electro": Nudge(tempo=16, drums=0.2, brightness=0.15, wave="saw"),
    "synth": Nudge(brightness=0.1, wave="saw"),
    "pop": Nudge(tempo=8, mood=0.3, drums=0.1),
    "rock": Nudge(tempo=18, drums=0.3, brightness=0.15, wave="saw"),
    "punk": Nudge(tempo=48, drums=0.4, brightness=0.2, wave="saw"),
    "metal": Nudge(tempo=40, mood=-0.8, drums=0.4, brightness=0.25, wave="saw"),
    "chip": Nudge(tempo=24, brightness=0.3, wave="square"),
    "8-bit": Nudge(tempo=24, brightness=0.3, wave="square"),
    "funk": Nudge(tempo=10, drums=0.3, wave="square"),
    "soul": Nudge(tempo=-8, brightness=-0.05),
    "hip hop": Nudge(tempo=-14, drums=0.3),
}
_PARTS = {
    "drums": ("drum", "percussion", "beat"),
    "bass": ("bass",),
    "voice": ("vocal", "voice", "sing", "choir"),
    "pad": ("pad", "string"),
    "arp": ("arp", "piano", "guitar", "synth"),
    "lead": ("lead", "melody", "solo"),
}
_PROGRESSIONS = {
    True: ((0, 5, 2, 6), (0, 3, 5, 4), (0, 6, 5, 6), (0, 2, 3, 6)),
    False: ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 0, 4), (5, 3, 0, 4)),
}
_NEUTRAL_TEMPO = 102.0
_NOT_WORDS = re.compile(r"[_\s]+")


@dataclass(frozen=True)
class Style:
    """How a song sounds. Tempo in beats per minute, root as a MIDI note, levels 0..1."""

    tempo: float
    root: int
    minor: bool
    progression: tuple[int, ...]
    wave: str
    drums: float
    brightness: float
    parts: frozenset[str]


def _nudges(params: Mapping[str, Any]) -> list[tuple[str, Nudge]]:
    text = _NOT_WORDS.sub(" ", f"{params.get('prompt', '')}".lower())
    return [(word, nudge) for word, nudge in _WORDS.items() if word in text]


def _clamped(value: float, low: float, high: float) -> float:
    return min(high, max(low, value))


def read_style(params: Mapping[str, Any], seed: str) -> Style:
    """The style of a request: words move it away from neutral, twice as far at prompt_strength 1, not at all at 0."""
    luck = random.Random(f"style:{seed}:{params.get('prompt', '')}")
    force = 2.0 * float(params.get("prompt_strength", 0.5))
    nudges = [nudge for _, nudge in _nudges(params)] if force > 0 else []
    mood = force * sum(nudge.mood for nudge in nudges) + luck.uniform(-0.25, 0.25)
    minor = mood < 0
    waves = [nudge.wave for nudge in nudges if nudge.wave]
    tempo = _NEUTRAL_TEMPO + luck.uniform(-4, 4) + force * sum(nudge.tempo for nudge in nudges)
    return Style(
        tempo=round(_clamped(tempo, 58.0, 184.0), 2),
        root=luck.randrange(43, 55),
        minor=minor,
        progression=luck.choice(_PROGRESSIONS[minor]),
        wave=waves[0] if waves else luck.choice(("soft", "pluck", "saw")),
        drums=_clamped(0.7 + force * sum(nudge.drums for nudge in nudges), 0.0, 1.0),
        brightness=_clamped(0.5 + force * sum(nudge.brightness for nudge in nudges), 0.1, 1.0),
        parts=_parts(params),
    )


def _parts(params: Mapping[str, Any]) -> frozenset[str]:
    unwanted = str(params.get("negative_prompt", "")).lower()
    parts = {part for part, stems in _PARTS.items() if not any(stem in unwanted for stem in stems)}
    if not has_voice(params):
        parts.discard("voice")
    # A request that excludes everything still gets some sound.
    return frozenset((parts - {"voice"} and parts) or parts | {"pad"})


def style_tags(params: Mapping[str, Any]) -> list[str]:
    """The prompt's recognised words, and whether there is a voice."""
    understood = [word for word, _ in _nudges(params)]
    return [*understood, "vocals" if "voice" in _parts(params) else "instrumental"]
