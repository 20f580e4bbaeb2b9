"""Progress that fits a line: a bar, how far it is, and the time that is left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.cells import cell_len

from cli.tables import cut

if TYPE_CHECKING:
    from songflow.accounts import Access
    from songflow.generation.session import Session

__all__ = ["Waiting", "bar", "duration", "fitting_line", "time_left"]

# A pipe has no progress bar; one line a minute shows that the command is alive.
_PLAIN_LINE_EVERY_SECONDS = 60.0
_LONGEST_BAR, _SHORTEST_BAR = 30, 6
_NARROWEST_NAME = 22
_GAP = 2
_LEAST_LEFT_SECONDS = 1.0
_UNFINISHED = frozenset({"queued", "running", "unclear"})


class Waiting:
    """The progress of one generation, as the callback that a wait reports to.

    Args:
        what: Its name.
        show: Shows a line (None: one is logged now and then).
        width: The cells of that line.
        word: What is done before the first report.

    Attributes:
        what: As given; changes with the steps of a whole song.
        expected: Seconds that such a generation takes, from the ledger's history (None: not known).
    """

    def __init__(
        self,
        what: str,
        show: Callable[[str], None] | None = None,
        width: int = 80,
        word: str = "sending",
    ) -> None:
        self.what = what
        self.expected: float | None = None
        self._show, self._width = show, width
        self._last, self._last_at = "", 0.0
        if show is not None:
            show(fitting_line(what, None, word, width))

    def named(self, what: str) -> Waiting:
        """The progress of another generation on the same line."""
        return Waiting(what, self._show, self._width)

    async def expect(self, session: Session, access: Access, model_type: str, mode: str) -> None:
        """Learn from the ledger how long such a generation takes."""
        from songflow.generation.expected import expected_seconds

        self.expected = await expected_seconds(session.library.ledger.key_summaries, access, model_type, mode)

    async def __call__(self, word: str, progress: float | None, seconds: float) -> None:
        """Report a status word, the gateway's progress (0..1) and the seconds since it accepted."""
        left = time_left(self.expected, progress, seconds)
        facts = [word, *([f"{progress:.0%}"] if progress is not None else []), duration(seconds)]
        facts += [f"about {duration(left)} left"] if left and word in _UNFINISHED else []
        if self._show is not None:
            share = progress if progress is not None else self._share(seconds)
            self._show(fitting_line(self.what, share, ", ".join(facts), self._width))
        elif word != self._last or time.monotonic() - self._last_at > _PLAIN_LINE_EVERY_SECONDS:
            self._last, self._last_at = word, time.monotonic()
            more = f", about {duration(left)} left" if left and word in _UNFINISHED else ""
            logging.getLogger("songflow").info("%s: %s after %.0f s%s.", self.what, word, seconds, more)

    def _share(self, seconds: float) -> float | None:
        return None if not self.expected else min(0.99, seconds / self.expected)


def time_left(expected: float | None, progress: float | None, seconds: float) -> float | None:
    """Seconds that are left, by the history, else by the progress so far; None if neither tells, or it is the end."""
    left = 0.0
    if expected is not None and seconds < expected:
        left = expected - seconds
    elif progress is not None and 0.1 <= progress < 1.0:
        left = seconds * (1.0 - progress) / progress
    return left if left >= _LEAST_LEFT_SECONDS else None


def fitting_line(name: str, share: float | None, facts: str, width: int) -> str:
    """A name, a bar and facts on one line; the bar and the name give way, the facts never do."""
    room = width - cell_len(facts) - _GAP - 1
    name_width = min(cell_len(name), max(_NARROWEST_NAME, room - _GAP - _LONGEST_BAR))
    length = min(_LONGEST_BAR, room - name_width - _GAP)
    name = cut(name, min(name_width, max(0, room)))
    parts = [name, bar(share, length)] if share is not None and length >= _SHORTEST_BAR else [name]
    return "  ".join(part for part in (*parts, facts) if part)


def bar(share: float, length: int) -> str:
    """A bar of so many cells."""
    done = round(min(1.0, max(0.0, share)) * length)
    return "━" * done + "─" * (length - done)


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
