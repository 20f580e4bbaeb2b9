"""Undo a Content-Encoding that was not asked for, in whatever way the other side has got it wrong.

Requests ask for identity. Gateways and song hosts behind proxies compress all the same, label what is not compressed,
or send raw deflate where zlib is meant; a body is worth money, so it is never lost by decoding it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from enum import Enum, auto

__all__ = ["Decoded", "Ending", "decode_body", "names_encoding"]

_GZIP = b"\x1f\x8b"
_PIECE_BYTES = 512
_GZIP_OR_ZLIB, _RAW_DEFLATE = zlib.MAX_WBITS | 32, -zlib.MAX_WBITS
_KNOWN = {
    "gzip": (_GZIP_OR_ZLIB, _RAW_DEFLATE),
    "x-gzip": (_GZIP_OR_ZLIB, _RAW_DEFLATE),
    "deflate": (_GZIP_OR_ZLIB, _RAW_DEFLATE),
}


class Ending(Enum):
    """How far a body could be decoded."""

    WHOLE = auto()
    CUT = auto()
    """It ends in the middle, or at the limit."""
    BROKEN = auto()
    """What follows is no compressed data."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The decoded bytes, at most as many as the limit, and how they ended."""

    content: bytes
    ending: Ending


def names_encoding(header: str) -> bool:
    """True if a Content-Encoding header names any but identity."""
    return bool(_names(header))


def decode_body(raw: bytes, header: str, limit: int) -> Decoded:
    """Decode a body as its Content-Encoding header says; BROKEN and empty if that cannot be done.

    Several gzip members follow one another, and bytes behind the last one do not matter.
    """
    content, ending = raw, Ending.WHOLE
    for name in reversed(_names(header)):
        # What begins as gzip is no raw deflate, even if some of it could be read as such.
        tried = _KNOWN.get(name, ())[: 1 if content.startswith(_GZIP) else None]
        found = [_inflate(content, bits, limit) for bits in tried]
        best = min(found, key=lambda one: (one.ending is Ending.BROKEN, -len(one.content)), default=None)
        if best is None or (best.ending is Ending.BROKEN and not best.content):
            return Decoded(b"", Ending.BROKEN)
        content = best.content
        ending = best.ending if best.ending is not Ending.WHOLE else ending
    return Decoded(content, ending)


def _names(header: str) -> list[str]:
    names = (name.strip().lower() for name in header.split(","))
    return [name for name in names if name not in ("", "identity")]


def _inflate(raw: bytes, bits: int, limit: int) -> Decoded:
    content, rest = bytearray(), raw
    while True:
        ending, rest = _inflate_member(rest, bits, limit, content)
        if ending is not Ending.WHOLE or bits == _RAW_DEFLATE or not rest.startswith(_GZIP):
            return Decoded(bytes(content), ending)


def _inflate_member(raw: bytes, bits: int, limit: int, content: bytearray) -> tuple[Ending, bytes]:
    """Append one stream's content; return how it ended, and the bytes behind it."""
    decoder = zlib.decompressobj(wbits=bits)
    for start in range(0, len(raw), _PIECE_BYTES):  # an error loses what its own piece held
        piece = raw[start : start + _PIECE_BYTES]
        while piece:
            if len(content) >= limit:
                return Ending.CUT, b""
            try:
                content += decoder.decompress(piece, limit - len(content))
            except zlib.error:
                return Ending.BROKEN, b""
            piece = decoder.unconsumed_tail
        if decoder.eof:
            return Ending.WHOLE, decoder.unused_data + raw[start + _PIECE_BYTES :]
    return Ending.CUT, b""
