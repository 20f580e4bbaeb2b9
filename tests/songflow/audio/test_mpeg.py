"""The frames of an mp3: counted without a decoder, and decoded to their end whatever the file states."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from songflow.audio.decoding import doubt_of, measure, read_samples
from songflow.audio.measures import measure_song
from songflow.audio.mpeg import find_frames, is_mpeg_audio, states_length


def tag(size: int) -> bytes:
    return b"ID3\x04\0\0" + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(size)


def frames_of(data: bytes) -> bytes:
    """A file without its first frame, which holds the Xing header."""
    found = find_frames(io.BytesIO(data))
    assert found is not None
    return data[found.runs[0][0] :]


def written(folder: Path, data: bytes) -> Path:
    path = folder / "song.mp3"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
def test_the_frames_say_how_long_a_file_is(mp3: Any, mode: str) -> None:
    """With a header that agrees, nothing has to be mended."""
    found = find_frames(io.BytesIO(mp3(10.0, mode=mode)))
    assert found is not None
    assert (found.seconds, found.stated_seconds) == (pytest.approx(10.0, abs=0.1), found.seconds)
    assert (found.tidy, found.cut, found.gap_bytes) == (True, False, 0)


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
@pytest.mark.parametrize(
    ("form", "seconds", "doubt"),
    [
        ("tag", 10.0, None),
        ("two tags", 10.0, None),
        ("nul", 10.0, None),
        ("text", 10.0, None),
        ("zeros", 10.0, None),
        ("ape", 10.0, None),
        ("id3v1", 10.0, None),
        ("headerless", 10.0, None),
        ("headerless behind a tag", 10.0, None),
        ("joined", 15.0, None),
        ("hole", 10.0, "bytes inside it are no audio"),
        ("cut", 5.0, "its last frame is cut"),
    ],
)
def test_stray_bytes_and_wrong_headers_do_not_change_what_is_decoded(
    tmp_path: Path, mp3: Any, mode: str, form: str, seconds: float, doubt: str | None
) -> None:
    """libsndfile alone would read 1.5 s of a variable bit rate without a header, or nothing behind a NUL."""
    song, bare = mp3(10.0, mode=mode), frames_of(mp3(10.0, mode=mode))
    data = {
        "tag": tag(40_000) + song,
        "two tags": tag(300) + tag(40_000) + song,
        "nul": b"\0" + song,
        "text": b"\xef\xbb\xbf 200 OK \r\n" + song,
        "zeros": song + bytes(2048),
        "ape": song + b"APETAGEX" + b"x" * 3000,
        "id3v1": song + b"TAG" + b"x" * 125,
        "headerless": bare,
        "headerless behind a tag": tag(40_000) + bare,
        "joined": song + mp3(5.0, mode=mode),
        "hole": bare[:20_000] + b"no audio" * 200 + bare[20_000:],
        "cut": bare[: len(bare) // 2 + 50],
    }[form]
    path = written(tmp_path, data)
    found = measure(path)
    assert found.seconds == pytest.approx(seconds, abs=0.2)
    assert found.peak == pytest.approx(0.4, abs=0.1)
    assert (doubt or "None") in str(doubt_of(found, None))
    samples, rate = read_samples(path)
    assert len(samples) / rate == found.seconds
    assert measure_song(str(path)).centroid_hz == pytest.approx(440.0, rel=0.2)


@pytest.mark.parametrize(
    ("rate", "channels"), [(8000, 2), (16_000, 1), (22_050, 1), (24_000, 2), (32_000, 1), (48_000, 2)]
)
def test_all_sample_rates_are_counted(tmp_path: Path, rate: int, channels: int) -> None:
    """MPEG 1, 2 and 2.5; with their own header, and without it behind a stray byte."""
    target = io.BytesIO()
    noise = np.random.default_rng(1).normal(0, 0.1, (rate * 8, channels))
    soundfile.write(target, noise, rate, format="MP3")
    for data in (target.getvalue(), b"\n" + frames_of(target.getvalue())):
        assert measure(written(tmp_path, data)).seconds == pytest.approx(8.0, abs=0.2)


def test_a_fraunhofer_header_states_a_length(mp3: Any) -> None:
    """VBRI, 32 bytes behind the first frame's header."""
    data = bytearray(mp3(2.0, mode="CONSTANT"))
    data[36:58] = b"VBRI" + bytes(6) + bytes(4) + (1000).to_bytes(4) + bytes(4)
    found = find_frames(io.BytesIO(bytes(data)))
    assert found is not None
    assert found.stated_seconds == pytest.approx(1000 * 1152 / 44_100)
    assert states_length(io.BytesIO(bytes(data)))


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG"])
def test_other_containers_have_no_frames(audio: Any, container: str) -> None:
    """Even if one holds an mp3."""
    assert find_frames(io.BytesIO(audio(container))) is None
    assert not is_mpeg_audio(io.BytesIO(audio(container)[:12] + audio("MP3")), 0)


@given(st.binary(max_size=3000), st.sampled_from([b"", b"\xff\xfb\x90\x00", b"\xff\xff", b"ID3\x04"]))
def test_any_bytes_are_scanned_safely(data: bytes, beginning: bytes) -> None:
    """Frames lie inside the file and do not overlap."""
    found = find_frames(io.BytesIO(beginning + data))
    if found is not None:
        ends = [place for run in found.runs for place in run]
        assert ends == sorted(ends)
        assert ends[-1] <= len(beginning) + len(data)
