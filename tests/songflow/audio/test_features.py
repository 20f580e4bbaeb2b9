"""Audio features: tempo and spectral centroid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from songflow.audio.measures import measure_song
from songflow.simulator.synth import codec
from songflow.simulator.synth.render import render
from songflow.simulator.synth.style import read_style

RATE = 44_100


def write(path: Path, samples: np.ndarray) -> str:
    soundfile.write(path, samples.astype(np.float32), RATE)
    return str(path)


def clicks(beats_a_minute: float, seconds: float = 12.0) -> np.ndarray:
    """A drum on each beat: a short burst of a low tone."""
    sound = np.zeros(int(seconds * RATE))
    burst = np.sin(2 * np.pi * 90 * np.arange(3000) / RATE) * np.exp(-np.arange(3000) / 600)
    for beat in range(int(seconds * beats_a_minute / 60)):
        at = int(beat * 60 / beats_a_minute * RATE)
        sound[at : at + 3000] += burst[: len(sound) - at]
    return sound


@pytest.mark.parametrize("tempo", [70, 96, 110, 120])
def test_the_tempo_of_a_drum_is_estimated(tmp_path: Path, tempo: float) -> None:
    """Within one beat a minute."""
    assert measure_song(write(tmp_path / "a.wav", clicks(tempo))).tempo == pytest.approx(tempo, abs=1)


@pytest.mark.parametrize(
    "prompt", ["warm electronic pop", "folk guitar", "a slow waltz for two cellos", "jazz"]
)
def test_the_tempo_of_simulated_music_is_that_of_its_prompt(tmp_path: Path, prompt: str) -> None:
    """Through the mp3 encoder, within 3 %."""
    params = {"prompt": prompt, "model_type": "udio32-v1.5", "lyrics_type": "instrumental"}
    music = render(params, root=params, root_seed="s:1", seed="s:1", samples=12 * RATE, start=0)
    codec.write_mp3(tmp_path / "a.mp3", music, title="t", artist="a", comment="c", quality=0.75)
    asked = read_style(params, "s:1").tempo
    assert measure_song(str(tmp_path / "a.mp3")).tempo == pytest.approx(asked, rel=0.03)


@pytest.mark.parametrize("hertz", [200.0, 1000.0, 5000.0])
def test_the_centroid_of_a_tone_is_its_frequency(tmp_path: Path, hertz: float) -> None:
    """Within the width of two bins; a steady tone has no pulse."""
    tone = 0.5 * np.sin(2 * np.pi * hertz * np.arange(6 * RATE) / RATE)
    assert measure_song(write(tmp_path / "a.wav", tone)).centroid_hz == pytest.approx(hertz, abs=45)


def test_silence_and_snippets_have_no_tempo(tmp_path: Path) -> None:
    """None instead of a guess."""
    silence, snippet = np.zeros(6 * RATE), np.ones(10)
    for sound in (silence, snippet):
        found = measure_song(write(tmp_path / "a.wav", sound))
        assert (found.tempo, found.centroid_hz) == (None, None)
    assert measure_song(write(tmp_path / "b.wav", clicks(120, 2.0))).tempo is None


def test_a_song_at_a_url_is_measured_too(tmp_path: Path) -> None:
    """A file:// URL here."""
    path = write(tmp_path / "a.wav", clicks(120))
    assert measure_song(f"file://{path}") == measure_song(path)
