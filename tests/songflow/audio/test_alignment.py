"""A recording is located in another that contains it, after any treatment, and in no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from songflow.audio.alignment import find_source
from songflow.audio.decoding import AudioProblem
from songflow.simulator.settings import SAMPLE_RATE

NEAR = 0.08  # possible shift by encoding and decoding, in seconds


@pytest.fixture
def source(play: Any, write: Any) -> Path:
    path: Path = write(play(), "source.mp3")
    return path


@pytest.mark.parametrize("before", [0.0, 1.2345, 5.0])
@pytest.mark.parametrize("after", [0.0, 3.0])
def test_a_source_is_located(play: Any, write: Any, source: Path, before: float, after: float) -> None:
    """With new music before it, after it, on both sides, or on none."""
    new = [play("new", seconds=seconds) for seconds in (before, after) if seconds]
    whole = [*(new[:1] if before else []), play(), *(new[-1:] if after else [])]
    match = find_source(source, write(np.concatenate(whole)))
    assert match.at == pytest.approx(before, abs=NEAR)
    assert match.share == 1


@pytest.mark.parametrize(
    "treat",
    [
        lambda audio: audio * 0.2,
        lambda audio: audio[:, ::-1],
        lambda audio: audio + np.random.default_rng(1).normal(0, 0.01, audio.shape).astype(np.float32),
        lambda audio: np.concatenate([np.zeros((1105, 2), np.float32), audio]),
    ],
    ids=["quieter", "sides swapped", "hiss", "a decoder's delay"],
)
def test_a_source_is_located_after_treatment(play: Any, write: Any, source: Path, treat: Any) -> None:
    """Changes that gateways and encoders make."""
    whole = treat(np.concatenate([play("new"), play()]))
    match = find_source(source, write(whole))
    assert match.at == pytest.approx(5, abs=NEAR)
    assert match.share == 1


def test_a_source_is_located_in_a_low_bit_rate_mp3(play: Any, write: Any, source: Path) -> None:
    """At 56 kbit/s."""
    match = find_source(source, write(np.concatenate([play(), play("new")]), squeeze=0.9))
    assert match.at == pytest.approx(0, abs=NEAR)
    assert match.share == 1


def test_a_source_is_located_at_another_sample_rate(play: Any, write: Any, source: Path) -> None:
    """At 48 kHz in mono."""
    from scipy.signal import resample_poly  # a second of CPU, which only the process that runs this test pays

    whole = resample_poly(np.concatenate([play("new"), play()]), 160, 147, axis=0).astype(np.float32)
    match = find_source(source, write(whole[:, :1], "whole.wav", rate=48000))
    assert match.at == pytest.approx(5, abs=NEAR)
    assert match.share == 1


@pytest.mark.parametrize("other", [{"luck": "b"}, {"prompt": "slow sad piano"}], ids=["take", "song"])
def test_a_source_is_not_found_in_other_music(
    play: Any, write: Any, source: Path, other: dict[str, str]
) -> None:
    """Not even in another take of the same request, with the same key, beat and instruments."""
    match = find_source(source, write(np.concatenate([play(**other), play("new", seconds=3.0)])))
    assert match.share <= 0.2


def test_a_cut_source_counts_in_part(play: Any, write: Any, source: Path) -> None:
    """By the seconds that are left."""
    match = find_source(source, write(np.concatenate([play()[2 * SAMPLE_RATE :], play("new")])))
    assert match.at == pytest.approx(-2, abs=NEAR)
    assert match.share == pytest.approx(0.6)


def test_silent_seconds_of_a_source_do_not_count(play: Any, write: Any) -> None:
    """Silence matches anywhere."""
    quiet = np.concatenate([play(), np.zeros((3 * SAMPLE_RATE, 2), np.float32)])
    match = find_source(write(quiet, "quiet.wav"), write(np.concatenate([play(), play("new")])))
    assert match.at == pytest.approx(0, abs=NEAR)
    assert match.share == 1


def test_a_source_longer_than_the_whole_is_not_found(play: Any, write: Any, source: Path) -> None:
    """Without an error."""
    assert find_source(source, write(play("new", seconds=0.5))).share == 0


def test_files_that_cannot_be_compared_raise_an_error(
    play: Any, write: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence, no samples, no audio, no file, or too long."""
    silence = write(np.zeros((SAMPLE_RATE, 2), np.float32), "silence.wav")
    nothing = write(np.zeros((0, 2), np.float32), "nothing.wav")
    noise = tmp_path / "noise.mp3"
    noise.write_bytes(b"no music" * 100)
    for path in (silence, nothing):
        with pytest.raises(AudioProblem, match="holds no sound"):
            find_source(path, source)
    for path in (noise, tmp_path / "absent.mp3"):
        with pytest.raises(AudioProblem, match="cannot be decoded"):
            find_source(path, source)
    monkeypatch.setattr("songflow.audio.decoding.LONGEST_SECONDS", 3.0)
    with pytest.raises(AudioProblem, match="longer than"):
        find_source(source, source)
