"""Loudness and true peak agree with ffmpeg's ebur128 filter; silence, clipping and the waveform with the samples.

`ebur128.json` has what ffmpeg gave for the songs that `samples` makes. Where ffmpeg is installed, some are compared
with it again.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from songflow.audio.loudness import LOUDNESS_FLOOR, WAVEFORM_VALUES, Loudness, LoudnessMeter
from songflow.simulator.synth.render import render

RATE = 44_100
REFERENCE = json.loads((Path(__file__).parent / "ebur128.json").read_text(encoding="utf-8"))
PROMPTS = ("warm electronic pop", "folk guitar", "a slow waltz for two cellos", "jazz", "heavy metal drums")
SONGS = [f"song {number}" for number in range(20)]
PATHOLOGICAL = ["silence", "clicks", "mono", "8 kHz", "one second"]


def samples(name: str) -> tuple[np.ndarray, int]:
    """The samples of a reference by its name, of shape (frames, channels), and their rate."""
    if name.startswith("song "):
        number = int(name.removeprefix("song "))
        return song(number, seconds=1.5 + number % 4), RATE
    if name == "silence":
        return np.zeros((2 * RATE, 2), dtype=np.float32), RATE
    if name == "clicks":
        clicks = np.zeros((3 * RATE, 2), dtype=np.float32)
        clicks[:: RATE // 2] = 0.9
        return clicks, RATE
    if name == "mono":
        return song(0, seconds=1.5).mean(axis=1, keepdims=True), RATE
    if name == "8 kHz":
        seconds = np.arange(4 * 8000) / 8000
        tones = 0.5 * np.sin(2 * np.pi * 440 * seconds) + 0.3 * np.sin(2 * np.pi * 2900 * seconds + 1)
        return (tones * np.minimum(1, seconds / 2)).astype(np.float32)[:, None], 8000
    return song(1, seconds=2.5)[RATE : 2 * RATE], RATE


def song(number: int, *, seconds: float) -> np.ndarray:
    """One of the simulator's songs."""
    sung = "generate" if number % 2 else "instrumental"
    params = {"prompt": PROMPTS[number % 5], "model_type": "udio32-v1.5", "lyrics_type": sung}
    seed = f"s:{number}"
    return render(params, root=params, root_seed=seed, seed=seed, samples=int(seconds * RATE), start=0)


def measured(sound: np.ndarray, rate: int = RATE, *, block: int = 1 << 17) -> Loudness:
    meter = LoudnessMeter(rate, sound.shape[1])
    for at in range(0, len(sound), block):
        meter.add(sound[at : at + block].astype(np.float32))
    return meter.result()


def by_ffmpeg(sound: np.ndarray, rate: int, file: Path) -> dict[str, Any]:
    """Integrated loudness (LUFS) and true peak (dBTP) of ffmpeg's summary; a peak of nothing is None."""
    soundfile.write(file, sound, rate, subtype="FLOAT")
    filters = ["-filter_complex", "ebur128=peak=true:framelog=verbose", "-f", "null", "-"]
    run = subprocess.run(
        ["ffmpeg", "-hide_banner", "-nostats", "-i", file, *filters],
        capture_output=True,
        text=True,
        check=True,
    )
    summary = run.stderr[run.stderr.rindex("Summary:") :]
    loudness, peak = (re.search(text, summary) for text in (r"I: +(\S+) LUFS", r"Peak: +(\S+) dBFS"))
    assert loudness
    assert peak
    return {"lufs": float(loudness[1]), "dbtp": None if peak[1] == "-inf" else float(peak[1])}


def assert_agrees(found: Loudness, expected: dict[str, Any]) -> None:
    assert found.loudness_lufs == pytest.approx(expected["lufs"], abs=0.2)
    if expected["dbtp"] is None:
        assert found.true_peak_db == -120
    else:
        assert found.true_peak_db == pytest.approx(expected["dbtp"], abs=0.3)


def test_loudness_and_true_peak_agree_with_ffmpeg() -> None:
    """Within 0.2 LU and 0.3 dB, on 20 songs and 5 that are pathological, as ffmpeg measured them."""
    assert list(REFERENCE["measured"]) == [*SONGS, *PATHOLOGICAL]
    for name, expected in REFERENCE["measured"].items():
        assert_agrees(measured(*samples(name)), expected)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_the_installed_ffmpeg_agrees_too(tmp_path: Path) -> None:
    """On a song, a click, 8 kHz and one second."""
    for name in ("song 0", "clicks", "8 kHz", "one second"):
        sound, rate = samples(name)
        assert_agrees(measured(sound, rate), by_ffmpeg(sound, rate, tmp_path / "a.wav"))


def test_a_tone_between_its_samples_is_louder_than_they_are() -> None:
    """A quarter of the sample rate at 45 degrees: its samples are 3 dB below its peak."""
    tone = np.sin(2 * np.pi * np.arange(RATE) / 4 + np.pi / 4)[:, None]
    assert np.abs(tone).max() == pytest.approx(0.7071, abs=0.001)
    # It begins at once, which rings a little.
    assert measured(tone * np.hanning(RATE)[:, None]).true_peak_db == pytest.approx(0, abs=0.05)


def test_blocks_of_any_size_give_the_same() -> None:
    """Whatever a decoder returns at a time."""
    sound, rate = samples("song 3")
    whole, pieces = measured(sound, rate), measured(sound, rate, block=9_973)
    assert (pieces.loudness_lufs, pieces.true_peak_db) == pytest.approx(
        (whole.loudness_lufs, whole.true_peak_db)
    )
    assert pieces.loudness_range == pytest.approx(whole.loudness_range, abs=0.01)


def test_the_range_is_that_between_loud_and_quiet_parts() -> None:
    """EBU Tech 3342's first test: 20 s at -20 dBFS and 20 s at -30 dBFS differ by 10 LU."""
    tone = np.sin(2 * np.pi * 1000 * np.arange(20 * 8000) / 8000)
    sound = np.concatenate([tone * 10 ** (-20 / 20), tone * 10 ** (-30 / 20)])
    assert measured(np.stack([sound, sound], axis=1), 8000).loudness_range == pytest.approx(10, abs=1)


def test_silence_at_the_ends_and_clipped_samples_are_counted() -> None:
    """Below -60 dBFS is silence; all of a silent file is at its start."""
    sound = np.full((RATE, 2), 0.0005)
    sound[RATE // 4 : RATE // 2] = 0.5
    sound[RATE // 3, 1], sound[RATE // 3 + 5, 0] = 1.2, -1.0
    found = measured(sound)
    assert (found.silence_start, found.silence_end, found.clipped_samples) == (0.25, 0.5, 2)
    silent = measured(np.zeros((RATE, 1)))
    assert (silent.silence_start, silent.silence_end) == (1.0, 0.0)
    assert (silent.loudness_lufs, silent.loudness_range) == (LOUDNESS_FLOOR, None)


@pytest.mark.parametrize("seconds", [0.001, 2.0, 130.0])
def test_the_waveform_has_the_same_number_of_values_for_any_length(seconds: float) -> None:
    """Bytes, 255 at full scale, here louder in the second half; a file too short to be loud has no loudness."""
    count = int(seconds * 8000)
    sound = np.concatenate([np.full(count // 2, 0.25), np.full(count - count // 2, -1.0)])[:, None]
    found = measured(sound, 8000)
    values = list(base64.b64decode(found.waveform))
    half = WAVEFORM_VALUES // 2
    assert len(values) == WAVEFORM_VALUES
    if seconds > 1:
        assert set(values[: half - 1]) == {64}
        assert set(values[half + 1 :]) == {255}
    else:
        assert found.loudness_lufs is None
