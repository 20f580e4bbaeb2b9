"""ID3 tags: what we write others read, what others write we read, and nothing that a file holds can do harm."""

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

from songflow.audio.id3 import MAX_TAG_BYTES, Picture, Tag, audio_span, encode, is_mpeg_audio, read_tag
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
    """A tag around frames, as somebody else writes it."""
    return b"ID3" + bytes((version, 0, flags)) + syncsafe(len(frames) if size is None else size) + frames


def frame(name: bytes, body: bytes, *, flags: int = 0, version: int = 4, added: int = 0) -> bytes:
    """A frame; `added` is by how much its size is off."""
    size = len(body) + added
    return name + (syncsafe(size) if version == 4 else struct.pack(">I", size)) + bytes((0, flags)) + body


# --- there and back ---------------------------------------------------------------------------------------------


def test_another_reader_sees_what_was_written(audio: Callable[..., bytes]) -> None:
    """tinytag, which shares no line with ours, and libsndfile, which finds title and artist and the same samples."""
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


def test_what_another_writer_wrote_is_read(tmp_path: Path) -> None:
    """LAME puts texts that are too long for an ID3v1 tag at the head of a file."""
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
def test_every_tag_comes_back_and_what_follows_it_stays(tag: Tag, rest: bytes) -> None:
    """Whatever the texts and whatever the bytes behind them, unless they are a tag themselves."""
    assert read(encode(tag) + rest) == tag
    if rest[:3] != b"ID3" and rest[-128:-125] != b"TAG":
        assert span(encode(tag) + rest) == rest


@given(st.text())
def test_a_text_of_any_characters_is_written_as_text_that_every_reader_takes(text: str) -> None:
    """NUL would end a text, and half a character is none: both become a mark."""
    data = encode(Tag(texts={"TIT2": text}))
    expected = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    assert read(data).texts == {"TIT2": expected}
    assert 0xFF not in data


def test_a_tag_that_nobody_would_read_is_not_written() -> None:
    """Its size has 28 bits, and ours a smaller bound."""
    with pytest.raises(ValueError, match="too large"):
        encode(Tag(picture=Picture("image/png", bytes(MAX_TAG_BYTES))))


# --- what others write ------------------------------------------------------------------------------------------


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
def test_texts_come_in_four_encodings(version: int, body: bytes, text: str) -> None:
    """Broken ones too; several values are joined."""
    data = tag_of(frame(b"TIT2", body, version=version), version=version)
    assert read(data).texts == {"TIT2": text}


def test_descriptions_in_two_bytes_end_with_two() -> None:
    """A NUL may be half a character."""
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


def test_extended_headers_and_padding_are_passed_over() -> None:
    """2.4 counts the four bytes of its size, 2.3 does not."""
    title = {"TIT2": "x"}
    assert read(tag_of(syncsafe(6) + b"\1\0" + frame(b"TIT2", b"\3x") + bytes(99), flags=0x40)).texts == title
    old = struct.pack(">I", 6) + bytes(6) + frame(b"TIT2", b"\3x", version=3) + bytes(99)
    assert read(tag_of(old, version=3, flags=0x40)).texts == title
    assert read(tag_of(b"\0\0", flags=0x40)) == Tag()


@pytest.mark.parametrize(("version", "flags"), [(4, 0x08), (4, 0x04), (3, 0x80), (3, 0x40)])
def test_compressed_and_encrypted_frames_are_passed_over(version: int, flags: int) -> None:
    """Nothing is unpacked, so nothing can be a bomb; the frame behind it is read."""
    frames = frame(b"TIT2", b"\3x" * 50, flags=flags, version=version)
    frames += frame(b"TPE1", b"\3y", version=version)
    assert read(tag_of(frames, version=version)).texts == {"TPE1": "y"}


def test_the_first_of_a_kind_counts() -> None:
    """Nothing that follows can take its place."""
    lines = (b"TIT2", b"\3one"), (b"TXXX", b"\3a\0one"), (b"USLT", b"\3und\0one"), (b"COMM", b"\3und\0one")
    frames = b"".join(frame(*line) for line in lines)
    later = frames.replace(b"one", b"two") + frame(b"APIC", b"\3image/png\0\x03\0two")
    tag = read(tag_of(frames + frame(b"APIC", b"\3image/gif\0\x03\0one") + later))
    assert (tag.texts, tag.own, tag.comments) == ({"TIT2": "one"}, {"a": "one"}, {"": "one"})
    assert (tag.lyrics, tag.picture) == ("one", Picture("image/gif", b"one"))


# --- where the audio is -----------------------------------------------------------------------------------------


def test_the_audio_lies_behind_all_tags_and_before_an_old_one() -> None:
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
def test_what_is_no_tag_is_audio(head: bytes) -> None:
    """A size that is none, a version that is none, and one that claims more than the file has."""
    data = head + b"\xff\xfb\x90\x00" + bytes(50)
    assert span(data) == data
    assert read(data) == Tag()


def test_a_tag_of_another_version_is_passed_over(audio: Callable[..., bytes]) -> None:
    """2.2 has other frames; its audio is found all the same."""
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
    """Nothing but zeros stands before it."""
    assert is_mpeg_audio(io.BytesIO(data), 0) is is_audio


# --- harm -------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=400), st.sampled_from([2, 3, 4]), st.integers(0, 255), st.integers(0, 600))
def test_no_bytes_do_harm(body: bytes, version: int, flags: int, size: int) -> None:
    """Whatever stands in a tag, the answer is a tag with bounded texts."""
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
def test_no_frames_do_harm(several: list[bytes], version: int, flags: int) -> None:
    """Sizes that are wrong, flags that promise what is not there, bodies that end too early."""
    read(tag_of(b"".join(several), version=version, flags=flags))


def test_a_file_of_many_small_frames_is_read_within_bounds() -> None:
    """Frames and bytes are bounded: more are not looked at."""
    many = b"".join(frame(b"TXXX", b"\3%d\0x" % number) for number in range(6000))
    assert len(read(tag_of(many)).own) == 4096
    huge = tag_of(frame(b"TIT2", b"\3x") + bytes(MAX_TAG_BYTES))
    assert read(huge) == Tag()
    assert span(huge + b"audio") == b"audio"
