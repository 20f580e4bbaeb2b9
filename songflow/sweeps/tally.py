"""Running counts of cell outcomes, and the result of a sweep: a few numbers for a sweep of any size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from songflow.documents.text import counted
from songflow.errors import InputError, SongflowError, worst_exit_code
from songflow.events import Notice
from songflow.settings import amount
from songflow.sweeps.cells import Cell

__all__ = ["RUN_AGAIN", "Failure", "SweepResult", "SweepUnfinished", "Tally"]

MAX_LISTED_FAILURES = 100
RUN_AGAIN = "run the sweep again: it continues from here, and pays for no cell twice."
_COUNT_OF_CODE = {3: "refused", 4: "failed", 5: "unsettled", 6: "not_started"}
# If no request was sent, exit code 2 ("nothing was sent") is true, and the most helpful.
_NOTHING_SENT = InputError.exit_code
_ALSO_NOTHING_SENT = frozenset({_NOTHING_SENT, 3})


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that failed, and what to do next."""

    key: str
    error: str
    state: str | None
    billed: str
    generation_id: str | None
    next: str | None

    @classmethod
    def of(cls, key: str, error: SongflowError) -> Failure:
        """Take the facts of a cell's error."""
        return cls(key, error.message, error.state, error.billed, error.generation_id, error.next)


@dataclass(slots=True)
class Tally:
    """Counts of cells, updated as they end.

    Attributes:
        cells: All cells.
        existing: Cells whose songs an earlier run stored.
        stored: Cells whose songs this run stored.
        songs: Takes that this run stored.
        refused: Cells that the gateway refused, or that were not sent: not billed.
        failed: Cells that the gateway accepted and that failed there.
        unsettled: Cells that still run or whose outcome is unknown; `rescue` collects or lists them.
        troubled: Cells with any other error.
        not_started: Cells that were left when the run stopped.
        running: Cells at the gateway now.
        collecting: Cells that have ended there and are being fetched.
        stopped: Why no more cells are started (None: they are).
        codes: The exit codes of failed cells, and of the error that stopped the run.
        failures: The first failed cells.
    """

    cells: int = 0
    existing: int = 0
    stored: int = 0
    songs: int = 0
    refused: int = 0
    failed: int = 0
    unsettled: int = 0
    troubled: int = 0
    not_started: int = 0
    running: int = 0
    collecting: int = 0
    stopped: str | None = None
    codes: set[int] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)

    @property
    def ended(self) -> int:
        """Cells that have an outcome."""
        bad = self.refused + self.failed + self.unsettled + self.troubled
        return self.existing + self.stored + bad + self.not_started

    def error(self, cell: Cell, error: SongflowError) -> None:
        """Count a failed cell."""
        count = _COUNT_OF_CODE.get(error.exit_code, "troubled")
        setattr(self, count, getattr(self, count) + 1)
        self.codes.add(error.exit_code)
        if len(self.failures) < MAX_LISTED_FAILURES and count != "not_started":
            self.failures.append(Failure.of(cell.key, error))

    def exit_code(self, posts: int) -> int:
        """The exit code of a run that has sent so many requests: the worst of its cells, in the order 0 3 4 5 6.

        2 ("nothing was sent") is possible only if that is true.
        """
        if not posts and _NOTHING_SENT in self.codes and self.codes <= _ALSO_NOTHING_SENT:
            return _NOTHING_SENT
        return worst_exit_code(self.codes)


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The result of a sweep's run.

    Attributes:
        name: The sweep's.
        cells, existing, stored, songs, refused, failed, unsettled, troubled, not_started: As in `Tally`.
        posts: Requests that this run sent.
        price: Units that these cost or may cost.
        seconds: Duration of the run.
        stopped: Why it did not start all cells (None: it did).
        exit_code: The worst of its cells and of what stopped it, in the order 0 3 4 5 6; 2 if nothing was sent.
        failures: The first failed cells, each with what to do next.
    """

    name: str
    cells: int
    existing: int
    stored: int
    songs: int
    refused: int
    failed: int
    unsettled: int
    troubled: int
    not_started: int
    posts: int
    price: float
    seconds: float
    stopped: str | None
    exit_code: int
    failures: tuple[Failure, ...]

    @classmethod
    def of(cls, name: str, tally: Tally, *, posts: int, price: float, seconds: float) -> SweepResult:
        """Make a result of a run's final counts."""
        counts = {one: getattr(tally, one) for one in _COUNTS}
        return cls(
            name=name,
            **counts,
            posts=posts,
            price=round(price, 6),
            seconds=round(seconds, 3),
            stopped=tally.stopped,
            exit_code=tally.exit_code(posts),
            failures=tuple(tally.failures),
        )

    def summary(self, unit: str = "units") -> str:
        """One sentence with the counts and the price."""
        words = ", ".join(
            f"{getattr(self, name)} {word}" for name, word in _WORDS.items() if getattr(self, name)
        )
        stopped = f" Stopped: {self.stopped}" if self.stopped else ""
        counts = f"{counted(self.cells, 'cell')}: {words or 'none'}"
        posts = f"{counted(self.posts, 'request')} for {amount(self.price, unit)}"
        return f"{counts}; {posts}, {counted(self.songs, 'song')}.{stopped}"

    def notice(self, unit: str = "units") -> Notice:
        """The result as an event (`songflow.events`); `unit` is the library's."""
        facts = {name: value for name, value in self.as_dict().items() if name != "failures"}
        following = "look at its report." if self.exit_code == 0 else RUN_AGAIN
        text = {"said": self.summary(unit), "next": following}
        return Notice("sweep.ended", f"sweep.{self.name}", {**facts, **text})

    def as_dict(self) -> Mapping[str, Any]:
        """The result as plain data, for JSON."""
        return asdict(self)


class SweepUnfinished(SongflowError):
    """Some cells of a sweep failed; `result` has the counts and the worst exit code."""

    def __init__(self, message: str, *, result: SweepResult, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.result = result


_COUNTS = (
    "cells", "existing", "stored", "songs", "refused", "failed", "unsettled", "troubled", "not_started",
)  # fmt: skip

_WORDS: Mapping[str, str] = {
    "stored": "stored",
    "existing": "stored before",
    "refused": "refused",
    "failed": "failed",
    "unsettled": "unsettled",
    "troubled": "with other trouble",
    "not_started": "not started",
}
