"""The frames of an mp3: where they are in a file and how long they last, without a decoder.

libsndfile believes the file: it stops where a Xing header says so, and without one it guesses the length from the size
and the first frame. Counting the frames tells a whole file from a part of one, and a header of our own lets libsndfile
decode all of it.

Sources: ISO/IEC 11172-3 and 13818-3 (frame headers); the Xing and VBRI headers as LAME and Fraunhofer write them.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import IO

from songflow.audio.id3 import audio_span

__all__ = ["MpegFrames", "find_frames", "is_mpeg_audio", "states_length"]

_SEARCHED_BYTES = 4096
"""How far after the tag the first frame may be: some writers do not count their padding."""

_LONGEST_GAP_BYTES = 1 << 20
_OTHER_CONTAINERS = (b"RIFF", b"FORM", b"fLaC", b"OggS", b"\x1aE\xdf\xa3")
_BLANK = b"\0 \t\r\n\xef\xbb\xbf"
_CHAIN = 3
"""So many headers in a row are no accident."""

_SYNC = re.compile(rb"\xff[\xe2-\xff]", re.DOTALL)
_BIT_RATES = {  # kbit/s by (MPEG 1?, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MPEG_1, _LAYER_3, _MONO = 3, 3, 3


@dataclass(frozen=True, slots=True)
class _Header:
    """One frame's header: `kind` is what all frames of a file have in common."""

    kind: tuple[int, int, int]
    length: int
    samples: int
    rate: int


@functools.lru_cache(maxsize=4096)
def _header(second: int, third: int) -> _Header | None:
    """The header with these bytes after 0xFF; None if it is none, or of a free bit rate, which has no length."""
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    bit_rate, sample_rate = third >> 4, third >> 2 & 3
    if second >> 5 != 7 or version == 1 or layer == 4 or bit_rate in (0, 15) or sample_rate == 3:
        return None
    is_first = version == _MPEG_1
    bits, rate = _BIT_RATES[is_first, layer][bit_rate - 1] * 1000, _SAMPLE_RATES[version][sample_rate]
    padding = third >> 1 & 1
    kind = (version, layer, sample_rate)
    if layer == 1:
        return _Header(kind, (12 * bits // rate + padding) * 4, 384, rate)
    samples = 1152 if is_first or layer == 2 else 576
    return _Header(kind, samples // 8 * bits // rate + padding, samples, rate)


def _header_at(data: bytes, place: int) -> _Header | None:
    head = data[place : place + 3]
    return _header(head[1], head[2]) if len(head) == 3 and head[0] == 0xFF else None


@dataclass(frozen=True, slots=True)
class MpegFrames:
    """The frames of a file, without those of a Xing or VBRI header.

    Attributes:
        runs: Byte ranges of frames that follow one another.
        seconds: How long they last.
        stated_seconds: The length that the file's own header states; None without one.
        gap_bytes: Bytes between frames that are no audio.
        cut: The last frame is not complete.
        tidy: A decoder that believes the file reads all of it.
        is_layer_3: It is an mp3, and not one of its forerunners, which have no header that states a length.
    """

    runs: tuple[tuple[int, int], ...]
    seconds: float
    stated_seconds: float | None
    gap_bytes: int
    cut: bool
    tidy: bool
    is_layer_3: bool

    def with_own_header(self, data: bytes) -> bytes:
        """The frames behind a header that states their number; `data` is the whole file."""
        first = self.runs[0][0]
        header = _header_at(data, first)
        assert header is not None, "runs begin with a frame"
        frames = round(self.seconds * header.rate / header.samples)
        parts = [data[start:end] for start, end in self.runs]
        return b"".join((_counting_frame(data[first : first + 4], frames), *parts))


def is_mpeg_audio(file: IO[bytes], start: int) -> bool:
    """True if MPEG audio begins at `start`, or after a few bytes that are none."""
    file.seek(start)
    head = file.read(2 * _SEARCHED_BYTES)
    return _first_frame(head, 0) is not None or _has_free_bit_rate(head.lstrip(_BLANK)[:3])


def _has_free_bit_rate(three: bytes) -> bool:
    return (
        len(three) == 3
        and three[0] == 0xFF
        and not three[2] >> 4
        and bool(_header(three[1], three[2] | 0x10))
    )


def states_length(file: IO[bytes]) -> bool:
    """True if the file's first frame is a header that states a length, read from its head alone."""
    start, _ = audio_span(file)
    file.seek(start)
    head = file.read(2 * _SEARCHED_BYTES)
    return _first_frame(head, 0) == 0 and bool(_stated_frames(head, 0))


def find_frames(file: IO[bytes]) -> MpegFrames | None:
    """The frames of a file; None if it is not MPEG audio (or of a free bit rate).

    Raises:
        OSError: it cannot be read.
    """
    start, end = audio_span(file)
    file.seek(start)
    if _first_frame(file.read(2 * _SEARCHED_BYTES), 0) is None:
        return None
    file.seek(0)
    return _scan(file.read(end), start)


def _scan(data: bytes, start: int) -> MpegFrames | None:
    first = _first_frame(data, start)
    header = None if first is None else _header_at(data, first)
    if first is None or header is None:
        return None
    stated = _stated_frames(data, first)
    place = first if stated is None else first + header.length
    runs, count, gaps, end = [], 0, 0, len(data)
    while True:
        stop, more = _run(data, place, header.kind)
        count += more
        if more:
            runs.append((place, stop))
        found = _next_frame(data, stop, header.kind) if stop < end else None
        if found is None:
            break
        gaps, place = gaps + found - stop, found
    last = _header_at(data, stop)
    frames = stated or None
    if count < _CHAIN:
        return None
    return MpegFrames(
        tuple(runs),
        seconds=count * header.samples / header.rate,
        stated_seconds=None if frames is None else frames * header.samples / header.rate,
        gap_bytes=gaps,
        cut=last is not None and last.kind == header.kind,
        tidy=first == start and frames is not None and abs(frames - count) <= 1 and not gaps,
        is_layer_3=header.kind[1] == _LAYER_3,
    )


def _run(data: bytes, place: int, kind: tuple[int, int, int]) -> tuple[int, int]:
    """Where the complete frames that follow one another from `place` end, and how many they are."""
    count, end = 0, len(data)
    while place + 4 <= end and data[place] == 0xFF:
        header = _header(data[place + 1], data[place + 2])
        if header is None or header.kind != kind or place + header.length > end:
            break
        place += header.length
        count += 1
    return place, count


def _next_frame(data: bytes, place: int, kind: tuple[int, int, int]) -> int | None:
    """The next frame of this kind that two more follow, within a limit."""
    for found in _SYNC.finditer(data, place, min(len(data), place + _LONGEST_GAP_BYTES)):
        header = _header_at(data, found.start())
        if header is not None and header.kind == kind and _is_chain(data, found.start(), _CHAIN):
            return found.start()
    return None


def _first_frame(data: bytes, start: int) -> int | None:
    """The place of the first frame. After bytes that are not blank, a single header proves nothing."""
    head = data[start : start + _SEARCHED_BYTES]
    if head.startswith(_OTHER_CONTAINERS):
        return None
    for found in _SYNC.finditer(head):
        place = start + found.start()
        blank = not head[: found.start()].strip(_BLANK)
        if _header_at(data, place) is not None and (blank or _is_chain(data, place, _CHAIN)):
            return place
    return None


def _is_chain(data: bytes, place: int, links: int) -> bool:
    """True if so many frames of one kind follow one another from `place`."""
    kind = None
    for _ in range(links):
        header = _header_at(data, place)
        if header is None or kind not in (None, header.kind):
            return False
        kind, place = header.kind, place + header.length
    return True


def _side_info_bytes(four: bytes) -> int:
    is_first, is_mono = four[1] >> 3 & 3 == _MPEG_1, four[3] >> 6 == _MONO
    return (17 if is_mono else 32) if is_first else (9 if is_mono else 17)


def _stated_frames(data: bytes, first: int) -> int | None:
    """The number of frames in a Xing or VBRI header; 0 in one without a number, None without a header."""
    four = data[first : first + 4]
    if len(four) < 4 or _header_at(data, first) is None or 4 - (four[1] >> 1 & 3) != _LAYER_3:
        return None
    checksum = 0 if four[1] & 1 else 2
    for skipped in (checksum, 0):  # some writers leave the checksum's bytes out
        place = first + 4 + skipped + _side_info_bytes(four)
        if data[place : place + 4] in (b"Xing", b"Info"):
            has_frames = int.from_bytes(data[place + 4 : place + 8]) & 1
            return int.from_bytes(data[place + 8 : place + 12]) if has_frames else 0
    place = first + 36
    return int.from_bytes(data[place + 14 : place + 18]) if data[place : place + 4] == b"VBRI" else None


def _counting_frame(four: bytes, frames: int) -> bytes:
    """A silent frame like the one with this header, that states a number of frames."""
    # Without a checksum and padding, at a bit rate of which every frame has room for the header.
    head = bytes((0xFF, four[1] | 1, four[2] & 0x0C | 0x90, four[3]))
    header = _header(head[1], head[2])
    assert header is not None, "only a bit rate differs from a frame that was found"
    frame = head + bytes(_side_info_bytes(head)) + b"Info" + (1).to_bytes(4) + frames.to_bytes(4)
    return frame.ljust(header.length, b"\0")
