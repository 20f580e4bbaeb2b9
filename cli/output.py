"""What a person or a program sees: logs and progress on stderr, the answer on stdout."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from songflow.collecting import Progress
from songflow.errors import SongflowError
from songflow.results import GenerationResult

if TYPE_CHECKING:
    import pandas

__all__ = ["Output"]

# In a pipe nobody watches a bar move; one line a minute says that it is alive.
_PLAIN_LINE_EVERY_SECONDS = 60.0

_TABLE_COLUMNS = {
    "title": "title",
    "mode": "mode",
    "depth": "depth",
    "seconds": "length",
    "state": "state",
    "gateway": "gateway",
    "price": "price",
    "song_id": "song id",
    "path": "file",
}


class Output:
    """One command's way of speaking: `as_json` puts one object on stdout and nothing else."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        # A pipe has no width: what is cut there is lost to the next program.
        self.out = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 400)
        self.err = Console(stderr=True, soft_wrap=True, highlight=False)
        _log_to(self.err, logging.WARNING if quiet else logging.INFO)

    def say(self, text: str) -> None:
        """A line for the person at the terminal, on stderr."""
        if not self.quiet:
            self.err.print(Text(text))

    def object(self, value: Mapping[str, Any]) -> None:
        """The one JSON object."""
        sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
        sys.stdout.flush()

    def result(self, result: GenerationResult) -> None:
        """A generation's result."""
        if self.as_json:
            self.object(result.as_dict())
            return
        for song in result.songs:
            if song.path is None:
                self.out.print(Text(f"- {song.title or song.song_id or 'a take'}: {song.error}"))
            else:
                length = f" ({song.duration:.1f} s)" if song.duration else ""
                self.out.print(Text(f"+ {song.title or song.song_id}{length}  {song.path}"))
        self.out.print(
            Text(f"key {result.key}, generation {result.generation_id}, price {result.price:g} (billed: {result.billed})")
        )

    def error(self, error: SongflowError) -> None:
        """A failure: one object with --json, else one message."""
        if self.as_json:
            facts = error.facts()
            self.object(
                {
                    "error": error.message,
                    **{name: facts[name] for name in ("billed", "key", "generation_id", "state", "next")},
                }
            )
        text = Text("songflow: ", style="bold red").append(str(error), style="default")
        if error.key and error.key not in str(error):
            text.append(f" (key {error.key}, billed: {error.billed})", style="default")
        self.err.print(text)

    def manifest(self, frame: pandas.DataFrame) -> None:
        """The manifest as a table for people (the other formats show every column)."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in _TABLE_COLUMNS.values():
            table.add_column(heading, overflow="fold", no_wrap=heading != "title")
        for row in frame.to_dict("records"):
            table.add_row(*(Text(_cell(name, row[name])) for name in _TABLE_COLUMNS))
        self.out.print(table)

    @asynccontextmanager
    async def waiting(self, what: str) -> AsyncIterator[Progress]:
        """A live display in a terminal, plain lines in a pipe; yields what the wait reports to."""
        if self.quiet:
            yield _ignore
        elif self.err.is_terminal and not self.as_json:
            with self.err.status(Text(f"{what}: sending")) as status:

                async def show(word: str, progress: float | None, seconds: float) -> None:
                    share = f", {progress:.0%}" if progress is not None else ""
                    status.update(Text(f"{what}: {word}{share}, {seconds:.0f} s"))

                yield show
        else:
            yield _plain_lines(self, what)


async def _ignore(_word: str, _progress: float | None, _seconds: float) -> None:
    return


def _plain_lines(output: Output, what: str) -> Progress:
    last_word, last_time = "", 0.0

    async def tell(word: str, _progress: float | None, seconds: float) -> None:
        nonlocal last_word, last_time
        if word != last_word or time.monotonic() - last_time > _PLAIN_LINE_EVERY_SECONDS:
            last_word, last_time = word, time.monotonic()
            logging.getLogger("songflow").info("%s: %s after %.0f s.", what, word, seconds)

    return tell


def _cell(name: str, value: Any) -> str:
    import pandas

    if value is None or pandas.isna(value):
        return ""
    return f"{value:.2f}" if name == "seconds" else f"{value:g}" if isinstance(value, float) else str(value)


def _log_to(console: Console, level: int) -> None:
    """Our own log lines, and warnings of others, to stderr in a form that a person reads."""
    logger = logging.getLogger("songflow")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    handler = _ConsoleHandler(console)
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False


class _ConsoleHandler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """A time, a level where it matters, and the message as plain text (titles are not markup)."""
        line = Text(time.strftime("%H:%M:%S ", time.localtime(record.created)), style="dim")
        style = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "bold red"}
        line.append(record.getMessage(), style=style.get(record.levelno, "default"))
        self._console.print(line)
