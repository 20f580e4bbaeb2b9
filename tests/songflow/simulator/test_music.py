"""The music: lengths, loudness, spectrum, determinism, and a measurable effect of every parameter."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from songflow.simulator.settings import SAMPLE_RATE
from songflow.simulator.synth import instruments as sound
from songflow.simulator.synth.codec import read_mp3, write_mp3
from songflow.simulator.synth.render import render
from songflow.simulator.synth.style import read_style, style_tags
from songflow.simulator.synth.types import Part
from songflow.simulator.synth.words import sung_lyrics, syllables

PROMPTS = [
    "energetic electronic pop",
    "slow sad piano ballad",
    "ambient strings",
    "punk rock",
    "8-bit chip funk",
    "母亲",
]


def music(seconds: float = 6.0, take: str = "1", start: float = 0.0, **params: Any) -> np.ndarray:
    full = {"prompt": "energetic electronic pop", "seed": 3, "song_section_start": 0.4, **params}
    samples, at = round(seconds * SAMPLE_RATE), round(start * SAMPLE_RATE)
    return render(full, root=full, root_seed="3", seed=f"3/{take}", samples=samples, start=at)


def rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))


def share(audio: np.ndarray, low: float, high: float) -> float:
    """Share of the energy between two frequencies."""
    power = np.abs(np.fft.rfft(audio.mean(axis=1))) ** 2
    at = np.fft.rfftfreq(len(audio), 1 / SAMPLE_RATE)
    return float(power[(at >= low) & (at < high)].sum() / power.sum())


def onsets_per_second(audio: np.ndarray) -> float:
    """The strongest beat between 1 and 4 Hz, from the envelope of the treble."""
    treble = np.abs(np.diff(audio.mean(axis=1)))
    envelope = treble[: len(treble) // 441 * 441].reshape(-1, 441).mean(axis=1)
    power = np.abs(np.fft.rfft((envelope - envelope.mean()) * np.hanning(len(envelope))))
    at = np.fft.rfftfreq(len(envelope), 0.01)
    inside = (at > 1) & (at < 4)
    return float(at[inside][np.argmax(power[inside])])


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_mix_has_sane_levels_and_spectrum(prompt: str, tmp_path: Path) -> None:
    """Measured on the decoded mp3."""
    file = tmp_path / "song.mp3"
    write_mp3(file, music(prompt=prompt), title="t", artist="a", comment="c")
    audio = read_mp3(file)
    assert audio.shape == (6 * SAMPLE_RATE, 2)
    assert np.abs(audio).max() < 0.98
    assert -20 < 20 * np.log10(rms(audio)) < -12
    assert np.abs(audio.mean(axis=0)).max() < 1e-3
    assert share(audio, 0, 30) < 0.02
    for low, high, least in ((30, 250, 0.03), (250, 2000, 0.1), (2000, 16000, 0.005)):
        assert share(audio, low, high) > least
    assert np.abs(audio[:8]).max() < 0.05
    assert np.abs(audio[-8:]).max() < 0.05
    assert rms(audio[:, 0] - audio[:, 1]) > 0.05 * rms(audio)


def test_the_same_request_and_take_give_the_same_samples_and_takes_differ() -> None:
    assert np.array_equal(music(), music())
    for other in (music(take="2"), music(prompt="techno pop"), music(lyrics="something else altogether")):
        assert rms(music() - other) > 0.3 * rms(music())


@pytest.mark.parametrize("seed", [5, -1])
def test_bytes_are_fixed_by_seed_and_take_unless_the_seed_is_random(sim: Any, seed: int) -> None:
    first = [sim.download(song).content for song in sim.songs(seed=seed)]
    second = [sim.download(song).content for song in sim.songs(seed=seed)]
    assert not np.array_equal(_samples(first[0]), _samples(first[1]))
    assert (first == second) is (seed == 5)


def _samples(data: bytes) -> np.ndarray:
    audio, _ = sf.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return np.asarray(audio)


def test_a_part_of_a_sound_has_the_samples_of_the_whole() -> None:
    """Only what is heard of a sound is made; the clip does not change by it."""
    wave = sound.table("saw", 220.0, 0.5, 0.75)
    kinds: list[Callable[[Part], np.ndarray]] = [
        lambda part: sound.play(wave, 220.0, part, 6.0),
        lambda part: sound.play_vibrato(wave, 220.0, part),
        lambda part: sound.plucked(part, 0.1),
        lambda part: sound.sustained(part, 0.1, 0.2),
    ]
    length = 20_000
    for make in kinds:
        whole = make(Part.whole(length))
        assert len(whole) == length
        for start, stop in (
            (0, 1),
            (0, 5000),
            (3000, 12_000),
            (4000, 4001),
            (11_000, length),
            (length - 1, length),
        ):
            assert np.array_equal(make(Part(length, start, stop)), whole[start:stop]), (start, stop)


def test_tags_say_that_the_song_is_simulated(sim: Any, tmp_path: Path) -> None:
    song = sim.songs()[0]
    file = tmp_path / "song.mp3"
    file.write_bytes(sim.download(song).content)
    with sf.SoundFile(file) as audio:
        assert audio.title == song["title"]
        assert "simulat" in audio.comment.lower()
        assert audio.artist == song["artist"]
        assert audio.frames / audio.samplerate == pytest.approx(song["duration"], abs=1e-6)


@pytest.mark.parametrize(("model", "seconds"), [("udio32-v1.5", 32.81), ("udio130-v1.5", 130.0)])
def test_songs_have_the_models_length(simulate: Any, model: str, seconds: float) -> None:
    song = simulate(clip_seconds=None, takes=1).songs(model_type=model)
    assert song[0]["duration"] == pytest.approx(seconds, abs=1e-3)


def test_the_decoded_length_is_the_announced_one(simulate: Any) -> None:
    sim = simulate(clip_seconds=3.3, takes=1)
    song = sim.songs()[0]
    assert len(_samples(sim.download(song).content)) == round(3.3 * SAMPLE_RATE)


def test_tempo_follows_the_prompt() -> None:
    slow, fast = read_style({"prompt": "slow ballad"}, "1"), read_style({"prompt": "fast punk"}, "1")
    assert slow.tempo < 65
    assert fast.tempo > 160
    audio = music(20.0, prompt="dance", lyrics_type="instrumental")
    beat = read_style({"prompt": "dance"}, "3").tempo / 60
    measured = onsets_per_second(audio)
    assert min(abs(measured - beat * ratio) for ratio in (0.5, 1, 2)) < 0.12


def test_words_set_major_or_minor_and_the_tags() -> None:
    assert read_style({"prompt": "dark and sad"}, "1").minor
    assert not read_style({"prompt": "happy summer"}, "1").minor
    assert style_tags({"prompt": "Happy SUMMER", "lyrics_type": "instrumental"}) == [
        "happy",
        "summer",
        "instrumental",
    ]


def test_prompt_strength_moves_the_style_towards_the_words() -> None:
    tempos = [read_style({"prompt": "fast", "prompt_strength": force}, "1").tempo for force in (0, 0.5, 1)]
    assert tempos == sorted(tempos)
    assert tempos[2] - tempos[0] > 60
    weak, strong = (
        rms(music(prompt="calm", prompt_strength=force) - music(prompt="calm", prompt_strength=0.5))
        for force in (0.4, 1)
    )
    assert weak > 0
    assert strong > 0
    drums = [
        share(music(prompt="techno house", prompt_strength=force, lyrics_type="instrumental"), 30, 100)
        for force in (0, 1)
    ]
    assert drums[1] != pytest.approx(drums[0], rel=0.02)


def test_clarity_brightens_and_separates() -> None:
    dull, clear = music(clarity_strength=0.0), music(clarity_strength=1.0)
    assert share(clear, 4000, 20000) > 1.5 * share(dull, 4000, 20000)

    def width(audio: np.ndarray) -> float:
        return rms(audio[:, 0] - audio[:, 1]) / rms(audio)

    assert width(music(clarity_strength=1.0, lyrics_type="instrumental")) > 1.05 * width(
        music(clarity_strength=0.0, lyrics_type="instrumental")
    )


def test_quality_adds_detail_and_bit_rate(tmp_path: Path) -> None:
    sizes, treble = [], []
    for quality in (0.25, 0.5, 0.75, 1.0):
        audio = music(generation_quality=quality)
        write_mp3(tmp_path / "q.mp3", audio, title="t", artist="a", comment="c", quality=quality)
        sizes.append((tmp_path / "q.mp3").stat().st_size)
        treble.append(share(audio, 5000, 20000))
    assert sizes == sorted(sizes)
    assert treble == sorted(treble)
    assert sizes[-1] > 1.3 * sizes[0]


def test_lyrics_strength_sets_the_level_of_the_voice() -> None:
    """The voice is between 250 and 3500 Hz."""
    levels = [share(music(lyrics_strength=strength), 250, 3500) for strength in (0.0, 0.5, 1.0)]
    assert levels[0] + 0.05 < levels[1] < levels[2]
    assert np.array_equal(music(lyrics_strength=0.0), music(lyrics_strength=0.0, lyrics="unheard words"))


def test_an_instrumental_has_no_voice_even_with_lyrics() -> None:
    quiet = music(lyrics_type="instrumental")
    assert np.array_equal(quiet, music(lyrics_type="instrumental", lyrics="some words"))
    sung = music(lyrics_type="user", lyrics="some words")
    assert rms(quiet - sung) > 0.3 * rms(quiet)
    assert np.array_equal(
        music(lyrics_type="user", lyrics=""), music(lyrics_type="user", lyrics="[Verse] (softly) 123 !")
    )


@pytest.mark.parametrize(
    ("unwanted", "low", "high"), [("drums", 8000, 20000), ("bass", 30, 130), ("vocals", 250, 3500)]
)
def test_a_negative_prompt_removes_an_instrument(unwanted: str, low: float, high: float) -> None:
    # Without a voice a lead plays; it is removed as well, so that only the named instrument changes.
    others = "lead" if unwanted == "vocals" else ""
    kept = share(music(negative_prompt=others), low, high)
    removed = share(music(negative_prompt=f"no {unwanted}, {others}"), low, high)
    assert removed < 0.8 * kept


def test_excluding_every_instrument_still_gives_sound() -> None:
    assert rms(music(1.0, negative_prompt="drums bass vocals pad arp lead")) > 0.1


def test_lyrics_placement_sets_where_the_voice_sings() -> None:
    words = {"lyrics_type": "user", "lyrics": "la la la"}
    silent = music(lyrics_type="user", lyrics="", clarity_strength=1.0)
    late = music(**words, lyrics_placement_start=0.5, lyrics_placement_end=0.95, clarity_strength=1.0)
    middle = len(late) // 2
    gain = rms(silent[:middle]) / rms(late[:middle])
    assert rms(late[:middle] * gain - silent[:middle]) < 0.1 * rms(silent[:middle])
    assert rms(late[middle:] * gain - silent[middle:]) > 0.4 * rms(silent[middle:])


def _thirds(audio: np.ndarray) -> list[float]:
    third = len(audio) // 3
    return [rms(audio[index * third : (index + 1) * third]) for index in range(3)]


def test_sections_build_up_and_fade_out() -> None:
    beginning = _thirds(music(9.0, song_section_start=0.0, model_type="udio32-v1.5"))
    middle = _thirds(music(9.0, song_section_start=0.4, model_type="udio32-v1.5"))
    end = _thirds(music(9.0, song_section_start=0.9, model_type="udio32-v1.5"))
    assert beginning[0] < 0.75 * beginning[2]
    assert min(middle) > 0.8 * max(middle)
    assert end[2] < 0.5 * end[0]
    whole = _thirds(music(9.0, song_section_start=0.0, model_type="udio130-v1.5"))
    cut = _thirds(music(9.0, song_section_start=0.0, song_section_end=0.1, model_type="udio130-v1.5"))
    assert whole[0] < whole[1] > whole[2]
    assert cut[2] > cut[1] > cut[0]


def test_lyrics_are_split_into_syllables() -> None:
    assert [syllable.vowel for syllable in syllables("[Verse]\nHello (oh) my hmm")] == ["e", "o", "i", "e"]
    assert len(syllables("你的歌词")) == 4
    assert syllables("sing")[0].hiss
    assert not syllables("ring")[0].hiss


def test_generated_lyrics_use_the_prompts_words_and_empty_user_lyrics_stay_empty() -> None:
    assert "lighthouse" in sung_lyrics({"prompt": "the lighthouse", "lyrics_type": "generate"}, "4")
    assert sung_lyrics({"prompt": "x", "lyrics": "", "lyrics_type": "user"}, "1") == ""
    assert sung_lyrics({"prompt": "x", "lyrics": "own", "lyrics_type": "generate"}, "1") == "own"


@pytest.mark.parametrize("seconds", [0.001, 0.01, 0.3])
def test_very_short_clips_can_be_rendered(seconds: float) -> None:
    assert music(seconds).shape == (round(seconds * SAMPLE_RATE), 2)
