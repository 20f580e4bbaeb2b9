"""The settings of a session: how this process polls, waits, retries and spends."""

from __future__ import annotations

from dataclasses import dataclass, field

from songflow.families.field_types import Join
from songflow.ledger.rows import RunIds
from songflow.runtime.retry import Backoff

__all__ = ["EMBEDDED_SPEED", "LONGEST_REFUSAL_PAUSE_SECONDS", "SessionSettings"]

EMBEDDED_SPEED = 20.0
"""The embedded simulator's time runs this much faster: a first song takes seconds, not a minute."""

LONGEST_REFUSAL_PAUSE_SECONDS = 30.0
"""No pause between two submits of one request is longer, unless the gateway asks for it."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How a session polls, waits, retries and spends. Times are in seconds.

    Attributes:
        poll_interval: Fixes the interval between polls (None: learned; without history 5 s of the gateway's time).
        busy: Other requests wait for each slot at the gateway: a learned schedule notices the end of a generation in
            half the time, for twice the polls, which are free.
        deadline: How long to wait for one generation (None: by its model).
        retries: How often a refusal that may be repeated, or a POST that was not sent, is tried again.
        repeat_within: The time that all these retries together may take.
        submit_timeout: The time that one POST may take in all.
        lease_margin: How long a lease outlives what it covers.
        embedded_speed: How much faster the embedded simulator's time runs.
        clip_seconds: Shortens the embedded simulator's songs.
        budget: The most that this run may spend, in units.
        join: Who joins a new part with the song that it extends: this machine ("local"), its gateway, or no one.
        budget_run: What counts as this run (None: the root flow run, else the request key).
        runs: The Prefect runs that this session works for.
    """

    poll_interval: float | None = None
    busy: bool = False
    deadline: float | None = None
    retries: int = 4
    repeat_within: float = 60.0
    submit_timeout: float = 120.0
    lease_margin: float = 30.0
    embedded_speed: float = EMBEDDED_SPEED
    clip_seconds: float | None = None
    budget: float | None = None
    join: Join = "local"
    budget_run: str | None = None
    runs: RunIds = field(default_factory=RunIds)

    @property
    def refusal_backoff(self) -> Backoff:
        """How a submit is retried that was certainly not billed."""
        return Backoff(
            first=1.0,
            longest=LONGEST_REFUSAL_PAUSE_SECONDS,
            jitter=0.5,
            attempts=self.retries + 1,
            within=self.repeat_within,
        )
