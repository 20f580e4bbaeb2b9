"""ID3 tags: compatible with other readers and writers, and safe for untrusted files."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st
from tinytag import TinyTag

from songflow.audio.id3 import MAX_TAG_BYTES, Picture, Tag, audio_span, encode, read_tag
from songflow.audio.mpeg import is_mpeg_audio
from songflow.simulator.synth.codec import write_mp3

FULL = Tag(
    texts={"TIT2": "Häuser \u202eim Regen 🎻", "TPE1": "Nobody"},
    own={"songflow": '{"a":1}', "another one": "two\nlines"},
    comments={"": "made by a machine"},
    lyrics="La la\nlò",
    picture=Picture("image/png", b"\x89PNG\r\n\x1a\n" + b"\xff\xe0\xff\x00" * 9),
)


def read(data: bytes) -> Tag:
    """The tag at the head of some bytes."""
    return read_tag(io.BytesIO(data))


def span(data: bytes) -> bytes:
    """The audio of some bytes."""
    start, end = audio_span(io.BytesIO(data))
    return data[start:end]


def syncsafe(number: int) -> bytes:
    """28 bits in four bytes."""
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def tag_of(frames: bytes, *, version: int = 4, flags: int = 0, size: int | None = None) -> bytes:
    """A tag around frames, as other programs write it."""
    return b"ID3" + bytes((version, 0, flags)) + syncsafe(len(frames) if size is None else size) + frames


def frame(name: bytes, body: bytes, *, flags: int = 0, version: int = 4, added: int = 0) -> bytes:
    """A frame; `added` is an error of its size."""
    size = len(body) + added
    return name + (syncsafe(size) if version == 4 else struct.pack(">I", size)) + bytes((0, flags)) + body


# --- round trips ---------------------------------------------------------------------------------------------


def test_other_readers_read_our_tags(audio: Callable[..., bytes]) -> None:
    """tinytag, and libsndfile, which finds title, artist and the same samples."""
    plain = audio()
    data = encode(FULL) + plain
    tag = TinyTag.get(filename="song.mp3", file_obj=io.BytesIO(data), image=True)
    assert (tag.title, tag.artist, tag.comment) == (FULL.texts["TIT2"], "Nobody", "made by a machine")
    assert tag.other["songflow"] == ['{"a":1}']
    assert tag.other["another one"] == ["two\nlines"]
    assert tag.other["lyrics"] == [FULL.lyrics]
    front = tag.images.front_cover
    assert front is not None
    assert (front.mime_type, front.data) == ("image/png", FULL.picture.data)
    with soundfile.SoundFile(io.BytesIO(data)) as file, soundfile.SoundFile(io.BytesIO(plain)) as bare:
        assert (file.title, file.artist) == (FULL.texts["TIT2"], "Nobody")
        assert (file.read() == bare.read()).all()


def test_tags_of_other_writers_are_read(tmp_path: Path) -> None:
    """LAME writes texts too long for ID3v1 at the head of a file."""
    path, title = tmp_path / "song.mp3", "Houses in the rain, and more than thirty characters"
    write_mp3(path, np.zeros((44_100, 2), np.float32), title=title, artist="me", comment="a comment")
    tag = read(path.read_bytes())
    assert tag.texts["TIT2"] == title
    assert "a comment" in tag.comments.values()


plain_texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
tags = st.builds(
    Tag,
    st.dictionaries(st.from_regex(r"\AT[A-W][A-Z][0-9]\Z"), plain_texts, max_size=5),
    st.dictionaries(plain_texts, plain_texts, max_size=5),
    st.dictionaries(plain_texts, plain_texts, max_size=3),
    st.none() | plain_texts,
    st.none() | st.builds(Picture, st.sampled_from(["image/png", "image/jpeg"]), st.binary()),
)


@given(tags, st.binary())
@example(FULL, b"")
def test_every_tag_is_read_back_and_the_audio_is_unchanged(tag: Tag, rest: bytes) -> None:
    """For any texts and any bytes after the tag that are not a tag themselves."""
    assert read(encode(tag) + rest) == tag
    if rest[:3] != b"ID3" and rest[-128:-125] != b"TAG":
        assert span(encode(tag) + rest) == rest


@given(st.text())
def test_texts_of_any_characters_are_valid_in_the_tag(text: str) -> None:
    """NUL and lone surrogates are replaced."""
    data = encode(Tag(texts={"TIT2": text}))
    expected = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    assert read(data).texts == {"TIT2": expected}
    assert 0xFF not in data


def test_a_tag_that_is_too_large_is_not_written() -> None:
    """The format allows 28 bits, and our limit is smaller."""
    with pytest.raises(ValueError, match="too large"):
        encode(Tag(picture=Picture("image/png", bytes(MAX_TAG_BYTES))))


# --- tags of other writers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"\x00Caf\xe9", "Café"),
        (b"\x01" + "Café".encode("utf-16"), "Café"),
        (b"\x01\xfe\xff" + "Café".encode("utf-16-be"), "Café"),
        (b"\x01" + "Café".encode("utf-16-le"), "Café"),
        (b"\x02" + "Café".encode("utf-16-be"), "Café"),
        (b"\x03Caf\xc3\xa9\x00", "Café"),
        (b"\x03one\x00two\x00", "one; two"),
        (b"\x03\xff\xfe\xfa", "\ufffd\ufffd\ufffd"),
        (b"\x03", ""),
    ],
)
@pytest.mark.parametrize("version", [3, 4])
def test_texts_have_four_encodings(version: int, body: bytes, text: str) -> None:
    """Broken ones too; several values are joined."""
    data = tag_of(frame(b"TIT2", body, version=version), version=version)
    assert read(data).texts == {"TIT2": text}


def test_two_byte_descriptions_end_with_two_zeros() -> None:
    """A single NUL may be part of a character."""
    name, text = "\u0100\u0101".encode("utf-16"), "x\u0100".encode("utf-16")
    frames = frame(b"TXXX", b"\x01" + name + b"\0\0" + text) + frame(b"TXXX", b"\x01" + name)
    assert read(tag_of(frames)).own == {"\u0100\u0101": "x\u0100"}


def test_unsynchronised_frames_are_read() -> None:
    """By the tag's flag in 2.3, by the tag's or the frame's in 2.4, a length indicator and a group in between."""
    body = b"\x00\xff\xe0\xff\x00"
    spread = body.replace(b"\xff", b"\xff\x00")
    picture = b"\0image/png\0\x03\0" + body
    wide = picture.replace(b"\xff", b"\xff\x00")
    third = frame(b"APIC", picture, version=3).replace(b"\xff", b"\xff\x00")
    assert read(tag_of(third, version=3, flags=0x80)).picture == Picture("image/png", body)
    assert read(tag_of(frame(b"APIC", wide), flags=0x80)).picture == Picture("image/png", body)
    assert read(tag_of(frame(b"APIC", wide, flags=0x02))).picture == Picture("image/png", body)
    counted = frame(b"APIC", b"G" + syncsafe(len(picture)) + wide, flags=0x43)
    assert read(tag_of(counted)).picture == Picture("image/png", body)
    assert spread in wide


def test_extended_headers_and_padding_are_skipped() -> None:
    """2.4 counts the four bytes of its size, 2.3 does not."""
    title = {"TIT2": "x"}
    assert read(tag_of(syncsafe(6) + b"\1\0" + frame(b"TIT2", b"\3x") + bytes(99), flags=0x40)).texts == title
    old = struct.pack(">I", 6) + bytes(6) + frame(b"TIT2", b"\3x", version=3) + bytes(99)
    assert read(tag_of(old, version=3, flags=0x40)).texts == title
    assert read(tag_of(b"\0\0", flags=0x40)) == Tag()


@pytest.mark.parametrize(("version", "flags"), [(4, 0x08), (4, 0x04), (3, 0x80), (3, 0x40)])
def test_compressed_and_encrypted_frames_are_skipped(version: int, flags: int) -> None:
    """Nothing is decompressed, which excludes bombs; the next frame is read."""
    frames = frame(b"TIT2", b"\3x" * 50, flags=flags, version=version)
    frames += frame(b"TPE1", b"\3y", version=version)
    assert read(tag_of(frames, version=version)).texts == {"TPE1": "y"}


def test_the_first_frame_of_a_kind_counts() -> None:
    """Later ones do not replace it."""
    lines = (b"TIT2", b"\3one"), (b"TXXX", b"\3a\0one"), (b"USLT", b"\3und\0one"), (b"COMM", b"\3und\0one")
    frames = b"".join(frame(*line) for line in lines)
    later = frames.replace(b"one", b"two") + frame(b"APIC", b"\3image/png\0\x03\0two")
    tag = read(tag_of(frames + frame(b"APIC", b"\3image/gif\0\x03\0one") + later))
    assert (tag.texts, tag.own, tag.comments) == ({"TIT2": "one"}, {"a": "one"}, {"": "one"})
    assert (tag.lyrics, tag.picture) == ("one", Picture("image/gif", b"one"))


# --- locating the audio -----------------------------------------------------------------------------------------


def test_the_audio_is_between_leading_tags_and_an_id3v1_tag() -> None:
    """Two tags in a row, one with a footer, and an ID3v1 tag at the end."""
    body = b"\xff\xfb\x90\x00" + bytes(500)
    footer = tag_of(frame(b"TIT2", b"\3x"), flags=0x10) + bytes(10)
    old = b"TAG" + bytes(125)
    assert span(footer + encode(FULL) + body + old) == body
    assert span(body) == body
    assert span(old) == b""
    assert span(b"") == b""


@pytest.mark.parametrize(
    "head",
    [
        b"ID3",
        b"ID3\x04\x00\x00\x80\x00\x00\x00",
        b"ID3\xff\x00\x00\x00\x00\x00\x00",
        tag_of(b"", size=1 << 27),
        b"id3\x04\x00\x00\x00\x00\x00\x00",
    ],
)
def test_invalid_tags_count_as_audio(head: bytes) -> None:
    """An invalid size, an invalid version, and a size larger than the file."""
    data = head + b"\xff\xfb\x90\x00" + bytes(50)
    assert span(data) == data
    assert read(data) == Tag()


def test_a_tag_of_another_version_is_skipped(audio: Callable[..., bytes]) -> None:
    """2.2 has other frames; its audio is still found."""
    data = tag_of(b"TT2\0\0\2\0x", version=2) + audio()
    assert read(data) == Tag()
    assert span(data) == audio()


@pytest.mark.parametrize(
    ("data", "is_audio"),
    [
        (b"\xff\xfb\x90\x00", True),
        (bytes(2000) + b"\xff\xfb\x90\x00", True),
        (bytes(5000) + b"\xff\xfb\x90\x00", False),
        (b"RIFF" + b"\xff\xfb\x90\x00", False),
        (b"\xff\xf1\x50\x80", False),  # AAC
        (b"\xff\xff\xff\xff" * 20, False),
        (b"\xff", False),
        (b"", False),
    ],
)
def test_mpeg_audio_begins_with_a_frame(data: bytes, is_audio: bool) -> None:
    """Only zeros may precede it."""
    assert is_mpeg_audio(io.BytesIO(data), 0) is is_audio


# --- untrusted files ------------------------------------------------------------------------------------------


@given(st.binary(max_size=400), st.sampled_from([2, 3, 4]), st.integers(0, 255), st.integers(0, 600))
def test_any_bytes_are_read_safely(body: bytes, version: int, flags: int, size: int) -> None:
    """The result is always a tag with bounded texts."""
    tag = read(tag_of(body, version=version, flags=flags, size=size))
    found = [*tag.texts.values(), *tag.own.values(), *tag.comments.values(), tag.lyrics or ""]
    assert sum(map(len, found)) <= len(body)


frames = st.builds(
    frame,
    st.sampled_from([b"TIT2", b"TXXX", b"COMM", b"USLT", b"APIC", b"WOAF", b"ZZZZ"]),
    st.binary(max_size=40),
    flags=st.integers(0, 255),
    added=st.integers(0, 50),
)


@given(st.lists(frames, max_size=6), st.sampled_from([3, 4]), st.integers(0, 255))
def test_any_frames_are_read_safely(several: list[bytes], version: int, flags: int) -> None:
    """Wrong sizes, wrong flags, truncated bodies."""
    read(tag_of(b"".join(several), version=version, flags=flags))


def test_the_number_of_frames_is_bounded() -> None:
    """As is the size of a tag: the rest is ignored."""
    many = b"".join(frame(b"TXXX", b"\3%d\0x" % number) for number in range(6000))
    assert len(read(tag_of(many)).own) == 4096
    huge = tag_of(frame(b"TIT2", b"\3x") + bytes(MAX_TAG_BYTES))
    assert read(huge) == Tag()
    assert span(huge + b"audio") == b"audio"
