"""The status of a sweep, from the ledger alone: on any machine, during the run and afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from songflow import errors
from songflow.accounts import Access
from songflow.ledger.key_summaries import KeySummaries, KeySummary
from songflow.ledger.states import RULES, State
from songflow.sweeps.cells import Cell
from songflow.sweeps.paid_cells import with_summaries
from songflow.sweeps.tally import Tally

__all__ = ["SweepStatus", "status_of", "tally_of"]

RATE_OVER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class SweepStatus:
    """Counts of cells, and the rate at which they are stored.

    Attributes:
        cells: All cells of the sweep, and those that its review had made again.
        stored: Cells with at least one stored song.
        running: Cells that are paid for, and neither failed nor stored yet.
        failed: Cells that failed at the gateway.
        unsettled: Cells that are unknown or lost: `rescue` lists them.
        left: Cells that are not paid for yet, refused and unsent ones included.
        songs: Stored takes.
        spent: Units that are or may be billed.
        per_hour: Cells that succeeded in the last ten minutes, per hour; of a shorter time if these began later.
        eta_seconds: Seconds until all are stored at that rate; None if no cell is left, or the rate is 0.
    """

    cells: int
    stored: int
    running: int
    failed: int
    unsettled: int
    left: int
    songs: int
    spent: float
    per_hour: float
    eta_seconds: float | None

    def as_dict(self) -> dict[str, Any]:
        """The status as plain data, for JSON."""
        return asdict(self)


async def status_of(
    cells: Sequence[Cell],
    ledger: KeySummaries | None,
    accounts: Sequence[Access] = (),
    *,
    again: int = 0,
) -> SweepStatus:
    """The status of a sweep's cells; `ledger` is None if there is no library yet.

    Args:
        accounts: Those that may pay: cells that they have paid for under another name count, too.
        again: How often the sweep's review may have had a cell made again; those that it had count as cells.
    """
    now = datetime.now(UTC)
    summaries: Mapping[str, KeySummary] = {}
    if ledger is not None:
        cells, known = await with_summaries(cells, accounts, ledger)
        summaries = {cell.key: known[cell.key] for cell in cells if cell.key in known}
        latest: Sequence[Cell] = cells
        for number in range(1, again + 1):
            latest = [cell.made_again(number) for cell in latest if cell.key in summaries]
            if not latest:
                break
            summaries = {**summaries, **await ledger.of_keys([cell.key for cell in latest])}
            latest = [cell for cell in latest if cell.key in summaries]
            cells = [*cells, *latest]
    groups = Counter(_group(summary) for summary in summaries.values())
    left = groups["left"] + len(cells) - len(summaries)
    per_second = _rate(summaries.values(), now)
    to_go = left + groups["running"]
    return SweepStatus(
        cells=len(cells),
        stored=groups["stored"],
        running=groups["running"],
        failed=groups["failed"],
        unsettled=groups["unsettled"],
        left=left,
        songs=sum(summary.stored for summary in summaries.values()),
        spent=round(sum(summary.spent for summary in summaries.values()), 6),
        per_hour=round(per_second * 3600, 1),
        eta_seconds=round(to_go / per_second, 1) if to_go and per_second else None,
    )


def tally_of(
    cells: Sequence[Cell], before: Mapping[str, KeySummary], after: Mapping[str, KeySummary]
) -> Tally:
    """The tally of a run on other machines, from the ledger's summaries before and after it."""
    tally = Tally(cells=len(cells))
    for cell in cells:
        summary = after.get(cell.key)
        group = "left" if summary is None else _group(summary)
        if summary is not None and group == "stored":
            was = before.get(cell.key)
            if was is not None and was.stored:
                tally.existing += 1
            else:
                tally.stored += 1
            tally.songs += summary.stored - (was.stored if was is not None else 0)
        elif summary is None or summary.state in (State.INTENDED, State.UNSENT):
            tally.not_started += 1
        else:
            tally.error(cell, _error_of(cell, summary, group))
    return tally


def _error_of(cell: Cell, summary: KeySummary, group: str) -> errors.SongflowError:
    kinds: Mapping[str, type[errors.SongflowError]] = {
        "left": errors.RequestRefused,
        "failed": errors.GenerationFailed,
        "running": errors.StillRunning,
    }
    return kinds.get(group, errors.OutcomeUnknown)(
        f"It is '{summary.state}': {summary.error or 'no reason is known'}.",
        key=cell.key,
        generation_id=summary.generation_id,
        state=summary.state,
        billed=RULES[summary.state].billed.value,
        next="run the sweep again; `songflow rescue --list` shows what is unknown or lost.",
    )


def _group(summary: KeySummary) -> str:
    if summary.state is State.SUCCEEDED:
        return "stored" if summary.stored else "running"
    if summary.state is State.FAILED:
        return "failed"
    if summary.state is State.INTENDED and not summary.dead:
        return "running"
    if RULES[summary.state].waits or (summary.state is State.SENDING and not summary.dead):
        return "running"
    return "unsettled" if RULES[summary.state].unsettled else "left"


def _rate(summaries: Iterable[KeySummary], now: datetime) -> float:
    """Cells that succeeded a second, since the first of the recent ones was sent."""
    since = now - RATE_OVER
    recent = [
        summary
        for summary in summaries
        if summary.state is State.SUCCEEDED and summary.settled_at is not None and summary.settled_at >= since
    ]
    if not recent:
        return 0.0
    begun = min((summary.sending_at for summary in recent if summary.sending_at is not None), default=since)
    return len(recent) / max(1.0, (now - max(since, begun)).total_seconds())
