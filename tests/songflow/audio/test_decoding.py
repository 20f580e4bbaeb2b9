"""Decoding: completeness checks and measures."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from songflow.audio.decoding import AudioFacts, AudioProblem, doubt_of, measure, remark_of


def written(folder: Path, data: bytes) -> Path:
    path = folder / "song.mp3"
    path.write_bytes(data)
    return path


def facts(seconds: float, claimed: float | None) -> AudioFacts:
    return AudioFacts(seconds, claimed, sample_rate=44_100, channels=2, peak=0.5, rms_db=-12.0)


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
def test_a_tone_is_measured(tmp_path: Path, mp3: Any, mode: str) -> None:
    """A sine of amplitude 0.4 has that peak, and 3 dB less as root mean square."""
    found = measure(written(tmp_path, mp3(3.0, mode=mode)))
    assert found.seconds == pytest.approx(3.0, abs=0.1)
    assert (found.sample_rate, found.channels) == (44_100, 2)
    assert found.peak == pytest.approx(0.4, abs=0.02)
    assert found.rms_db == pytest.approx(20 * math.log10(0.4 / math.sqrt(2)), abs=0.3)


def test_silence_measures_minus_120_decibels(tmp_path: Path, mp3: Any) -> None:
    """It is not an error: the gateway may have generated it."""
    found = measure(written(tmp_path, mp3(2.0, frequency=0)))
    assert (found.peak, found.rms_db) == (0.0, -120.0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\x00" * 40_000,
        b"<html></html>",
        b"ID3\x04\x00\x00\x00\x00\x00\x00",
        b"RIFF\x00\x00\x00\x00WAVE",
    ],
    ids=["nothing", "a zero", "zeros", "html", "only a tag", "half a header"],
)
def test_files_that_are_not_audio_cannot_be_decoded(tmp_path: Path, data: bytes) -> None:
    """The error is one sentence."""
    with pytest.raises(AudioProblem, match="it cannot be decoded"):
        measure(written(tmp_path, data))


def test_a_file_without_samples_holds_no_sound(tmp_path: Path) -> None:
    """Only a header."""
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros((0, 2), np.float32), 44_100)
    with pytest.raises(AudioProblem, match="it holds no sound"):
        measure(path)


def test_a_file_that_is_missing_cannot_be_decoded(tmp_path: Path) -> None:
    """The error is the same as for a broken one."""
    with pytest.raises(AudioProblem):
        measure(tmp_path / "missing.mp3")


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
def test_a_truncated_song_is_shorter_than_its_header_states(tmp_path: Path, mp3: Any, mode: str) -> None:
    """The first frame's header has the original length; the decoded length counts."""
    whole = mp3(10.0, mode=mode)
    found = measure(written(tmp_path, whole[: len(whole) // 2]))
    assert found.seconds < 6
    assert found.claimed_seconds == pytest.approx(10.0, abs=0.1)
    assert re.fullmatch(
        r"\d\.\d\d s could be decoded, its header states 10\.\d\d s", doubt_of(found, None) or ""
    )


@pytest.mark.parametrize(
    ("seconds", "claimed", "announced"),
    [
        (30, 30, 32),
        (30, 30, 28),
        (30, 31.9, None),
        (30, 30, None),
        (30, 5, 30),
        (30, None, 31.9),
        (30, None, None),
    ],
)
def test_lengths_may_differ_by_two_seconds(
    seconds: float, claimed: float | None, announced: float | None
) -> None:
    """Encoders pad, gateways round; a header of the first part only takes nothing away."""
    assert doubt_of(facts(seconds, claimed), announced) is None
    assert remark_of(facts(seconds, claimed), announced) is None


@pytest.mark.parametrize(
    ("claimed", "announced", "doubt"),
    [
        (33, 30, "30.00 s could be decoded, its header states 33.00 s"),
        (None, 32.1, "30.00 s could be decoded, announced 32.10 s"),
        (30, 32.1, None),
        (None, 27.9, None),
        (30, 32_810, None),
    ],
)
def test_a_file_may_be_a_part_if_its_header_states_more(
    claimed: float | None, announced: float, doubt: str | None
) -> None:
    """The announced length counts only where the file states none; any difference from it is worth a note."""
    assert doubt_of(facts(30, claimed), announced) == doubt
    noted = remark_of(facts(30, claimed), announced)
    assert noted == (None if announced == 30 else f"30.00 s long, announced as {announced:.6g} s")
