"""Which Prefect run asks: run ids for the ledger, and request keys that a rerun finds again.

A parent flow that is run again starts new subflow runs, and a task that is retried may meet a different order
of calls. So a key is made from the ROOT flow run, which stays the same through every retry, and a step's name
that stands in the code: never from a subflow's own id, and never from a counter.
"""

from __future__ import annotations

import asyncio

from prefect.runtime import flow_run, task_run

from songflow.documents.text import one_line
from songflow.generation.lifecycle import mint_key
from songflow.ledger.rows import RunIds

__all__ = ["DEFAULT_STEP", "request_key", "run_ids", "short"]

DEFAULT_STEP = "core"


async def request_key(step: str = DEFAULT_STEP) -> str:
    """The request key of a step of this run: `{root flow run's id}:{step}`.

    A task outside of any flow takes its own run's id. Outside of any run there is nothing that a retry could
    find again, so a new key is minted.
    """
    ids = await run_ids()
    root = ids.root_flow_run_id or ids.task_run_id
    return f"{root}:{step}" if root else mint_key()


async def run_ids() -> RunIds:
    """The ids of the runs that are at work here; all None outside of a run.

    Raises:
        Exception: Prefect's API does not tell a subflow's parents; nothing was spent then.
    """
    # For a subflow this asks Prefect's API, synchronously: not on our event loop.
    root = await asyncio.to_thread(lambda: flow_run.root_flow_run_id)
    return RunIds(_text(flow_run.id), _text(root), _text(task_run.id))


def _text(value: object) -> str | None:
    return str(value) if value else None


def short(text: str | None, length: int = 60) -> str:
    """A text as part of a run's name: one line, no control characters, at most `length` characters."""
    return one_line(text or "", length)
