"""What a person or a program sees: logs and progress on stderr, the answer on stdout."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.progress import Waiting
from cli.tables import manifest_table, printable
from songflow.errors import InputError, InvalidDocument, RequestNotSent, SongflowError
from songflow.settings import amount

if TYPE_CHECKING:
    import pandas

    from songflow.generation.results import GenerationResult

__all__ = ["SIMULATED", "Output", "confirm", "cost_text", "join_prefect_logs", "plain", "stop_logging"]

SIMULATED = "simulated, nothing is billed"

_SPINNER_WIDTH = 2

# What is cut in a pipe is lost to the next program, so a pipe is wider than any row.
_PIPE_WIDTH = 10_000


class Output:
    """One command's way of speaking: `as_json` puts one object on stdout and nothing else."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.out = Console(
            soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH
        )
        self.err = Console(stderr=True, soft_wrap=True, highlight=False)
        _log_to(self.err, logging.WARNING if quiet else logging.INFO)

    def say(self, text: str) -> None:
        """A line for the person at the terminal, on stderr."""
        if not self.quiet:
            self.err.print(plain(text))

    def line(self, text: str) -> None:
        """A line of the answer for people, on stdout."""
        self.out.print(plain(text))

    def object(self, value: Mapping[str, Any]) -> None:
        """Print the one JSON object in UTF-8, independent of the terminal; a lone surrogate stays escaped."""
        sys.stdout.flush()
        line = json.dumps(value, ensure_ascii=False, default=str) + "\n"
        sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace"))
        sys.stdout.buffer.flush()

    def result(self, result: GenerationResult, unit: str) -> None:
        """A generation's result; `unit` is that of its price."""
        if self.as_json:
            self.object(result.as_dict())
            return
        for song in result.songs:
            if song.path is None:
                self.out.print(plain(f"- {song.title or song.song_id or 'a take'}: {song.error}"))
            else:
                length = f" ({song.duration:.1f} s)" if song.duration else ""
                self.out.print(plain(f"+ {song.title or song.song_id}{length}  {song.path}"))
                if song.whole_path is not None:
                    self.out.print(plain(f"  joined into the whole song  {song.whole_path}"))
        self.out.print(
            plain(
                f"key {result.key}, generation {result.generation_id}, "
                f"{cost_text(result.price, unit, result.billed, result.simulated)}"
            )
        )

    def error(self, error: SongflowError, more: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Print a failure: one object with --json (with additional fields), else one message."""
        if self.as_json:
            facts = error.facts()
            self.object(
                {
                    "error": error.message,
                    **{name: facts[name] for name in ("billed", "key", "generation_id", "state", "next")},
                    **({"faults": error.faults} if isinstance(error, InvalidDocument) else {}),
                    **more,
                }
            )
        text = str(error)
        if isinstance(error, InvalidDocument) and len(error.faults) > 1:
            head, text = error.message.partition(": ")[0], f"Next: {error.next}"
            for line in (f"{head}:", *(f"  {fault}" for fault in error.faults)):
                self.err.print(plain(line))
        if error.key and error.key not in text:
            text += f" (key {error.key}, billed: {error.billed})"
        self.err.print(Text("songflow: ", style="bold red").append_text(plain(text)))

    @property
    def width(self) -> int | None:
        """The cells of a line on stdout; None for a pipe, where nothing is cut."""
        return self.out.width if self.out.is_terminal else None

    def manifest(self, frame: pandas.DataFrame, *, wide: bool = False) -> None:
        """The manifest as a table for people that fits the terminal, unless it is to be `wide`."""
        self.table(manifest_table(frame, None if wide else self.width))

    def table(self, table: Table) -> None:
        """A table that is as wide as it should be."""
        self.out.print(table, width=_PIPE_WIDTH)

    @contextmanager
    def waiting(self, what: str) -> Iterator[Waiting]:
        """Show progress on one line of a terminal, as lines in a pipe; yields the callback that the wait reports to."""
        if self.err.is_terminal and not self.as_json and not self.quiet:
            with self.err.status("") as status:
                # The spinner and a gap stand before the line.
                yield Waiting(what, lambda line: status.update(plain(line)), self.err.width - _SPINNER_WIDTH)
        else:
            yield Waiting(what)


def cost_text(price: float, unit: str, billed: str, simulated: bool) -> str:
    """What a generation costs, and whether that is paid."""
    return f"price {amount(price, unit)} ({SIMULATED if simulated else f'billed: {billed}'})"


def plain(text: str) -> Text:
    """Text of others for a terminal: one line, without markup, escape sequences or marks that reorder it."""
    return Text(printable(text))


def _log_to(console: Console, level: int) -> None:
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
    """Let Prefect's log lines appear in our form: the run's address once, and not each step of its own."""
    from prefect.logging.handlers import PrefectConsoleHandler

    ours = next(
        (one for one in logging.getLogger("songflow").handlers if isinstance(one, _ConsoleHandler)), None
    )
    if ours is None:
        return
    known = (logging.getLogger(name) for name in list(logging.root.manager.loggerDict))
    for logger in (logging.root, *known):
        for handler in list(logger.handlers):
            if isinstance(handler, PrefectConsoleHandler):
                logger.removeHandler(handler)
                joined = _ConsoleHandler(ours._console, logger.level, logger.propagate)
                joined.setLevel(logging.getLogger("songflow").level)
                joined.addFilter(_OnceOnly())
                logger.addHandler(joined)
                _joined.append((logger, joined, handler))


_joined: list[tuple[logging.Logger, logging.Handler, logging.Handler]] = []


class _OnceOnly(logging.Filter):
    """Drops what a person at the terminal has no use for: repeated addresses, and the steps of Prefect's engine."""

    _SEEN_ELSEWHERE = ("Beginning ", "Finished in state Completed(", "Created ")

    def __init__(self) -> None:
        super().__init__()
        self._addresses: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """False for a line to drop."""
        if record.levelno > logging.INFO:
            return True
        message = record.getMessage()
        if message.startswith("View at "):
            is_new = message not in self._addresses
            self._addresses.add(message)
            return is_new
        return not message.startswith(self._SEEN_ELSEWHERE)


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
        message = plain(record.getMessage())
        message.stylize(style.get(record.levelno, "default"))
        self._console.print(line.append_text(message))


def confirm(question: str, action: str, otherwise: str) -> None:
    """Ask on the terminal before money is spent; `otherwise` is the advice if the answer is not yes.

    Raises:
        InputError: there is no terminal to ask on.
        RequestNotSent: the answer was not yes.
    """
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InputError(f"{question} Nothing was sent.", next="add --yes if that is what you want.")
    sys.stderr.write(f"{question} {action} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise RequestNotSent("Not confirmed: nothing was sent.", next=otherwise)
