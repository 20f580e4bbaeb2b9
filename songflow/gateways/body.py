"""Read the body of an answer as text. What cannot be read is kept as it came: it may hold the id of a paid song."""

from __future__ import annotations

import base64
import codecs
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from songflow.gateways.answer import RAW_BODY
from songflow.gateways.encoding import Ending, decode_body, names_encoding

__all__ = ["Body", "raw_header", "read_body"]

_CONTROL = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f]")
_MOST_RAW_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Body:
    """A body as text.

    Attributes:
        text: Without NUL, which PostgreSQL's text does not hold (and JSON has none that is not escaped).
        truncated: There was more than the limit, or the encoded body ends too early.
        lost: The text does not hold everything that came.
    """

    text: str
    truncated: bool = False
    lost: bool = False


def read_body(raw: bytes, encoding: str, limit: int) -> Body:
    """Undo a Content-Encoding, if there really is one, and the encoding of its characters.

    Args:
        raw: The bytes that came, perhaps cut off.
        encoding: The Content-Encoding header, which may be wrong.
        limit: The most bytes of the decoded body.
    """
    if not names_encoding(encoding) or _begins_as_text(raw):
        return _as_text(raw)
    decoded = decode_body(raw, encoding, limit)
    if decoded.ending is Ending.BROKEN and not _begins_as_text(decoded.content):
        return Body(_as_text(raw).text, lost=True)
    body = _as_text(decoded.content)
    is_part = decoded.ending is not Ending.WHOLE
    return Body(body.text, is_part, body.lost or (is_part and len(decoded.content) < limit))


def _begins_as_text(raw: bytes) -> bool:
    """True if the bytes are UTF-8 without control characters (the last one may be cut): compressed data never is."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(raw)
    except UnicodeDecodeError:
        return False
    return bool(text.strip()) and _CONTROL.search(text) is None


def _as_text(content: bytes) -> Body:
    """Bytes as text: UTF-8 as it should be, or UTF-16 and UTF-32 as JSON's own rules recognise them."""
    for name in ("utf-8", json.detect_encoding(content)):
        try:
            text = content.decode(name)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return Body(text)
    return Body(content.decode("utf-8", "replace").replace("\0", "\ufffd"), lost=True)


def raw_header(raw: bytes, text: str, redact: Callable[[str], str]) -> dict[str, str]:
    """The bytes of a body that its text does not hold, for the headers of its answer; none if they hide a key."""
    came = raw[:_MOST_RAW_BYTES].decode("latin-1")
    kept = redact(came)
    spaced = kept.replace("\0", "")  # as UTF-16 spells a key
    if redact(spaced) != spaced or (kept == came and redact(text) != text):
        return {}
    return {RAW_BODY: base64.b64encode(kept.encode("latin-1", "replace")).decode("ascii")}
