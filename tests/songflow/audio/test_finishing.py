"""Finished files have the loudness that was asked for, within the true-peak limit, by our own meter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from songflow.audio.decoding import AudioProblem, read_samples
from songflow.audio.finishing import FinishSettings, finish_file
from songflow.audio.id3 import Tag, read_tag
from songflow.audio.loudness import LoudnessMeter

RATE = 44_100
TAG = Tag(texts={"TIT2": "Rain"}, own={"songflow finished": '{"song_id": "a"}'})


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Two seconds of drums between silences of half a second: their peaks are 17 dB above their loudness."""
    noise = np.random.default_rng(1).standard_normal((2 * RATE, 2))
    beats = np.exp(-((np.arange(2 * RATE) / RATE * 4) % 1) * 9)
    tone = 0.05 * np.sin(np.arange(2 * RATE) / RATE * 2 * np.pi * 220)
    sound = (noise * 0.1 * beats[:, None] + tone[:, None]).clip(-1, 1)
    path = tmp_path / "drums.wav"
    silence = np.zeros((RATE // 2, 2))
    soundfile.write(path, np.concatenate([silence, sound, silence]), RATE, subtype="FLOAT")
    return path


def measured(path: Path) -> Any:
    """A file's loudness and true peak."""
    samples, rate = read_samples(path)
    meter = LoudnessMeter(rate, samples.shape[1])
    meter.add(samples)
    return meter.result()


@pytest.mark.parametrize("format", ["mp3", "flac", "wav"])
@pytest.mark.parametrize("loudness", [-14.0, -30.0])
def test_a_copy_has_the_loudness_and_keeps_the_limit(
    recording: Path, tmp_path: Path, format: Any, loudness: float
) -> None:
    """Trimmed; -14 LUFS needs the limiter, -30 LUFS does not. The original is not touched."""
    before = recording.read_bytes()
    target = tmp_path / "copy"
    found = finish_file(recording, target, FinishSettings(format=format, loudness=loudness), TAG)
    result = measured(target)
    assert result.loudness_lufs == found.loudness_lufs == pytest.approx(loudness, abs=0.2)
    assert result.true_peak_db == found.true_peak_db <= -0.7
    assert found.seconds == pytest.approx(2.04, abs=0.03)
    assert soundfile.info(str(target)).format == format.upper()
    assert recording.read_bytes() == before


def test_copies_are_tagged_and_the_same_each_time(recording: Path, tmp_path: Path) -> None:
    """In each format in its own way."""
    for format in ("mp3", "flac", "wav"):
        copies = [tmp_path / f"{number}.{format}" for number in range(2)]
        for copy in copies:
            finish_file(recording, copy, FinishSettings(format=format), TAG)
        assert copies[0].read_bytes() == copies[1].read_bytes()
        if format == "mp3":
            with copies[0].open("rb") as file:
                tag = read_tag(file)
            assert (tag.texts["TIT2"], tag.own) == ("Rain", TAG.own)
        else:
            with soundfile.SoundFile(str(copies[0])) as file:
                assert (file.title, file.comment) == ("Rain", 'songflow finished: {"song_id": "a"}')


def test_given_times_and_fades(recording: Path, tmp_path: Path) -> None:
    """Instead of the silence; the fade begins and ends at zero."""
    how = FinishSettings(format="wav", loudness=None, start=0.75, end=1.75, fade_in=0.5, fade_out=0.25)
    found = finish_file(recording, tmp_path / "copy.wav", how, TAG)
    samples, _ = read_samples(tmp_path / "copy.wav")
    original, _ = read_samples(recording)
    assert found.seconds == 1.0
    assert np.abs(samples[[0, -1]]).max() < 0.001
    kept = slice(round(0.51 * RATE), round(0.74 * RATE))
    assert np.allclose(samples[kept], original[round(0.75 * RATE) :][kept], atol=1e-6)


def test_what_cannot_be_finished(tmp_path: Path) -> None:
    """Silence, or a part behind the end; silence that is not trimmed stays silent, and a mono file mono."""
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(8000), 8000)
    for how in (FinishSettings(), FinishSettings(start=2.0, trim=False)):
        with pytest.raises(AudioProblem, match="nothing is left"):
            finish_file(silent, tmp_path / "copy", how, TAG)
    found = finish_file(silent, tmp_path / "copy", FinishSettings(trim=False, format="wav"), TAG)
    assert (found.seconds, found.loudness_lufs) == (1.0, -70.0)
    assert read_samples(tmp_path / "copy")[0].shape == (8000, 1)
    with pytest.raises(ValueError, match="end must come after start"):
        FinishSettings(start=2, end=1)
