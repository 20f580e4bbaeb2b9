"""ID3 tags: a small writer of ID3v2.4, and a reader of 2.3 and 2.4 that is safe for untrusted files.

The writer supports text frames, TXXX, COMM, USLT and APIC, in UTF-8 with syncsafe sizes and without unsynchronisation:
UTF-8 has no byte 0xFF, and readers skip a picture by its size. The reader supports the same frames, including
unsynchronised ones, and skips compressed and encrypted frames.

Source: the informal standards id3v2.4.0-structure, id3v2.4.0-frames and id3v2.3.0 (id3.org).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO

__all__ = ["Picture", "Tag", "audio_span", "encode", "read_tag"]

MAX_TAG_BYTES = 16 * 1024 * 1024
"""Larger tags are skipped."""

_MAX_FRAMES = 4096
_MAX_TAGS = 64
_HEADER = 10
_ID3V1 = 128
_TAG_UNSYNCHRONISED, _TAG_EXTENDED, _TAG_FOOTER = 0x80, 0x40, 0x10
_FRONT_COVER = 3
_UTF_8 = b"\x03"
_ENCODINGS = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}
_FRAME_ID = re.compile(rb"[A-Z][A-Z0-9]{3}")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and its MIME type."""

    mime: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Tag:
    """Content of a tag. Texts contain no NUL, which separates values in the file.

    Attributes:
        texts: Text frames by their id, such as TIT2 (title) or TPE1 (artist).
        own: User texts (TXXX) by their description.
        comments: Comments (COMM) by their description.
        lyrics: Unsynchronised lyrics (USLT).
        picture: The front cover (APIC).
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, str] = field(default_factory=dict)
    comments: Mapping[str, str] = field(default_factory=dict)
    lyrics: str | None = None
    picture: Picture | None = None


# --- writing ----------------------------------------------------------------------------------------------------


def encode(tag: Tag) -> bytes:
    """Encode a tag for the head of a file.

    Raises:
        ValueError: it is larger than `MAX_TAG_BYTES`.
    """
    frames = b"".join(_frames(tag))
    if len(frames) > MAX_TAG_BYTES:
        raise ValueError(f"a tag of {len(frames)} bytes is too large")
    return b"ID3\x04\x00\x00" + _syncsafe(len(frames)) + frames


def _frames(tag: Tag) -> Iterator[bytes]:
    for name, text in tag.texts.items():
        yield _frame(name, _UTF_8 + _plain(text))
    for description, text in tag.own.items():
        yield _frame("TXXX", _UTF_8 + _plain(description) + b"\0" + _plain(text))
    for description, text in tag.comments.items():
        yield _frame("COMM", _UTF_8 + b"und" + _plain(description) + b"\0" + _plain(text))
    if tag.lyrics is not None:
        yield _frame("USLT", _UTF_8 + b"und\0" + _plain(tag.lyrics))
    if tag.picture is not None:
        mime = tag.picture.mime.encode("latin-1")
        yield _frame("APIC", _UTF_8 + mime + b"\0" + bytes([_FRONT_COVER]) + b"\0" + tag.picture.data)


def _frame(name: str, body: bytes) -> bytes:
    return name.encode("ascii") + _syncsafe(len(body)) + b"\0\0" + body


def _plain(text: str) -> bytes:
    return text.replace("\0", "\ufffd").encode("utf-8", "replace")


def _syncsafe(number: int) -> bytes:
    """28 bits in four bytes whose highest bits are unset, so that no decoder mistakes them for audio."""
    return bytes((number >> shift) & 0x7F for shift in (21, 14, 7, 0))


# --- locating the audio -----------------------------------------------------------------------------------------


def audio_span(file: IO[bytes]) -> tuple[int, int]:
    """Byte offsets of the audio: after all leading ID3v2 tags, before an ID3v1 tag at the end.

    A tag that claims more bytes than the file has does not count as one.
    """
    size = file.seek(0, os.SEEK_END)
    start = 0
    for _ in range(_MAX_TAGS):
        header = _header_at(file, start)
        if header is None or start + header.total > size:
            break
        start += header.total
    file.seek(max(start, size - _ID3V1))
    return start, size - _ID3V1 if file.read(3) == b"TAG" and size - start >= _ID3V1 else size


# --- reading ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Header:
    version: int
    flags: int
    size: int

    @property
    def total(self) -> int:
        """Bytes including the header, and the footer if there is one."""
        return _HEADER + self.size + (_HEADER if self.version == 4 and self.flags & _TAG_FOOTER else 0)


def read_tag(file: IO[bytes]) -> Tag:
    """Read the tag at the head of a file; an empty one if there is no readable tag. Never raises.

    The first of several frames of one kind and description counts; several values of a text are joined.
    """
    header = _header_at(file, 0)
    if header is None or header.version not in (3, 4) or header.size > MAX_TAG_BYTES:
        return Tag()
    data = file.read(header.size)
    unsynchronised = bool(header.flags & _TAG_UNSYNCHRONISED)
    if unsynchronised and header.version == 3:
        data = _synchronised(data)
    if header.flags & _TAG_EXTENDED:
        data = data[_extended_size(data, header.version) :]
    reader = _Reader()
    for name, body in _frames_in(data, header.version, unsynchronised):
        reader.take(name, body)
    return Tag(reader.texts, reader.own, reader.comments, reader.lyrics, reader.picture)


def _header_at(file: IO[bytes], place: int) -> _Header | None:
    file.seek(place)
    head = file.read(_HEADER)
    if len(head) < _HEADER or head[:3] != b"ID3" or 0xFF in head[3:5] or max(head[6:]) > 0x7F:
        return None
    return _Header(head[3], head[5], _from_syncsafe(head[6:]))


def _from_syncsafe(four: bytes) -> int:
    return (
        int.from_bytes(four) if max(four) > 0x7F else four[0] << 21 | four[1] << 14 | four[2] << 7 | four[3]
    )


def _synchronised(data: bytes) -> bytes:
    return data.replace(b"\xff\x00", b"\xff")


def _extended_size(data: bytes, version: int) -> int:
    if len(data) < 4:
        return len(data)
    # Only 2.4 includes the four bytes of the size itself.
    return _from_syncsafe(data[:4]) if version == 4 else 4 + int.from_bytes(data[:4])


def _frames_in(data: bytes, version: int, unsynchronised: bool) -> Iterator[tuple[str, bytes]]:
    place = 0
    for _ in range(_MAX_FRAMES):
        head = data[place : place + _HEADER]
        if len(head) < _HEADER or not _FRAME_ID.fullmatch(head[:4]):
            return  # padding, or garbage
        size = _from_syncsafe(head[4:8]) if version == 4 else int.from_bytes(head[4:8])
        body = data[place + _HEADER : place + _HEADER + size]
        place += _HEADER + size
        plain = _unpacked_body(body, head[9], version, unsynchronised)
        if plain is not None:
            yield head[:4].decode("ascii"), plain


def _unpacked_body(body: bytes, flags: int, version: int, unsynchronised: bool) -> bytes | None:
    """A frame's body without the extra bytes its flags announce; None if it is compressed or encrypted."""
    packed, grouped = (0x0C, 0x40) if version == 4 else (0xC0, 0x20)
    if flags & packed:
        return None
    skipped = 1 if flags & grouped else 0
    if version == 4:
        skipped += 4 * (flags & 0x01)
        if unsynchronised or flags & 0x02:
            body = body[:skipped] + _synchronised(body[skipped:])
    return body[skipped:]


class _Reader:
    """Collects the content of frames."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.own: dict[str, str] = {}
        self.comments: dict[str, str] = {}
        self.lyrics: str | None = None
        self.picture: Picture | None = None

    def take(self, name: str, body: bytes) -> None:
        """Add a frame; unsupported ones are skipped."""
        if not body or body[0] not in _ENCODINGS:
            return
        encoding, content = body[0], body[1:]
        if name == "TXXX":
            description, text = _split(content, encoding)
            self.own.setdefault(_text(description, encoding), _text(text, encoding))
        elif name.startswith("T"):
            self.texts.setdefault(name, _text(content, encoding))
        elif name in ("COMM", "USLT"):
            description, text = _split(content[3:], encoding)
            if name == "COMM":
                self.comments.setdefault(_text(description, encoding), _text(text, encoding))
            elif self.lyrics is None:
                self.lyrics = _text(text, encoding)
        elif name == "APIC" and self.picture is None:
            mime, _, rest = content.partition(b"\0")
            _, data = _split(rest[1:], encoding)
            self.picture = Picture(mime.decode("latin-1"), data)


def _split(content: bytes, encoding: int) -> tuple[bytes, bytes]:
    """Split a description from the bytes after its terminator."""
    if encoding in (0, 3):
        description, _, rest = content.partition(b"\0")
        return description, rest
    for place in range(0, len(content) - 1, 2):
        if content[place : place + 2] == b"\0\0":
            return content[:place], content[place + 2 :]
    return content, b""


def _text(content: bytes, encoding: int) -> str:
    name = _ENCODINGS[encoding]
    if name == "utf-16" and content[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        name = "utf-16-le"  # the byte order mark is missing, or only the description has one
    values = content.decode(name, "replace").rstrip("\0").split("\0")
    return "; ".join(value.removeprefix("\ufeff") if encoding == 1 else value for value in values)
