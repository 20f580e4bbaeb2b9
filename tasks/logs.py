"""Send Songflow's log lines to the logs of the Prefect run they belong to.

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
    """Prefect's own handler, which ignores lines logged outside of runs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line to the current run, if there is one."""
        if FlowRunContext.get() is not None or TaskRunContext.get() is not None:
            super().emit(record)


def show_in_runs(name: str = "songflow") -> None:
    """Attach the handler to a logger once, and set the logger's level to INFO if it has none."""
    logger = logging.getLogger(name)
    if not any(isinstance(handler, APILogHandler) for handler in logger.handlers):
        logger.addHandler(RunLogHandler())
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)


async def send_logs() -> None:
    """Send the batched lines now: a process that is being terminated may not reach the next batch."""
    with suppress(Exception):  # the lines are on stderr, too
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await APILogHandler.aflush()
