"""Types and kinds of request fields. Types are strict: a string or a bool is not a number, whatever it looks like."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Strict

__all__ = [
    "AUTO",
    "LYRICS_FIELDS",
    "FieldKind",
    "Fraction",
    "FractionOrAuto",
    "Join",
    "LyricsType",
    "NotBlank",
    "Text",
    "auto_is_none",
    "default_lyrics_type",
    "lyrics_rules",
    "one_of",
]


class FieldKind(StrEnum):
    """The kind of a field's values, for code that handles the fields of every family in the same way.

    The manifest takes its column types from it; sweeps and reports, which fields have ranges, texts or levels.
    """

    TEXT = "text"
    CHOICE = "choice"  # a text from a short list
    SWITCH = "switch"
    LEVEL = "level"  # a number from a short list
    NUMBER = "number"
    WHOLE = "whole"  # a whole number
    SEED = "seed"  # a whole number that selects one of many random results and has no order


class LyricsType(StrEnum):
    """Where the sung words come from."""

    USER = "user"
    INSTRUMENTAL = "instrumental"
    GENERATE = "generate"


LYRICS_FIELDS = frozenset({"lyrics", "lyrics_type"})
"""The fields of a request that tell what is sung."""


def default_lyrics_type(lyrics: object) -> LyricsType:
    """The type of lyrics that are given without one."""
    return LyricsType.USER if lyrics else LyricsType.GENERATE


def lyrics_rules(kind: LyricsType, lyrics: str) -> list[tuple[bool, str]]:
    """The rules of lyrics and their type: pairs of whether a rule is broken, and its text."""
    own_words = kind is LyricsType.USER
    return [
        (own_words and not lyrics.strip(), "lyrics is required with lyrics_type user"),
        (
            not own_words and bool(lyrics),
            f"lyrics is forbidden with lyrics_type {kind} (words of your own: user)",
        ),
    ]


Join = Literal["local", "gateway", "none"]
"""Who joins an extension that is only the new part with its source: this machine, the gateway, or no one."""


def one_of(*allowed: str | float) -> AfterValidator:
    """A validator that accepts only these values."""

    def check(value: Any) -> Any:
        if value not in allowed:
            raise ValueError("not one of those allowed")
        return value

    return AfterValidator(check)


def _check_not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("blank")
    return text


def _check_unicode(text: str) -> str:
    text.encode()  # a UnicodeEncodeError is a ValueError
    return text


AUTO = "auto"
"""What people write where a field is left out of the body, so that the model chooses; None in a request."""


def auto_is_none(value: Any) -> Any:
    """None for "auto", and any other value as it is."""
    return None if isinstance(value, str) and value == AUTO else value


Fraction = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]
FractionOrAuto = Annotated[Fraction | None, BeforeValidator(auto_is_none)]
Text = Annotated[str, Strict(), AfterValidator(_check_unicode)]
NotBlank = Annotated[Text, AfterValidator(_check_not_blank)]
