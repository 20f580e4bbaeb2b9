"""Settings of a simulator, fixed for its lifetime (only the fault script can be replaced while it runs)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from songflow.simulator.faults import FaultScript
from songflow.simulator.recording import Replay

SAMPLE_RATE = 44_100
JOIN = "suno-join"
"""The name under which a concatenation is billed."""
WRITERS = ("suno-lyrics", "udio-lyrics")
"""The names under which lyrics are billed."""
_CHIRPS = ("chirp-v3-5", "chirp-v4", "chirp-auk", "chirp-auk-turbo", "chirp-bluejay", "chirp-crow")
# Chirps and ACE-Step publish a longest length only; their songs here are as long as a usual verse and chorus.
_ACE_STEPS = tuple(f"acestep-v15-{name}" for name in (
    "turbo", "turbo-shift1", "turbo-shift3", "turbo-continuous", "sft", "base", "xl-turbo", "xl-sft", "xl-base",
))  # fmt: skip
MODEL_SECONDS = {
    "udio32-v1.5": 32.81,
    "udio130-v1.5": 130.0,
    **dict.fromkeys((*_CHIRPS, *_ACE_STEPS), 60.0),
    JOIN: 180.0,
    **dict.fromkeys(WRITERS, 0.0),
}
MODEL_PRICE: Mapping[str, float] = {
    "udio32-v1.5": 1,
    "udio130-v1.5": 2,
    **dict.fromkeys(_CHIRPS, 1),
    **dict.fromkeys((*_ACE_STEPS, JOIN), 0),
    **dict.fromkeys(WRITERS, 0.1),
}


class SimulatorSettings(BaseModel):
    """Times are in simulated seconds, which `speed` divides. Shares are 0..1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state_dir: Path | None = Field(
        default=None,
        description="Directory of jobs, bill and audio; None: a temporary one, removed on stop.",
    )
    speed: float = Field(default=1.0, gt=0, description="Divides all simulated time.")
    median_seconds: float = Field(default=54.0, ge=0, description="Median from submit to finish.")
    sigma: float = Field(default=0.3, ge=0, description="Spread of the log-normal generation time.")
    tick_seconds: float = Field(
        default=0.0, ge=0, description="Fetches see changes only at multiples of this; 15 on a real relay."
    )
    clip_seconds: float | None = Field(
        default=None, gt=0, le=600, description="Length of a new song; None: the model's own."
    )
    pool: int = Field(
        default=0,
        ge=0,
        description="If over 0: serve every regular job from this many ready-made takes (for benchmarks).",
    )
    whole_extensions: bool = Field(
        default=True,
        description="False: precede and continuation return only the new part, which no document rules out.",
    )
    whole_parts: bool = Field(
        default=False,
        description="True: a continuation from a second of a song on holds the song up to it, as one gateway says.",
    )
    at_once: int = Field(
        default=0,
        ge=0,
        description="If over 0: refuse submits beyond this many unfinished generations with 429.",
    )
    takes: int = Field(default=2, ge=1, le=8, description="Songs per generation.")
    accept_keys: frozenset[str] | None = Field(
        default=None, description="None: any key is accepted, or none at all."
    )
    webhook_key: str = Field(default="", description="Signs callbacks, where a dialect signs them.")
    credit: float = Field(
        default=1000.0, description="What each account had at first; asked for, it is told."
    )
    spent_keys: frozenset[str] = Field(default=frozenset(), description="Keys whose submits are refused.")
    spent_status: Literal[401, 403] = Field(
        default=403,
        description="How they are refused: 403 with relay quota_not_enough, or 401 in OpenAI style.",
    )
    time_skew_seconds: float = Field(
        default=0.0, description="Added to every time that this gateway reports."
    )
    faults: FaultScript = Field(default_factory=FaultScript, description="What goes wrong, and when.")
    replay: Replay | None = Field(
        default=None,
        description="Answer as this report says, in place of all of the above (but clip_seconds).",
    )
    seed: float = Field(default=0.0, description="Seed of generation times and of fault probabilities.")

    def new_samples(self, model_type: str, seconds: float | None = None) -> int:
        """Length of new music, in samples at 44.1 kHz: the one asked for (s), else the model's, or a shorter clip's."""
        own = MODEL_SECONDS[model_type] if seconds is None else seconds
        return round((self.clip_seconds or own) * SAMPLE_RATE)
