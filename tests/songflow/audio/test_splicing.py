"""Join recordings without a gap or jump, and without changes outside of the seam."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from songflow.audio.decoding import AudioProblem, read_samples
from songflow.audio.splicing import join, read_like, write_mp3
from songflow.library.joining import Seam, cut_at
from songflow.simulator.settings import SAMPLE_RATE as RATE


@pytest.mark.parametrize("new_first", [True, False])
@pytest.mark.parametrize("crossfade", [0.0, 0.5])
def test_both_parts_are_complete(play: Any, new_first: bool, crossfade: float) -> None:
    """Outside of the crossfade, sample by sample."""
    source, new = play(), play("new", seconds=3.0)
    made = join(source, new, RATE, new_first=new_first, crossfade=crossfade)
    first, second = (new, source) if new_first else (source, new)
    fade = round(crossfade * RATE)
    assert len(made.samples) == len(source) + len(new) - fade
    np.testing.assert_array_equal(made.samples[: len(first) - fade], first[: len(first) - fade])
    np.testing.assert_array_equal(made.samples[len(first) :], second[fade:])
    assert made.seam == pytest.approx((len(first) - fade / 2) / RATE)
    assert made.overlap == 0


def test_the_crossfade_keeps_the_power_of_different_music() -> None:
    """A linear fade would be quieter in the middle."""
    luck = np.random.default_rng(3)
    one, other = (luck.standard_normal((4 * RATE, 2)).astype(np.float32) * 0.1 for _ in range(2))
    made = join(one, other, RATE, new_first=False, crossfade=1.0)
    middle = made.samples[round((made.seam - 0.1) * RATE) : round((made.seam + 0.1) * RATE)]
    assert float(np.sqrt(np.mean(np.square(middle)))) == pytest.approx(0.1, rel=0.03)


@pytest.mark.parametrize("new_first", [True, False])
@pytest.mark.parametrize("repeated", [2.5, 4.0])
def test_music_that_the_new_part_repeats_is_used_once(play: Any, new_first: bool, repeated: float) -> None:
    """The parts are aligned to the sample."""
    music = play(seconds=9.0)
    seam, shared = round(5.0 * RATE), round(repeated * RATE)
    if new_first:
        source, new = music[seam:], music[: seam + shared]
    else:
        source, new = music[:seam], music[seam - shared :]
    made = join(source, new, RATE, new_first=new_first, crossfade=0.5)
    assert made.overlap == pytest.approx(repeated, abs=0.001)
    assert len(made.samples) == pytest.approx(len(music), abs=RATE // 1000)
    np.testing.assert_allclose(made.samples[: len(music)], music[: len(made.samples)], atol=0.02)


def test_a_crossfade_is_never_longer_than_half_a_part(play: Any) -> None:
    """Even of a short part."""
    made = join(play(), play("new", seconds=0.4), RATE, new_first=False, crossfade=5.0)
    assert len(made.samples) == round(5.2 * RATE)


def test_a_silent_edge_is_no_repetition(play: Any) -> None:
    """Silence matches anywhere."""
    silence = np.zeros((6 * RATE, 2), np.float32)
    made = join(np.concatenate([play(), silence]), silence, RATE, new_first=False, crossfade=0.5)
    assert made.overlap == 0


def test_a_file_is_converted_to_anothers_format(play: Any, write: Any) -> None:
    """To its sample rate and channels."""
    path = write(play()[:, :1], "mono.wav", rate=22050)
    samples = read_like(path, RATE, 2)
    assert samples.shape == (2 * len(play()), 2)
    np.testing.assert_array_equal(samples[:, 0], samples[:, 1])


def test_unreadable_and_unwritable_files_raise_errors(
    write: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No audio, no sound, too long; no such folder."""
    noise = tmp_path / "noise.mp3"
    noise.write_bytes(b"no music" * 100)
    with pytest.raises(AudioProblem, match="cannot be decoded"):
        read_samples(noise)
    with pytest.raises(AudioProblem, match="holds no sound"):
        read_samples(write(np.zeros((0, 2), np.float32), "nothing.wav"))
    monkeypatch.setattr("songflow.audio.decoding.LONGEST_SECONDS", 1.0)
    with pytest.raises(AudioProblem, match="longer than"):
        read_samples(write(np.zeros((2 * RATE, 2), np.float32), "long.wav"))
    with pytest.raises(OSError, match=r"Error opening|No such file"):
        write_mp3(tmp_path / "nowhere" / "x.mp3", np.zeros((RATE, 2), np.float32), RATE, title="", comment="")


def test_a_whole_song_in_place_of_the_new_part_is_not_joined_twice(play: Any) -> None:
    """A gateway that returned the source as well does no harm: what both contain is used once."""
    source, new = play(seconds=9.0), play("new", seconds=3.0)
    kept = cut_at(source, RATE, Seam(6.0), 0.05)
    returned = np.concatenate([source[: 6 * RATE], new])
    made = join(kept, returned, RATE, new_first=False, crossfade=0.05)
    assert len(made.samples) / RATE == pytest.approx(9.0, abs=0.1)
    assert made.overlap == pytest.approx(6.0, abs=0.1)


def test_a_seam_in_a_joined_source_counts_from_its_own_part(play: Any) -> None:
    """The clip is the end of the whole song; a second behind its end is its end."""
    whole = play(seconds=9.0)
    assert len(cut_at(whole, RATE, Seam(2.0, clip_seconds=3.0), 0.0)) == 8 * RATE
    assert len(cut_at(whole, RATE, Seam(5.0, clip_seconds=3.0), 0.05)) == 9 * RATE
    assert len(cut_at(whole, RATE, Seam(None), 0.05)) == 9 * RATE
