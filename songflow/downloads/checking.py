"""Check a file that came whole: is it a song, and is it all of it?

Three answers: nothing speaks against it; something cannot be verified (a *doubt*: another transfer may bring more, and
the same again is what there is); or it is no song at all but a page, which a host sends in place of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from songflow.audio.checksums import sha256_of
from songflow.audio.decoding import AudioFacts, AudioProblem, doubt_of, measure, remark_of
from songflow.documents.text import joined_notes

__all__ = ["Checked", "PageFound", "check_file"]

_HEAD_BYTES = 4096
_MARKUP = (b"<", b"{", b"[")
# Bytes that no text has: without white space, and the escape by which ISO-2022 changes its set of characters.
_CONTROLS = frozenset(range(0x20)) - frozenset(b"\t\n\v\f\r\x1b")


class PageFound(Exception):
    """A text, or nothing, came in place of a song."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that may be a song.

    Attributes:
        facts: Its measures; None if it cannot be decoded here.
        doubt: What could not be verified.
        remark: What else is worth a note.
        mark: The same for two files with the same sound.
    """

    facts: AudioFacts | None
    doubt: str | None
    remark: str | None
    mark: str

    @property
    def note(self) -> str | None:
        """The doubt and the remark for the song's row."""
        unverified = self.doubt and f"could not be verified: {self.doubt}"
        return joined_notes(unverified, self.remark)


def check_file(path: Path, announced_seconds: float | None) -> Checked:
    """Decode a file to its end and compare its length with what its frames, its header and the gateway state.

    Raises:
        PageFound: it is no song.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    try:
        facts = measure(path)
    except AudioProblem as problem:
        if _is_page(head):
            raise PageFound(f"{problem}; its host sent {_kind_of(head)}") from None
        return Checked(None, str(problem), None, sha256_of(path))
    mark = f"{facts.seconds} s, {facts.peak}, {facts.rms_db} dB"
    return Checked(facts, doubt_of(facts, announced_seconds), remark_of(facts, announced_seconds), mark)


def _is_page(head: bytes) -> bool:
    """True for an empty file, one of zeros, and a text.

    Markup may be in any encoding; sound that begins with the same byte has bytes that no text has.
    """
    if not head.strip(b"\0"):
        return True
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(_MARKUP) and not _CONTROLS.intersection(head):
        return True
    # The head may end in the middle of a character.
    text = head.decode("utf-8", "replace").removesuffix("\ufffd")
    return all(character.isprintable() or character.isspace() for character in text) and "\ufffd" not in text


def _kind_of(head: bytes) -> str:
    return "a text" if head.strip(b"\0") else "nothing"
