"""Finish a recording: trim it, fade it, bring it to a loudness within a true-peak limit, and write it as a new file.

numpy and scipy, which are there anyway, do this in a page of code: pedalboard is GPL, which this package is not;
ffmpeg would be a program of 100 MB and more to install, and its one-pass `loudnorm` changes the dynamics; pyloudnorm
measures, and limits nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from songflow.audio.decoding import AudioProblem, AudioReader, read_samples
from songflow.audio.id3 import Tag, audio_span, encode
from songflow.audio.loudness import LOUDNESS_FLOOR, LoudnessMeter

if TYPE_CHECKING:
    from songflow.audio.decoding import Samples

__all__ = ["FinishFormat", "FinishSettings", "Finished", "finish_file"]

FinishFormat = Literal["mp3", "flac", "wav"]

_SUBTYPES = {"mp3": "MPEG_LAYER_III", "flac": "PCM_24", "wav": "PCM_24"}  # 24 bits need no dither
_BEST_VBR = 0.0  # libsndfile's level 0 is LAME's V0: 190 to 250 kbit/s for music
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_RESAMPLED = 48_000
_SILENCE = 10 ** (-60 / 20)
_KEPT_SILENCE_SECONDS = 0.02
_SHORTEST_SECONDS = 0.1
_BLOCK, _OVERLAP, _OVERSAMPLED = 1 << 17, 64, 4
_BETWEEN_SAMPLES = 2.0  # how much larger a value between samples is at most, but in music that nobody makes
_WINDOW_SECONDS = 0.02
_LOUDNESS_TOLERANCE, _PEAK_TOLERANCE = 0.1, 0.05
_ROUNDS, _LEAST_EFFECT, _MOVED_CEILING = 10, 0.1, 0.2


class FinishSettings(BaseModel):
    """How a song is finished. The same settings make the same file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: FinishFormat = Field(
        "mp3", description="mp3 (variable bitrate, the best quality), flac or wav (24 bits)."
    )
    loudness: Annotated[float, Field(ge=-40, le=-5)] | None = Field(
        -14.0, description="Integrated loudness (LUFS); null leaves it as it is."
    )
    true_peak: float = Field(-1.0, ge=-20, le=0, description="The highest true peak (dBTP).")
    trim: bool = Field(True, description="Remove silence (below -60 dBFS) from both ends.")
    start: float | None = Field(None, ge=0, description="Begin at this second of the song instead.")
    end: float | None = Field(None, gt=0, description="End at this second of the song instead.")
    fade_in: float = Field(0.0, ge=0, le=60, description="Seconds of fade at the beginning.")
    fade_out: float = Field(0.0, ge=0, le=60, description="Seconds of fade at the end.")

    @model_validator(mode="after")
    def _in_order(self) -> FinishSettings:
        if self.start is not None and self.end is not None and self.end < self.start + _SHORTEST_SECONDS:
            raise ValueError("end must come after start")
        return self


@dataclass(frozen=True, slots=True)
class Finished:
    """What a finished file is like: its length (s), integrated loudness (LUFS; None if too short), true peak (dBTP)."""

    seconds: float
    loudness_lufs: float | None
    true_peak_db: float


def finish_file(source: Path, target: Path, settings: FinishSettings, tag: Tag) -> Finished:
    """Write a finished copy of a recording; the source is only read.

    The limiter and a lossy format change what was measured before: each attempt is decoded and measured again, and
    corrected until it is within 0.1 LU and 0.05 dB. Music that the limit does not let become so loud stays quieter.

    Args:
        tag: The copy's own tag; flac and wav get its title, and its own texts as a comment.

    Raises:
        AudioProblem: the source cannot be decoded, is longer than 20 minutes, or nothing is left of it.
        OSError: the target cannot be written.
    """
    samples, rate = read_samples(source)
    samples = _faded(_cut(samples, rate, settings), rate, settings)
    if settings.format == "mp3" and rate not in _MP3_RATES:
        samples, rate = _resampled(samples, rate), _RESAMPLED
    found = _measured(_blocks(samples), rate, samples.shape[1])
    is_loud = found.loudness_lufs is not None and found.loudness_lufs > LOUDNESS_FLOOR
    wanted = settings.loudness if is_loud else None
    gain, ceiling, step = _short_of(wanted, found), settings.true_peak, 0.0
    lowered = False
    for _ in range(_ROUNDS):
        made = _limited(samples * 10 ** (gain / 20), rate, 10 ** (ceiling / 20))
        _write(target, made, rate, settings.format, tag)
        short_before = _short_of(wanted, found)
        with AudioReader(target) as written:
            found = _measured(written.blocks(), written.rate, written.channels)
        over, short = found.true_peak_db - settings.true_peak, _short_of(wanted, found)
        if over <= _PEAK_TOLERANCE and abs(short) <= _LOUDNESS_TOLERANCE:
            break
        # Where the limiter works, more gain makes it less than that much louder; below a tenth, it spoils the music.
        alone = step != 0 and not lowered
        effect = max(_LEAST_EFFECT, min(1.0, (short_before - short) / step)) if alone else 1.0
        if over <= _PEAK_TOLERANCE and short > 0 and effect == _LEAST_EFFECT:
            break
        before = ceiling
        if over > _PEAK_TOLERANCE or ceiling < settings.true_peak:
            ceiling = min(settings.true_peak, ceiling - over)
        lowered = abs(ceiling - before) > _MOVED_CEILING
        step = short / effect
        gain += step
    return found


def _short_of(wanted: float | None, found: Finished) -> float:
    """How much louder it shall be (LU)."""
    return 0.0 if wanted is None or found.loudness_lufs is None else wanted - found.loudness_lufs


def _measured(blocks: Iterable[Samples], rate: int, channels: int) -> Finished:
    meter, frames = LoudnessMeter(rate, channels), 0
    for block in blocks:
        meter.add(block)
        frames += len(block)
    loudness = meter.result()
    return Finished(frames / rate, loudness.loudness_lufs, loudness.true_peak_db)


def _blocks(samples: Samples) -> Iterator[Samples]:
    return (samples[start : start + _BLOCK] for start in range(0, len(samples), _BLOCK))


def _cut(samples: Samples, rate: int, settings: FinishSettings) -> Samples:
    """The part from start to end, where these are not given without the silence."""
    import numpy as np

    start, end = 0, len(samples)
    if settings.trim:
        sounding = np.flatnonzero(np.abs(samples).max(axis=1) > _SILENCE)
        kept = round(_KEPT_SILENCE_SECONDS * rate)
        if len(sounding):
            start, end = max(0, int(sounding[0]) - kept), min(end, int(sounding[-1]) + 1 + kept)
        else:
            end = 0
    start = start if settings.start is None else round(settings.start * rate)
    end = end if settings.end is None else min(round(settings.end * rate), len(samples))
    if end - start < _SHORTEST_SECONDS * rate:
        raise AudioProblem("nothing is left of it")
    return samples[start:end]


def _faded(samples: Samples, rate: int, settings: FinishSettings) -> Samples:
    import numpy as np

    faded = samples.copy()
    for seconds, part in ((settings.fade_in, faded), (settings.fade_out, faded[::-1])):
        length = min(round(seconds * rate), len(faded))
        if length:
            rising = (1 - np.cos(np.pi * np.arange(length, dtype=np.float32) / length)) / 2
            part[:length] *= rising[:, None].astype(np.float32)
    return faded


def _resampled(samples: Samples, rate: int) -> Samples:
    import numpy as np
    from scipy.signal import resample_poly

    common = math.gcd(rate, _RESAMPLED)
    resampled: Samples = resample_poly(samples, _RESAMPLED // common, rate // common, axis=0).astype(
        np.float32
    )
    return resampled


def _limited(samples: Samples, rate: int, ceiling: float) -> Samples:
    """The samples with no value between or at them above a ceiling.

    The gain of all channels falls and rises again over 20 ms around a peak: the smallest gain that any value in that
    time needs, smoothed over as long, which never exceeds it.
    """
    import numpy as np
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    if float(np.abs(samples).max(initial=0.0)) * _BETWEEN_SAMPLES <= ceiling:
        return samples
    gain = np.minimum(1, ceiling / np.maximum(_peaks(samples), 1e-9))
    half = max(1, round(_WINDOW_SECONDS * rate / 4))
    gain = minimum_filter1d(gain, 4 * half + 3, mode="nearest")
    for _ in range(2):
        gain = uniform_filter1d(gain, 2 * half + 1, mode="nearest")
    limited: Samples = samples * gain[:, None].astype(np.float32)
    return limited


def _peaks(samples: Samples) -> Samples:
    """The largest value of any channel from each frame to the next, oversampled."""
    import numpy as np
    from scipy.signal import resample_poly

    found = []
    for start in range(0, len(samples), _BLOCK):
        first = max(0, start - _OVERLAP)
        block = samples[first : start + _BLOCK + _OVERLAP]
        between = np.abs(resample_poly(block, _OVERSAMPLED, 1, axis=0)).max(axis=1)
        peaks = between.reshape(-1, _OVERSAMPLED).max(axis=1)
        found.append(peaks[start - first :][: min(_BLOCK, len(samples) - start)])
    return np.concatenate(found)


def _write(target: Path, samples: Samples, rate: int, format: FinishFormat, tag: Tag) -> None:
    """Encode samples with a tag.

    Raises:
        OSError: it cannot be written.
    """
    import soundfile

    quality = {"compression_level": _BEST_VBR, "bitrate_mode": "VARIABLE"} if format == "mp3" else {}
    try:
        with soundfile.SoundFile(
            str(target), "w", samplerate=rate, channels=samples.shape[1], format=format.upper(),
            subtype=_SUBTYPES[format], **quality,
        ) as file:  # fmt: skip
            if format != "mp3":
                file.title = tag.texts.get("TIT2", "")
                file.comment = "; ".join(f"{name}: {text}" for name, text in tag.own.items())
            file.write(samples)
    except soundfile.LibsndfileError as error:
        raise OSError(f"{error}") from None
    if format == "mp3":
        with target.open("rb") as encoded:
            start, _ = audio_span(encoded)
            encoded.seek(start)
            audio = encoded.read()
        target.write_bytes(encode(tag) + audio)
