"""Lyrics: generated for `generate`, and split into syllables for the voice."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LINES = (
    "I hear the {thing} calling my name",
    "Carry me over the {thing} tonight",
    "Nothing remains but the {thing} and you",
    "We were the colour of {thing} in spring",
    "Hold on to me till the {thing} goes by",
    "Every road leads to the {thing} again",
    "Sing to the {thing} and let it go",
    "Under the {thing} we are never alone",
)
_THINGS = ("river", "morning", "silence", "city", "fire", "ocean", "shadow", "summer")
_MARKER = re.compile(r"\[[^\]]*\]|\([^)]*\)")
_WORD = re.compile(r"[^\W\d_]+")
_LATIN_SYLLABLE = re.compile(r"[^aeiouyäöüáéíóúàèìòùâêîôû]*[aeiouyäöüáéíóúàèìòùâêîôû]+", re.IGNORECASE)
_VOWEL_OF = {
    letter: vowel
    for vowel, letters in {"a": "aáàâä", "e": "eéèêö", "i": "iíìîyü", "o": "oóòô", "u": "uúùû"}.items()
    for letter in letters
}
_HISSING = frozenset("cfhjkpqstxz")


@dataclass(frozen=True)
class Syllable:
    """A syllable as the voice sings it: its vowel (a e i o u) and whether it starts with a hiss."""

    vowel: str
    hiss: bool


def has_voice(params: Mapping[str, Any]) -> bool:
    """Whether there is a voice: not in an instrumental."""
    return str(params.get("lyrics_type", "generate")) != "instrumental"


def sung_lyrics(params: Mapping[str, Any], seed: str) -> str:
    """The user's lyrics; for `generate` without any, eight lines built from words of the prompt; else nothing."""
    if not has_voice(params):
        return ""
    own = str(params.get("lyrics") or "")
    if own.strip() or params.get("lyrics_type", "generate") == "user":
        return own
    luck = random.Random(f"lyrics:{seed}")
    long_words = [word.lower() for word in _WORD.findall(str(params.get("prompt", ""))) if len(word) > 3]
    things = [*long_words[:6], *luck.sample(_THINGS, 3)]
    lines = [line.format(thing=luck.choice(things)) for line in luck.sample(_LINES, len(_LINES))]
    return "[Verse]\n" + "\n".join(lines[:4]) + "\n\n[Chorus]\n" + "\n".join(lines[4:])


def syllables(lyrics: str) -> list[Syllable]:
    """Split lyrics into syllables, without section markers; outside the Latin alphabet, a syllable per letter."""
    found: list[Syllable] = []
    for word in _WORD.findall(_MARKER.sub(" ", lyrics)):
        if not word.isascii() and not any(letter.lower() in _VOWEL_OF for letter in word):
            found += [Syllable("aeiou"[ord(letter) % 5], ord(letter) % 3 == 0) for letter in word]
            continue
        for part in _LATIN_SYLLABLE.findall(word) or [word]:
            found.append(Syllable(_VOWEL_OF.get(part[-1].lower(), "e"), part[0].lower() in _HISSING))
    return found
