"""Results of a benchmark as a table, as JSON and as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Scale:
    """How much to measure; `quick` only checks that the benchmarks run."""

    quick: bool = False

    def of(self, full: float, quick: float) -> float:
        """The number for a full run or for a quick one."""
        return quick if self.quick else full

    def count(self, full: int, quick: int) -> int:
        """The number for a full run or for a quick one, as an integer."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Finding:
    """A measured number with its target: at most `limit`, or with `at_least`, at least `limit`."""

    what: str
    value: float
    limit: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def asked(self) -> str:
        """The target as text."""
        if self.limit is None:
            return ""
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A benchmark's findings and its table of measurements: a row is a name and its numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[float]]]
    findings: Sequence[Finding] = field(default_factory=tuple)
    about: str = ""


def show(console: Console, outcome: Outcome) -> None:
    """Print one benchmark."""
    table = Table(title=outcome.title, title_justify="left", caption=outcome.about, caption_justify="left")
    table.add_column("")
    for column in outcome.columns:
        table.add_column(column, justify="right")
    for name, values in outcome.rows:
        table.add_row(name, *(f"{value:.4g}" for value in values))
    console.print(table)
    for finding in outcome.findings:
        verdict = {True: "met", False: "MISSED", None: ""}[finding.met]
        console.print(f"  {finding.what}: {finding.value:.3g}  {finding.asked} {verdict}".rstrip())
    console.print()


def save(folder: Path, machine: str, outcomes: Sequence[Outcome]) -> None:
    """Write `performance.json` and `images/performance.png` into a folder of documents."""
    plain = {"machine": machine, "benchmarks": [asdict(outcome) for outcome in outcomes]}
    folder.joinpath("images").mkdir(parents=True, exist_ok=True)
    folder.joinpath("performance.json").write_text(json.dumps(plain, indent=1) + "\n")
    picture(folder / "images" / "performance.png", machine, outcomes)


_FEW = 8
_BEHIND = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}


def picture(path: Path, machine: str, outcomes: Sequence[Outcome]) -> None:
    """Draw each finding with a target as a share of it: bars left of the line meet it."""
    from matplotlib.figure import Figure

    limited = [finding for outcome in outcomes for finding in _drawn(outcome)]
    figure = Figure(figsize=(11, 1.2 + 0.42 * len(limited)), layout="constrained")
    axes = figure.subplots()
    _bars(axes, limited)
    figure.suptitle(
        f"Measured relative to the target (1 = the target)\n{machine}", fontsize=10, x=0.01, ha="left"
    )
    figure.savefig(path, dpi=110)


def _drawn(outcome: Outcome) -> list[Finding]:
    """The findings with a target; of many similar ones, only the one nearest to its target."""
    limited = [finding for finding in outcome.findings if finding.limit]
    if len(limited) <= _FEW:
        return limited
    worst = max(limited, key=_share)
    return [replace(worst, what=f"worst of {len(limited)}: {worst.what}")]


def _bars(axes: Axes, findings: Sequence[Finding]) -> None:
    places = range(len(findings))
    shares = [_share(finding) for finding in findings]
    colours = ["#2b7a78" if finding.met else "#c8553d" for finding in findings]
    axes.barh(places, shares, color=colours, height=0.6)
    axes.axvline(1.0, color="#333333", linewidth=1)
    labels = [f"{finding.what}  ({finding.asked})" for finding in findings]
    axes.set_yticks(places, labels, fontsize=9)
    axes.set_ylim(len(findings) - 0.4, -0.6)
    for place, share, finding in zip(places, shares, findings, strict=True):
        axes.text(share, place, f" {finding.value:.3g}", va="center", fontsize=9, bbox=_BEHIND)
    axes.set_xlim(0, max([1.2, *(1.1 * share for share in shares)]))
    axes.spines[["top", "right"]].set_visible(False)


def _share(finding: Finding) -> float:
    """The value as a share of its target, inverted if more is better."""
    assert finding.limit is not None
    if finding.at_least:
        return finding.limit / finding.value if finding.value > 0 else 10.0
    return finding.value / finding.limit
