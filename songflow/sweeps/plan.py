"""Plan a sweep: its requests, price and duration, before anything is sent. The run then does exactly this."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from songflow.accounts import Access, reason_not_to_ask
from songflow.generation.expected import expected_seconds, rendering_seconds
from songflow.ledger.key_summaries import KeySummaries, KeySummary
from songflow.sweeps.cell_status import Step, step_of
from songflow.sweeps.cells import Cell
from songflow.sweeps.paid_cells import with_summaries

__all__ = ["Plan", "PlannedCell", "plan_cells"]


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """One cell, its next step, and the price of that step in units."""

    cell: Cell
    step: Step
    price: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a sweep's run.

    Attributes:
        cells: Each cell with its step.
        posts: Requests that the run sends.
        price: Units that these cost.
        existing: Cells that are paid for already.
        seconds: Expected duration of the run.
    """

    cells: tuple[PlannedCell, ...]
    posts: int
    price: float
    existing: int
    seconds: float

    @property
    def steps(self) -> Mapping[Step, int]:
        """The number of cells by step."""
        return Counter(one.step for one in self.cells)

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data, for JSON."""
        return {
            "cells": len(self.cells),
            "posts": self.posts,
            "price": round(self.price, 6),
            "existing": self.existing,
            "seconds": round(self.seconds, 1),
            "steps": {str(step): count for step, count in sorted(self.steps.items())},
        }


async def plan_cells(
    cells: Sequence[Cell],
    access: Access,
    ledger: KeySummaries | None,
    *,
    concurrency: int,
    retry_errors: bool = False,
) -> Plan:
    """Plan a run over cells; `ledger` is None if there is no library yet.

    Raises:
        InputError: the account's gateway cannot make one of the cells that are still to be paid for.
    """
    summaries: Mapping[str, KeySummary] = {}
    if ledger is not None:
        cells, summaries = await with_summaries(cells, [access], ledger)
    planned = []
    for cell in cells:
        step = step_of(summaries.get(cell.key), retry_errors=retry_errors)
        if step is Step.PAY and (reason := reason_not_to_ask(access, cell.request)) is not None:
            raise reason
        planned.append(PlannedCell(cell, step, access.price_of(cell.request) if step is Step.PAY else 0.0))
    paid = [one for one in planned if one.step is Step.PAY]
    return Plan(
        cells=tuple(planned),
        posts=len(paid),
        price=sum((one.price for one in paid), start=0.0),
        existing=len(planned) - len(paid),
        seconds=await _seconds(paid, access, ledger, concurrency),
    )


async def _seconds(
    paid: Sequence[PlannedCell], access: Access, ledger: KeySummaries | None, concurrency: int
) -> float:
    """Expected duration: all generations divided by the slots, and at least the longest generation."""
    kinds = Counter((one.cell.request.model_type, one.cell.request.mode.value) for one in paid)
    if not kinds:
        return 0.0
    each = {kind: await expected_seconds(ledger, access, *kind) for kind in kinds}
    work = sum(count * each[kind] for kind, count in kinds.items())
    # The built-in simulator renders one song after another, however many are asked for at once.
    rendering = sum(count * rendering_seconds(access, model_type) for (model_type, _), count in kinds.items())
    return max(work / max(1, min(concurrency, len(paid))), max(each.values()), rendering)
