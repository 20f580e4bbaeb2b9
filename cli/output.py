"""What a person or a program sees: logs and progress on stderr, the answer on stdout."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.lines import nearby, plain, print_wrapped, prose
from cli.logs import log_to
from cli.progress import Waiting
from cli.tables import manifest_table
from songflow.errors import InputError, InvalidDocument, RequestNotSent, SongflowError

if TYPE_CHECKING:
    import pandas

    from songflow.generation.results import GenerationResult, SongResult

__all__ = ["SIMULATED", "Output", "confirm", "cost_text"]

SIMULATED = "simulated, nothing is billed"

# The spinner and a gap stand before the line, and a terminal writes ^C behind it.
_BESIDE_THE_LINE = 5

_PATH_INDENT = 4

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
        log_to(self.err, logging.WARNING if quiet else logging.INFO)

    def say(self, text: str) -> None:
        """A line for the person at the terminal, on stderr."""
        if not self.quiet:
            print_wrapped(self.err, prose(text))

    def line(self, text: str) -> None:
        """A line of the answer for people, on stdout."""
        print_wrapped(self.out, prose(text))

    def file(self, about: str, path: str) -> None:
        """A line of the answer that ends with a file's path, which has a line of its own where both do not fit."""
        shown = path if self.width is None else nearby(path)
        one = f"{about}{' ' if about.endswith(':') else '  '}{shown}"
        if self.width is None or cell_len(one) <= self.width:
            self.out.print(plain(one))
        else:
            self.line(about)
            margin = len(about) - len(about.lstrip()) + _PATH_INDENT
            self.out.print(plain(f"{' ' * margin}{shown}"))

    def songs(self, songs: Sequence[SongResult]) -> None:
        """Takes: title, length and file, or why there is none."""
        from songflow.ledger.rows import JOINED_BY_GATEWAY

        for song in songs:
            title = song.title or song.song_id or "a take"
            if song.text is not None:
                self.line(f"+ {title}:")
                self.text(song.text)
            elif song.path is None:
                self.line(f"- {title}: {song.error}")
            else:
                self.file(f"+ {title}" + (f" ({song.duration:.1f} s)" if song.duration else ""), song.path)
                if song.whole_path is not None:
                    by = " by the gateway" if song.joined_by == JOINED_BY_GATEWAY else ""
                    self.file(f"  joined{by} into the whole song", song.whole_path)

    def text(self, text: str) -> None:
        """A text of several lines, as it is but for characters that control a terminal."""
        lines = [plain(line) for line in text.splitlines()]
        if self.width is None:
            self.raw("".join(f"{line.plain}\n" for line in lines))
        else:
            for line in lines:
                self.out.print(line)

    def raw(self, text: str) -> None:
        """A text as it is, which the next program reads: in UTF-8, independent of the terminal."""
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
        sys.stdout.buffer.flush()

    def object(self, value: Mapping[str, Any]) -> None:
        """Print the one JSON object in UTF-8, independent of the terminal; a lone surrogate stays escaped."""
        self.raw(json.dumps(value, ensure_ascii=False, default=str) + "\n")

    def result(
        self, result: GenerationResult, unit: str, more: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """A generation's result (in JSON with additional fields); `unit` is that of its price."""
        if self.as_json:
            self.object({**result.as_dict(), **more})
            return
        self.songs(result.songs)
        self.line(
            f"key {result.key}, generation {result.generation_id}, "
            f"{cost_text(result.price, unit, result.billed, result.simulated)}"
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
                print_wrapped(self.err, prose(line))
        if error.key and error.key not in text:
            text += f" (key {error.key}, billed: {error.billed})"
        print_wrapped(self.err, Text("songflow: ", style="bold red").append_text(prose(text)))

    @property
    def width(self) -> int | None:
        """The cells of a line on stdout; None for a pipe, where nothing is cut."""
        return self.out.width if self.out.is_terminal else None

    def manifest(self, frame: pandas.DataFrame, *, wide: bool = False) -> None:
        """The manifest as a table for people that fits the terminal, unless it is to be `wide`."""
        self.table(manifest_table(frame, None if wide else self.width))

    def table(self, table: Table) -> None:
        """A table that is as wide as it should be, whatever the terminal's width."""
        wide = Console(
            width=_PIPE_WIDTH, soft_wrap=True, highlight=False, force_terminal=self.out.is_terminal
        )
        with wide.capture() as drawn:
            wide.print(table)
        for line in drawn.get().splitlines():
            self.out.print(Text.from_ansi(line.rstrip()))

    @contextmanager
    def waiting(self, what: str, word: str = "sending") -> Iterator[Waiting]:
        """Show progress on one line of a terminal, as lines in a pipe; yields the callback that the wait reports to.

        Args:
            what: What is made.
            word: What is done before the first report.
        """
        if self.err.is_terminal and not self.as_json and not self.quiet:
            with self.err.status("") as status:
                width = self.err.width - _BESIDE_THE_LINE
                yield Waiting(what, lambda line: status.update(plain(line)), width, word)
        else:
            yield Waiting(what)


def cost_text(price: float, unit: str, billed: str, simulated: bool) -> str:
    """What a generation costs, and whether that is paid."""
    from songflow.settings import amount

    return f"price {amount(price, unit)} ({SIMULATED if simulated else f'billed: {billed}'})"


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
