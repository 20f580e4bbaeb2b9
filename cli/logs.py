"""Log lines on stderr in one form: a time, and a message that a person reads; Prefect's among them."""

from __future__ import annotations

import logging
import time

from rich.console import Console
from rich.text import Text

from cli.lines import print_wrapped, prose

__all__ = ["join_prefect_logs", "log_to", "stop_logging"]

_RUNS = ("prefect.flow_runs", "prefect.task_runs")


def log_to(console: Console, level: int) -> None:
    """Our own log lines to stderr in a form that a person reads."""
    stop_logging()
    logger = logging.getLogger("songflow")
    logger.addHandler(_ConsoleHandler(console, logger.level, logger.propagate))
    logger.setLevel(level)
    logger.propagate = False


def stop_logging() -> None:
    """Leave the loggers as they were before the command."""
    while _joined:
        owner, ours, theirs = _joined.pop()
        owner.removeHandler(ours)
        owner.addHandler(theirs)
    logger = logging.getLogger("songflow")
    for handler in list(logger.handlers):
        if isinstance(handler, _ConsoleHandler):
            logger.removeHandler(handler)
            logger.setLevel(handler.level_before)
            logger.propagate = handler.propagated_before


def join_prefect_logs() -> None:
    """Let Prefect's log lines appear in our form, less what the command itself reports."""
    from prefect.logging.handlers import PrefectConsoleHandler

    ours = next(
        (one for one in logging.getLogger("songflow").handlers if isinstance(one, _ConsoleHandler)), None
    )
    if ours is None:
        return
    news = _News()
    known = (logging.getLogger(name) for name in list(logging.root.manager.loggerDict))
    for logger in (logging.root, *known):
        for handler in list(logger.handlers):
            if isinstance(handler, PrefectConsoleHandler):
                logger.removeHandler(handler)
                joined = _ConsoleHandler(ours._console, logger.level, logger.propagate)
                joined.setLevel(logging.getLogger("songflow").level)
                joined.addFilter(news)
                logger.addHandler(joined)
                _joined.append((logger, joined, handler))


_joined: list[tuple[logging.Logger, logging.Handler, logging.Handler]] = []


class _News(logging.Filter):
    """Drops what a person at the terminal reads elsewhere.

    A run's own lines are for its page: the command reports the same in its progress, its answer and its error. What is
    left are the run's address, once, and that a task is repeated.
    """

    def __init__(self) -> None:
        super().__init__()
        self._addresses: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a line to drop."""
        message = record.getMessage()
        if message.startswith("View at "):
            is_new = message not in self._addresses
            self._addresses.add(message)
            return is_new
        if record.name.startswith(_RUNS):
            return " - Retry " in message
        return record.levelno > logging.INFO


class _ConsoleHandler(logging.Handler):
    def __init__(self, console: Console, level_before: int, propagated_before: bool) -> None:
        super().__init__()
        self._console = console
        self.level_before = level_before
        self.propagated_before = propagated_before

    def emit(self, record: logging.LogRecord) -> None:
        """A time, a level where it matters, and the message as plain text (titles are not markup)."""
        line = Text(time.strftime("%H:%M:%S ", time.localtime(record.created)), style="dim")
        style = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "bold red"}
        message = prose(record.getMessage())
        message.stylize(style.get(record.levelno, "default"))
        print_wrapped(self._console, line.append_text(message))
