"""Pages in Prefect's UI: the ledger, the truth, has everything already, so trouble with them is a warning."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["shown"]

log = logging.getLogger(f"songflow.{__name__}")

# Prefect's server waits up to a minute for its own SQLite database, and its client asks again after that.
_PATIENCE_SECONDS = 90.0
# A run that is told to end has its worker's 30 s for this and for everything else.
_ENDING_SECONDS = 20.0


@asynccontextmanager
async def shown(what: str, otherwise: str) -> AsyncIterator[None]:
    """Around making and writing a page; `otherwise` says what holds where it fails or takes too long."""
    task = asyncio.current_task()
    ending = task is not None and task.cancelling() > 0
    try:
        async with asyncio.timeout(_ENDING_SECONDS if ending else _PATIENCE_SECONDS):
            yield
    except Exception as error:
        log.warning("%s cannot be shown in Prefect (%s); %s.", what, type(error).__name__, otherwise)
