"""The task that runs one shard of a sweep inside the sweep's own flow run.

A sweep of ten thousand cells has some forty task runs: cells are steps of the domain, and Prefect sees shards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from prefect import runtime, task
from prefect.cache_policies import NO_CACHE

from songflow.sweeps.cells import Cell
from songflow.sweeps.run import SweepRun

__all__ = ["ShardedRun", "shard"]


@dataclass(slots=True)
class ShardedRun:
    """A sweep run and its shards; a shard's event is set once no cell of it is left to start."""

    run: SweepRun
    shards: Sequence[Sequence[Cell]]
    started: list[asyncio.Event] = field(default_factory=list)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Make the shards available to `shard` tasks for the duration of the block."""
        self.started = [asyncio.Event() for _ in self.shards]
        token = _open.set(self)
        try:
            yield
        finally:
            _open.reset(token)


_open: ContextVar[ShardedRun | None] = ContextVar("songflow_sharded_run", default=None)


def _name() -> str:
    parameters = runtime.task_run.parameters
    return f"shard {parameters.get('number')} of {parameters.get('of')}"


@task(name="shard", task_run_name=_name, cache_policy=NO_CACHE, persist_result=False)
async def shard(number: int, of: int) -> str:
    """Run shard `number` (from 1) of the surrounding sweep run; return the counts of its cells."""
    at_work = _open.get()
    if at_work is None:
        raise RuntimeError("a shard belongs to a flow run of `sweep`")
    cells, started = at_work.shards[number - 1], at_work.started[number - 1]
    await at_work.run.work(cells, started)
    return f"{len(cells)} cells"
