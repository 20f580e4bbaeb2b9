"""Results of the checks of `songflow doctor`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

__all__ = ["Check", "bad", "good", "hint"]


@dataclass(frozen=True, slots=True)
class Check:
    """The result of checking one part of an installation.

    Attributes:
        part: The part that was checked.
        state: "ok"; "hint" if it works and could be improved; "bad" if it does not work.
        said: The finding.
        mend: How to correct it (None: nothing to do).
    """

    part: str
    state: Literal["ok", "hint", "bad"]
    said: str
    mend: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        """Plain data, for JSON."""
        return asdict(self)


def good(part: str, said: str) -> Check:
    """A check that passed."""
    return Check(part, "ok", said)


def hint(part: str, said: str, mend: str) -> Check:
    """A check that passed, with advice."""
    return Check(part, "hint", said, mend)


def bad(part: str, said: str, mend: str) -> Check:
    """A check that failed."""
    return Check(part, "bad", said, mend)
