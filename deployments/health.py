"""What a check of `songflow doctor` finds, whatever it looks at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

__all__ = ["Check", "bad", "good", "hint"]


@dataclass(frozen=True, slots=True)
class Check:
    """One part of a set-up.

    Attributes:
        part: What was looked at.
        state: "ok"; "hint" for what works but might be wanted otherwise; "bad" for what does not work.
        said: What was found.
        mend: What to do about it (None: nothing).
    """

    part: str
    state: Literal["ok", "hint", "bad"]
    said: str
    mend: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        """Plain data, for JSON."""
        return asdict(self)


def good(part: str, said: str) -> Check:
    """It works."""
    return Check(part, "ok", said)


def hint(part: str, said: str, mend: str) -> Check:
    """It works as far as it goes."""
    return Check(part, "hint", said, mend)


def bad(part: str, said: str, mend: str) -> Check:
    """It does not work."""
    return Check(part, "bad", said, mend)
