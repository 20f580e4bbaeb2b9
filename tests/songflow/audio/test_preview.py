"""Previews: the part that is asked for, small, playable, and the waveform of the whole song."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
import soundfile

from songflow.audio.decoding import AudioProblem
from songflow.audio.preview import BITS_PER_SECOND, PEAKS, Preview, make_preview
from songflow.audio.waveform import WIDTH, waveform_svg


def steps(
    *frequencies: float, seconds: float = 2.0, rate: int = 44_100, container: str = "MP3"
) -> io.BytesIO:
    """A song of tones, one after the other, each twice as loud as the one before."""
    times = np.arange(round(seconds * rate)) / rate
    parts = [
        0.8 / 2 ** (len(frequencies) - 1 - place) * np.sin(2 * np.pi * frequency * times)
        for place, frequency in enumerate(frequencies)
    ]
    sound = np.concatenate(parts)
    file = io.BytesIO()
    soundfile.write(file, np.column_stack((sound, sound)), rate, format=container)
    file.seek(0)
    return file


def loudest_hertz(preview: Preview) -> float:
    """The frequency with the most energy in the middle of a preview."""
    sound, rate = soundfile.read(io.BytesIO(preview.mp3))
    assert sound.ndim == 1
    middle = sound[len(sound) // 4 : -len(sound) // 4]
    return float(np.fft.rfftfreq(len(middle), 1 / rate)[np.abs(np.fft.rfft(middle)).argmax()])


@pytest.mark.parametrize(
    ("container", "rate"), [("MP3", 44_100), ("WAV", 48_000), ("FLAC", 32_000), ("OGG", 16_000)]
)
def test_a_preview_is_the_part_that_was_asked_for(container: str, rate: int) -> None:
    """The second tone of three, as a mono mp3 whose size follows from its length."""
    song = steps(300.0, 700.0, 1500.0, rate=rate, container=container)
    preview = make_preview(song, seconds=2.0, start=2.0)
    assert (preview.start, preview.seconds) == (pytest.approx(2.0), pytest.approx(2.0))
    assert preview.song_seconds == pytest.approx(6.0, abs=0.1)
    assert loudest_hertz(preview) == pytest.approx(700.0, abs=2)
    assert soundfile.info(io.BytesIO(preview.mp3)).format == "MP3"
    assert len(preview.mp3) == pytest.approx(2.0 * BITS_PER_SECOND / 8, rel=0.15)


def test_a_preview_ends_with_the_song_and_a_short_song_is_all_of_it() -> None:
    """A part that begins too late begins earlier; a part is never longer than the song."""
    late = make_preview(steps(300.0, 700.0), seconds=2.0, start=3.5)
    assert late.start == pytest.approx(2.0, abs=0.1)
    assert loudest_hertz(late) == pytest.approx(700.0, abs=2)
    whole = make_preview(steps(300.0), seconds=20.0, start=1.0)
    assert (whole.start, whole.seconds) == (0.0, pytest.approx(2.0, abs=0.1))


def test_a_tone_above_the_preview_s_band_does_not_come_back_as_another_tone() -> None:
    """12 kHz would fold to 10 kHz at 22.05 kHz: what is left of it is quiet."""
    preview = make_preview(steps(12_000.0), seconds=2.0)
    sound, _ = soundfile.read(io.BytesIO(preview.mp3))
    assert np.abs(sound[2000:-2000]).max() < 0.01


def test_the_waveform_shows_all_of_the_song_and_marks_the_part_that_is_played() -> None:
    """Each third is twice as loud as the one before; a bar per peak, a third of them marked."""
    preview = make_preview(steps(300.0, 700.0, 1500.0), seconds=2.0, start=2.0)
    thirds = [np.median(some) for some in np.array_split(np.array(preview.peaks), 3)]
    assert thirds == [pytest.approx(level, rel=0.1) for level in (0.2, 0.4, 0.8)]
    picture = waveform_svg(preview)
    marked, other = sorted(path.count("M") for path in re.findall(r'd="([^"]+)"', picture))
    assert marked + other == PEAKS
    assert marked == pytest.approx(PEAKS / 3, abs=3)
    assert all(0 <= int(place) <= WIDTH for place in re.findall(r"M(\d+) ", picture))
    assert len(picture) < 3000


@pytest.mark.parametrize("data", [b"", b"<html>no song</html>"])
def test_what_is_no_song_is_a_problem(data: bytes) -> None:
    """With the reason, and no error of a decoder's own."""
    with pytest.raises(AudioProblem):
        make_preview(io.BytesIO(data), seconds=2.0)
