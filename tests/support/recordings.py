"""Recordings for tests of audio: tones in any container, and pieces of the simulator's synthesiser."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import soundfile

from songflow.simulator.settings import SAMPLE_RATE
from songflow.simulator.synth.render import render

SECONDS = 5.0


class Play(Protocol):
    """Samples (n, 2) of a piece: `luck` tells takes of one request apart, `prompt` requests."""

    def __call__(
        self, luck: str = "a", prompt: str = "bright synth pop", seconds: float = SECONDS
    ) -> np.ndarray: ...


@functools.cache
def tone(container: str = "MP3", seconds: float = 0.5) -> bytes:
    """A stereo tone of 440 Hz as a file of any container that libsndfile writes; an mp3 has no tag."""
    samples = 0.4 * np.sin(2 * np.pi * 440.0 * np.arange(round(seconds * 44_100)) / 44_100)
    target = io.BytesIO()
    soundfile.write(target, np.column_stack((samples, samples)), 44_100, format=container)
    return target.getvalue()


@pytest.fixture
def audio() -> Callable[..., bytes]:
    """Makes files of a tone: `audio("FLAC", 3.0)`."""
    return tone


@functools.cache
def mp3_bytes(seconds: float = 2.0, *, frequency: float = 440.0, mode: str = "VARIABLE") -> bytes:
    """A tone as an mp3 file; frequency 0 is silence."""
    times = np.arange(round(seconds * 44_100)) / 44_100
    tone = (0.4 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)
    target = io.BytesIO()
    with soundfile.SoundFile(
        target, "w", 44_100, 2, "MPEG_LAYER_III", format="MP3", bitrate_mode=mode, compression_level=0.3
    ) as file:
        file.write(np.column_stack((tone, tone)))
    return target.getvalue()


@pytest.fixture
def mp3() -> Callable[..., bytes]:
    """Makes mp3 files."""
    return mp3_bytes


@pytest.fixture(scope="session")
def play() -> Play:
    """Plays pieces, the same for the same words."""

    @functools.cache
    def samples(luck: str = "a", prompt: str = "bright synth pop", seconds: float = SECONDS) -> np.ndarray:
        params = {"prompt": prompt, "seed": 1, "lyrics_type": "instrumental"}
        length = round(seconds * SAMPLE_RATE)
        return render(params, root=params, root_seed="1", seed=luck, samples=length, start=0)

    return samples


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Writes samples as a file and gives its path."""

    def file(
        audio: np.ndarray, name: str = "song.mp3", *, rate: int = SAMPLE_RATE, squeeze: float = 0.3
    ) -> Path:
        path = tmp_path / name
        if path.suffix == ".wav":
            soundfile.write(path, audio, rate)
        else:
            with soundfile.SoundFile(
                path, "w", rate, audio.shape[1], "MPEG_LAYER_III", format="MP3", compression_level=squeeze,
                bitrate_mode="CONSTANT",
            ) as out:  # fmt: skip
                out.write(audio)
        return path

    return file
