"""Songflow's log lines in the logs of the Prefect run that they belong to.

The domain logs with Python's own loggers below `songflow`. Prefect shows other libraries' loggers in a run
only where PREFECT_LOGGING_EXTRA_LOGGERS names them; here the same handler is attached without that setting.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler

__all__ = ["RunLogHandler", "send_logs", "show_in_runs"]

_PATIENCE_SECONDS = 5.0


class RunLogHandler(APILogHandler):
    """Prefect's own handler, silent outside of runs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line to the run that is at work, if one is."""
        if FlowRunContext.get() is not None or TaskRunContext.get() is not None:
            super().emit(record)


def show_in_runs(name: str = "songflow") -> None:
    """Attach the handler to a logger once; its level becomes INFO where none was chosen."""
    logger = logging.getLogger(name)
    if not any(isinstance(handler, APILogHandler) for handler in logger.handlers):
        logger.addHandler(RunLogHandler())
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


async def send_logs() -> None:
    """Send what waits for the next batch now: a process that was told to end may not come to it."""
    with suppress(Exception):  # the lines stand on stderr, too
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await APILogHandler.aflush()
