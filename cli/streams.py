"""The standard streams of a command: what cannot be written there ends no command, and is reported once.

A song may be paid for and stored when its answer meets a full disk, a closed stream or a reader that has gone.
"""

from __future__ import annotations

import errno
import io
import os
import select
from typing import Any, TextIO

__all__ = ["fill_closed", "tolerant", "write_problem"]


class _Tolerant(io.RawIOBase):
    """A descriptor that takes everything; the first error is kept, and from there on what is written is dropped."""

    def __init__(self, descriptor: int, problem: OSError | None) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.problem = problem

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        content = memoryview(data).cast("B")
        while self.problem is None:
            try:
                return os.write(self._descriptor, content)
            except BlockingIOError:  # a pipe that another program made non-blocking
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.problem = error
        return len(content)


def fill_closed() -> None:
    """Open /dev/null for each standard descriptor that is closed, so that no file of ours takes its number."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


def tolerant(stream: TextIO | None, descriptor: int) -> TextIO | None:
    """The stream (None: it was closed) as one that raises no error of its descriptor.

    A letter that its encoding does not have is escaped. Other streams than those of the process stay as they are.
    """
    if stream is not None and not (
        isinstance(stream, io.TextIOWrapper) and _is_descriptor(stream, descriptor)
    ):
        return stream
    raw = _Tolerant(descriptor, OSError(errno.EBADF, "it is closed") if stream is None else None)
    if stream is not None:
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if stream is None else stream.encoding,
        errors="backslashreplace",
        newline=None,
        line_buffering=descriptor == 2 or raw.isatty(),
    )


def write_problem(stream: TextIO | None) -> OSError | None:
    """What went wrong with a stream of `tolerant`, after writing out the rest; None if nothing did."""
    if not isinstance(stream, io.TextIOWrapper):
        return None
    raw = getattr(stream.buffer, "raw", None)
    if not isinstance(raw, _Tolerant):
        return None
    stream.flush()
    return raw.problem


def _is_descriptor(stream: io.TextIOWrapper, descriptor: int) -> bool:
    try:
        return stream.fileno() == descriptor
    except (OSError, ValueError):
        return False
