"""What has become of a sweep's cells so far, in numbers: a sweep of any size is told in the same few lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from songflow.errors import InputError, SongflowError, worst_exit_code
from songflow.events import Notice
from songflow.sweeps.cells import Cell

__all__ = ["RUN_AGAIN", "Failure", "SweepResult", "SweepUnfinished", "Tally"]

MAX_TOLD_FAILURES = 100
RUN_AGAIN = "run the sweep again: it goes on where it stands, and pays for no cell twice."
_COUNT_OF_CODE = {3: "refused", 4: "failed", 5: "unsettled", 6: "not_started"}
# Where no request has left, "nothing was sent" is the truth, and says best what to mend.
_NOTHING_SENT = InputError.exit_code
_ALSO_NOTHING_SENT = frozenset({_NOTHING_SENT, 3})


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that did not end well, and what to do next."""

    key: str
    error: str
    state: str | None
    billed: str
    generation_id: str | None
    next: str | None

    @classmethod
    def of(cls, key: str, error: SongflowError) -> Failure:
        """From a cell's error."""
        return cls(key, error.message, error.state, error.billed, error.generation_id, error.next)


@dataclass(slots=True)
class Tally:
    """Counts of cells, moved as they end.

    Attributes:
        cells: All cells.
        existing: Whose songs were stored before this run.
        stored: Whose songs this run has stored.
        songs: Takes that this run has stored.
        refused: The gateway did not take them, or was not reached: not billed.
        failed: The gateway took them and failed.
        unsettled: They still run, or nobody knows what became of them; `rescue` looks after them.
        troubled: Something else went wrong.
        not_started: What was left when the run stopped.
        running: At the gateway now.
        collecting: Finished there, being fetched.
        stopped: Why nothing more was started.
        codes: The exit codes of cells that did not end well, and of what stopped the run.
        failures: The first cells that did not end well.
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
        """Cells that are done with, however they ended."""
        bad = self.refused + self.failed + self.unsettled + self.troubled
        return self.existing + self.stored + bad + self.not_started

    def error(self, cell: Cell, error: SongflowError) -> None:
        """A cell did not end well."""
        count = _COUNT_OF_CODE.get(error.exit_code, "troubled")
        setattr(self, count, getattr(self, count) + 1)
        self.codes.add(error.exit_code)
        if len(self.failures) < MAX_TOLD_FAILURES and count != "not_started":
            self.failures.append(Failure.of(cell.key, error))

    def exit_code(self, posts: int) -> int:
        """The worst code, in the order 0 3 4 5 6, of a run that has sent so many requests.

        Trouble with the library (2, "nothing was sent") is only that as long as this is true.
        """
        if not posts and _NOTHING_SENT in self.codes and self.codes <= _ALSO_NOTHING_SENT:
            return _NOTHING_SENT
        return worst_exit_code(self.codes)


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a run of a sweep has come to.

    Attributes:
        name: The sweep's.
        cells, existing, stored, songs, refused, failed, unsettled, troubled, not_started: As in `Tally`.
        posts: Requests that this run has sent.
        price: Units that these cost or may cost.
        seconds: How long the run took.
        stopped: Why it started no more cells, where it did not start all.
        exit_code: The worst of its cells and of what stopped it, in the order 0 3 4 5 6; 2 where nothing was sent.
        failures: The first cells that did not end well, each with what to do next.
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
        """From a run's final counts."""
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
        """One sentence of counts and money."""
        told = ", ".join(
            f"{getattr(self, name)} {word}" for name, word in _WORDS.items() if getattr(self, name)
        )
        stopped = f" Stopped: {self.stopped}" if self.stopped else ""
        counts = f"{self.cells} cells: {told or 'none'}"
        return f"{counts}; {self.posts} requests for {self.price:g} {unit}, {self.songs} songs.{stopped}"

    def notice(self) -> Notice:
        """The same for whoever listens (`songflow.events`)."""
        facts = {name: value for name, value in self.as_dict().items() if name != "failures"}
        told = {"said": self.summary(), "next": "look at its report." if self.exit_code == 0 else RUN_AGAIN}
        return Notice("sweep.ended", f"sweep.{self.name}", {**facts, **told})

    def as_dict(self) -> Mapping[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)


class SweepUnfinished(SongflowError):
    """Some cells of a sweep did not end well; `result` has the counts and the worst exit code."""

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
