"""What an ACE-Step request allows: models with their steps, languages, keys, longest texts, and what fields need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from songflow.families.family import Model

__all__ = [
    "ALLOWED",
    "LANGUAGES",
    "LONGEST_LYRICS",
    "LONGEST_PART",
    "LONGEST_PROMPT",
    "MAX_SEED",
    "MODELS",
    "REQUIRED_OF_SOURCE",
    "SET_WITH_THE_WORDS",
    "SHORTEST_SONG",
    "STEPS",
    "check_key",
]


@dataclass(frozen=True, slots=True)
class Steps:
    """A model's usual number of inference steps, and the most that it takes."""

    usual: int
    most: int


_TURBO, _BASE = Steps(8, 20), Steps(50, 200)
# README.md's table "DiT Models" has the usual number, docs/en/API.md (inference_steps) the most.
STEPS: Mapping[str, Steps] = {
    "acestep-v15-turbo": _TURBO,
    "acestep-v15-turbo-shift1": _TURBO,
    "acestep-v15-turbo-shift3": _TURBO,
    "acestep-v15-turbo-continuous": _TURBO,
    "acestep-v15-sft": _BASE,
    "acestep-v15-base": _BASE,
    "acestep-v15-xl-turbo": _TURBO,
    "acestep-v15-xl-sft": _BASE,
    "acestep-v15-xl-base": _BASE,
}

MODELS: Mapping[str, Model] = {name: Model(seconds=600.0, price=0.0) for name in STEPS}
"""`seconds` is the longest length of a song (docs/en/API.md: audio_duration)."""

LANGUAGES = (
    "ar", "az", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "hr", "ht", "hu",
    "id", "is", "it", "ja", "ko", "la", "lt", "ms", "ne", "nl", "no", "pa", "pl", "pt", "ro", "ru", "sa", "sk", "sr",
    "sv", "sw", "ta", "te", "th", "tl", "tr", "uk", "ur", "vi", "yue", "zh", "unknown",
)  # fmt: skip
"""acestep/constants.py: VALID_LANGUAGES."""

SHORTEST_SONG = 10
LONGEST_PART = 90.0
"""docs/en/Tutorial.md: a part that is painted anew has 3 to 90 s."""

MAX_SEED = 2**32 - 1
LONGEST_PROMPT, LONGEST_LYRICS = 512, 4096  # characters, docs/en/INFERENCE.md (caption, lyrics)
_KEY = re.compile(r"[A-Ga-g](?:#|b|♯|♭)?\s?(?:major|minor|maj|min|m)?", re.IGNORECASE)

_TEXT, _NOT_BLANK = (
    "allowed is a text in valid Unicode",
    "allowed is a text that is not blank, in valid Unicode",
)
ALLOWED: Mapping[str, str] = {
    **dict.fromkeys(("lyrics", "negative_prompt"), _TEXT),
    **dict.fromkeys(("prompt", "source_song_id"), _NOT_BLANK),
    "model_type": f"allowed are {', '.join(MODELS)}",
    "lyrics_type": "allowed are user, instrumental, generate",
    "mode": "allowed are regular, continuation",
    "seed": f"allowed is -1 (random) or a whole number from 0 to {MAX_SEED}",
    "duration": f"allowed is a number of seconds from {SHORTEST_SONG} to 600",
    "bpm": "allowed is a whole number from 30 to 300",
    "key_scale": "allowed is a key such as C major, F# minor or Am",
    "vocal_language": f"allowed are {', '.join(LANGUAGES)}",
    "inference_steps": "allowed is a whole number from 1 to 200",
    "batch_size": "allowed is a whole number from 1 to 8",
    "thinking": "allowed are true and false",
    "continue_at": "allowed is a number of seconds above 0",
}

# acestep/api_server.py (sample mode): the language model that invents the words sets these, whatever is asked for.
SET_WITH_THE_WORDS = ("bpm", "key_scale", "duration")
REQUIRED_OF_SOURCE: Mapping[str, str] = {
    "source_song_id": "its id",
    "continue_at": "the second of it; on the command line --at",
    "duration": "the length of the new part",
}


def check_key(text: str) -> str:
    """For a validator: the name of a key, or nothing."""
    if text and not _KEY.fullmatch(text.strip()):
        raise ValueError("not a key")
    return text.strip()
