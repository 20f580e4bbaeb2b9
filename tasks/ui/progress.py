"""A progress bar in Prefect's UI; its failures never affect the song."""

from __future__ import annotations

import asyncio
import logging
import time
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

from songflow.polling.durations import TYPICAL_SECONDS

__all__ = ["ProgressBar", "guess"]

log = logging.getLogger(f"songflow.{__name__}")

# Polls may come several times a second (a fast simulator); nobody watches a bar that closely.
_LEAST_SECONDS_BETWEEN = 1.0
# A Prefect API that hangs must not hold up the polling of a song.
_PATIENCE_SECONDS = 5.0
_QUIET_SECONDS = 60.0


def guess(seconds: float) -> float:
    """An estimated share (0..1) for gateways that report no progress: it always grows and never reaches 1."""
    return seconds / (seconds + TYPICAL_SECONDS)


class ProgressBar:
    """The progress artifact of one wait, written at most once per poll."""

    def __init__(self, description: str) -> None:
        self._description = description
        self._artifact: UUID | None = None
        self._not_before = 0.0

    async def update(self, status: str, share: float | None, seconds: float) -> None:
        """Show a share (0..1, None if the gateway reports none) after `seconds` of the generation."""
        if time.monotonic() >= self._not_before:
            self._not_before = time.monotonic() + _LEAST_SECONDS_BETWEEN
            await self._show(guess(seconds) if share is None else share, f"{status} after {seconds:.0f} s")

    async def finish(self) -> None:
        """Fill the bar."""
        if self._artifact is not None:
            await self._show(1.0, "finished")

    async def _show(self, share: float, status: str) -> None:
        percent = 100 * min(1.0, max(0.0, share))
        text = f"{self._description}: {status}"
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                if self._artifact is None:
                    self._artifact = await acreate_progress_artifact(percent, description=text)
                else:
                    await aupdate_progress_artifact(self._artifact, percent, description=text)
        except Exception as error:
            log.warning("The progress cannot be shown (%s); the song is not affected.", type(error).__name__)
            self._not_before = time.monotonic() + _QUIET_SECONDS
