"""Songs as hosts really send them: behind large tags, with stray bytes, without a length, in other containers."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable

from songflow.simulator.answers import Answer

__all__ = ["CODINGS", "FORMS", "encoded", "reshaped"]

_KBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_RATES = (44_100, 48_000, 32_000)
_BEHIND = 2048


def _split_tag(song: bytes) -> tuple[bytes, bytes]:
    """Split a song of the simulator into its ID3 tag and its frames."""
    if song[:3] != b"ID3":
        return b"", song
    size = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(song[6:10], (21, 14, 7, 0), strict=True))
    return song[:size], song[size:]


def _first_frame_bytes(frames: bytes) -> int:
    rate, padding = _RATES[frames[2] >> 2 & 3], frames[2] >> 1 & 1
    return 144_000 * _KBITS[frames[2] >> 4] // rate + padding


def _tagged(song: bytes) -> bytes:
    size = 40_000
    head = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\0\0" + head + bytes(size) + _split_tag(song)[1]


def _without_header(song: bytes) -> bytes:
    frames = _split_tag(song)[1]
    return frames[_first_frame_bytes(frames) :]


def _with_short_header(song: bytes) -> bytes:
    """State half of the frames, as two files do that were put behind one another."""
    frames = bytearray(_split_tag(song)[1])
    place = max(frames.find(b"Xing", 0, 64), frames.find(b"Info", 0, 64)) + 8
    count = int.from_bytes(frames[place : place + 4])
    frames[place : place + 4] = (count // 2).to_bytes(4)
    return bytes(frames)


def _noise(song: bytes) -> bytes:
    return random.Random(len(song)).randbytes(6000)


def _box(kind: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4) + kind + content


FORMS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "large_tag": ("audio/mpeg", _tagged),
    "leading_nul": ("audio/mpeg", lambda song: b"\0" + _split_tag(song)[1]),
    "leading_newline": ("audio/mpeg", lambda song: b"\n" + _split_tag(song)[1]),
    "trailing_zeros": ("audio/mpeg", lambda song: song + bytes(_BEHIND)),
    "no_header": ("audio/mpeg", _without_header),
    "short_header": ("audio/mpeg", _with_short_header),
    "noise": ("audio/mpeg", lambda song: b"\x07" + _noise(song)),  # no format begins so
    "m4a": ("audio/mp4", lambda song: _box(b"ftyp", b"M4A \0\0\0\0M4A ") + _box(b"mdat", _noise(song))),
    "fragmented_mp4": (
        "video/mp4",
        lambda song: _box(b"ftyp", b"iso5\0\0\2\0") + _box(b"moof", bytes(64)) + _box(b"mdat", _noise(song)),
    ),
    "aac": ("audio/aac", lambda song: b"\xff\xf1\x50\x80\x2e\x7f\xfc" + _noise(song)),
    "webm": ("audio/webm", lambda song: b"\x1aE\xdf\xa3\x9fB\x86\x81\x01" + _noise(song)),
}
"""The content type and the bytes of a song in another form; what is not mp3 has the right beginning, then noise."""


def _deflated_raw(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda body: body,
    "gzip": gzip.compress,
    "two_members": lambda body: gzip.compress(body[: len(body) // 2]) + gzip.compress(body[len(body) // 2 :]),
    "deflate": zlib.compress,
    "raw_deflate": _deflated_raw,
}
"""What a body is really encoded with, whatever its header says."""


def reshaped(song: bytes, form: str) -> tuple[str, bytes]:
    """The content type and the bytes of a song in another form."""
    content_type, change = FORMS[form]
    return content_type, change(song)


def encoded(answer: Answer, encoding: str, coding: str) -> Answer:
    """An answer with this Content-Encoding over a body in that coding."""
    body = CODINGS[coding](answer.body)
    return Answer(answer.status, body, answer.content_type, {**answer.headers, "Content-Encoding": encoding})
