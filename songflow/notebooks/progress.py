"""Progress of a call that waits: the request key and one line of text that is replaced, in Jupyter and in a terminal.

The key is shown before anything is sent, so that a call that is interrupted can be continued.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from songflow.documents.text import one_line

__all__ = ["Report", "Shown", "shown_progress"]

Report = Callable[[str, float | None, float], Awaitable[None]]
"""Called after each poll: the status word, the gateway's progress (0..1, if it reports one), seconds since accepted."""

Shown = bool | Report | None
"""True and False: show progress or not. None: where a person looks on. Or who is called with it instead."""


class _Line(Protocol):
    """One line of text that is shown and replaced.

    Attributes:
        keeps_first: Its first text stays visible, so that later ones need not repeat the key.
    """

    keeps_first: bool

    def show(self, text: str) -> None: ...
    def end(self, text: str) -> None: ...


@asynccontextmanager
async def shown_progress(choice: Shown, label: str, key: str) -> AsyncIterator[Report | None]:
    """Show the progress of what runs inside; yields what the wait reports to.

    Args:
        choice: None shows it in a notebook and in a terminal, and nowhere else.
        label: What is made.
        key: Its request key.
    """
    line = None if callable(choice) else _line_for(choice)
    if line is None:
        yield choice if callable(choice) else None
        return
    name, seen = f"'{one_line(label, 40)}'", 0.0
    head = f"{name}, key {one_line(key, 255)}: "
    later = f"{name}: " if line.keeps_first else head

    async def show(word: str, progress: float | None, seconds: float) -> None:
        nonlocal seen
        seen = seconds
        share = f" {progress:.0%}" if progress is not None else ""
        line.show(f"{later}{one_line(word)}{share}, {seconds:.0f} s")

    line.show(f"{head}sending")
    try:
        yield show
    except BaseException as error:
        line.end(
            f"{head}stopped after {seen:.0f} s ({type(error).__name__}); the same call with this key in `safety` "
            "continues it and never pays twice"
        )
        raise
    line.end(f"{head}stored")


def _line_for(choice: bool | None) -> _Line | None:
    if choice is False:
        return None
    if _in_notebook():
        return _NotebookLine()
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    if is_terminal:
        return _TerminalLine()
    return _PlainLines() if choice and sys.stderr is not None else None


def _in_notebook() -> bool:
    """True in a kernel that displays outputs; IPython in a terminal is a terminal."""
    ipython = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class _NotebookLine:
    """A text output that is updated in place."""

    keeps_first = False

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str) -> None:
        data = {"text/plain": text}
        if self._handle is None:
            self._handle = sys.modules["IPython.display"].display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    def end(self, text: str) -> None:
        self.show(text)


class _TerminalLine:
    """A line on stderr that is written over; it is cut to the terminal's width, its first and last texts are not."""

    keeps_first = True

    def __init__(self) -> None:
        self._is_first = True

    def show(self, text: str) -> None:
        if self._is_first:  # whole: it has the key
            self._is_first = False
            sys.stderr.write(f"{text}\n")
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r\x1b[2K{one_line(text, max(20, width))}")
        sys.stderr.flush()

    def end(self, text: str) -> None:
        sys.stderr.write(f"\r\x1b[2K{text}\n")
        sys.stderr.flush()


class _PlainLines:
    """A line on stderr for each new status, for a pipe or a file."""

    keeps_first = False

    def __init__(self) -> None:
        self._last = ""

    def show(self, text: str) -> None:
        status = text.rpartition(", ")[0] or text
        if status != self._last:
            self._last = status
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def end(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
