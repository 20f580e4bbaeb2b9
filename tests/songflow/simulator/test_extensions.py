"""An extension contains the source's samples and new music in the source's key and tempo."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from songflow.simulator.settings import SAMPLE_RATE
from songflow.simulator.synth.codec import splice

CLIP = 2.0


def _samples(sim: Any, song: dict[str, Any]) -> np.ndarray:
    audio, rate = sf.read(io.BytesIO(sim.download(song).content), dtype="float32", always_2d=True)
    assert rate == SAMPLE_RATE
    return np.asarray(audio)


def _likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two aligned signals of the same length."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _config(mode: str, song: dict[str, Any]) -> dict[str, Any]:
    source = {"source_type": "song", "song_id": song["id"]}
    return {"mode": mode, "context_length": 130, "source": source}


@pytest.fixture
def sim(simulate: Any) -> Any:
    return simulate(clip_seconds=CLIP, takes=1)


@pytest.mark.parametrize("mode", ["precede", "continuation"])
def test_an_extension_contains_its_source_and_no_other_song(sim: Any, mode: str) -> None:
    source, other = sim.songs(seed=1)[0], sim.songs(seed=2)[0]
    longer = sim.songs(prompt="something new", config=_config(mode, source))[0]
    audio, old, unrelated = _samples(sim, longer), _samples(sim, source), _samples(sim, other)
    assert longer["duration"] == pytest.approx(2 * CLIP)
    assert longer["audio_conditioning_type"] == mode
    assert len(audio) == 2 * len(old)
    part, rest = (
        (audio[len(old) :], audio[: len(old)])
        if mode == "precede"
        else (audio[: len(old)], audio[len(old) :])
    )
    assert _likeness(part, old) > 0.97
    assert abs(_likeness(part, unrelated)) < 0.5
    assert abs(_likeness(rest, old)) < 0.5
    assert float(np.abs(rest).max()) > 0.1


def test_extensions_can_be_chained(sim: Any) -> None:
    """Intro and outro around a core, each extending the previous song."""
    core = sim.songs(seed=4)[0]
    with_intro = sim.songs(config=_config("precede", core), seed=4)[0]
    whole = sim.songs(config=_config("continuation", with_intro), song_section_start=0.9)[0]
    again = sim.songs(config=_config("precede", whole), model_type="udio130-v1.5")[0]
    assert [song["duration"] for song in (with_intro, whole, again)] == pytest.approx([4.0, 6.0, 8.0])
    audio, old = _samples(sim, again), _samples(sim, core)
    start = 2 * len(old)
    assert _likeness(audio[start : start + len(old)], old) > 0.95
    store = sim.server.gateway.store
    job = store.job(again["generation_id"])
    assert store.root(job).generation_id == core["generation_id"]
    assert store.root_offset(job) == start


def test_a_deleted_source_is_rendered_again(simulate: Any, tmp_path: Any) -> None:
    sim = simulate(clip_seconds=0.25, takes=1, state_dir=tmp_path)
    source = sim.songs(seed=-1)[0]
    before = _samples(sim, source)
    for file in (tmp_path / "audio").iterdir():
        file.unlink()
    sim.server.stop()
    restarted = simulate(clip_seconds=0.25, takes=1, state_dir=tmp_path)
    longer = restarted.songs(config=_config("continuation", source))[0]
    assert _likeness(_samples(restarted, longer)[: len(before)], before) > 0.97


def test_the_new_part_continues_key_and_beat_of_the_source() -> None:
    """Bars fall at the same times in one long song and in a continuation."""
    from songflow.simulator.synth.render import render

    root = {"prompt": "fast techno", "seed": 1, "lyrics_type": "instrumental", "song_section_start": 0.4}
    n = 3 * SAMPLE_RATE

    def play(params: dict[str, Any], samples: int, start: int) -> np.ndarray:
        return render(params, root=root, root_seed="1", seed="1/1", samples=samples, start=start)

    def hits(audio: np.ndarray) -> np.ndarray:
        return (
            np.abs(np.diff(audio.mean(axis=1)))[: n - 1]
            .reshape(-1)[: (n - 1) // 441 * 441]
            .reshape(-1, 441)
            .mean(axis=1)
        )

    second_half, continuation = play(root, 2 * n, 0)[n:], play(root, n, n)
    assert np.corrcoef(hits(second_half), hits(continuation))[0, 1] > 0.9
    shifted = play(root, n, n + SAMPLE_RATE // 7)
    assert np.corrcoef(hits(second_half), hits(shifted))[0, 1] < 0.7
    assert play(root, n, -n).shape == (n, 2)


@pytest.mark.parametrize("before", [True, False])
def test_a_splice_leaves_the_source_unchanged(before: bool) -> None:
    luck = np.random.default_rng(0)
    source, new = (luck.standard_normal((5000, 2)).astype(np.float32) for _ in range(2))
    kept = new.copy()
    whole = splice(source, new, before=before)
    old_part = whole[5000:] if before else whole[:5000]
    new_part = whole[:5000] if before else whole[5000:]
    assert np.array_equal(old_part, source)
    assert np.array_equal(new, kept)
    assert np.count_nonzero((new_part != new).any(axis=1)) < 500
    seam = new_part[-1] if before else new_part[0]
    assert np.abs(seam).max() < 0.01
