"""Settings of a simulator, fixed for its lifetime (only the fault script can be replaced while it runs)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from songflow.simulator.faults import FaultScript
from songflow.simulator.recording import Replay

SAMPLE_RATE = 44_100
_CHIRPS = ("chirp-v3-5", "chirp-v4", "chirp-auk", "chirp-auk-turbo", "chirp-bluejay", "chirp-crow")
# Chirps publish a longest length only; their songs here are as long as a usual verse and chorus.
MODEL_SECONDS = {"udio32-v1.5": 32.81, "udio130-v1.5": 130.0, **dict.fromkeys(_CHIRPS, 60.0)}
MODEL_PRICE = {"udio32-v1.5": 1, "udio130-v1.5": 2, **dict.fromkeys(_CHIRPS, 1)}


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
    at_once: int = Field(
        default=0,
        ge=0,
        description="If over 0: refuse submits beyond this many unfinished generations with 429.",
    )
    takes: int = Field(default=2, ge=1, le=8, description="Songs per generation.")
    accept_keys: frozenset[str] | None = Field(
        default=None, description="None: any key is accepted, or none at all."
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

    def new_samples(self, model_type: str) -> int:
        """Length of a model's new music, in samples at 44.1 kHz."""
        return round((self.clip_seconds or MODEL_SECONDS[model_type]) * SAMPLE_RATE)
