"""Write pages to Prefect's UI. The ledger already has their data, so a failure is only a warning."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["shown"]

log = logging.getLogger(f"songflow.{__name__}")

# Prefect's server waits up to a minute for its own SQLite database, and its client asks again after that.
_PATIENCE_SECONDS = 90.0
# A run that is being terminated has 30 s, its worker's grace period, for this and everything else.
_ENDING_SECONDS = 20.0


@asynccontextmanager
async def shown(what: str, otherwise: str) -> AsyncIterator[None]:
    """Turn a failure or a timeout while making and writing a page into a warning that ends with `otherwise`."""
    task = asyncio.current_task()
    ending = task is not None and task.cancelling() > 0
    try:
        async with asyncio.timeout(_ENDING_SECONDS if ending else _PATIENCE_SECONDS):
            yield
    except Exception as error:
        log.warning("%s cannot be shown in Prefect (%s); %s.", what, type(error).__name__, otherwise)
