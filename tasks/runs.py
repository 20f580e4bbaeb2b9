"""Run ids for the ledger, and request keys that are the same in every retry of a run.

A retried parent flow starts new subflow runs, and a retried task may be called in a different order. A key is therefore
made of the id of the ROOT flow run, which is the same in every retry, and of a step's name from the code: never of a
subflow's own id, and never of a counter.
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

    A task outside of any flow uses its own run's id. Outside of any run nothing can be retried, and a new key is
    minted.
    """
    ids = await run_ids()
    root = ids.root_flow_run_id or ids.task_run_id
    return f"{root}:{step}" if root else mint_key()


async def run_ids() -> RunIds:
    """The ids of the runs around this call; all None outside of a run.

    Raises:
        Exception: Prefect's API cannot be asked for a subflow's parents; nothing was sent.
    """
    # In a subflow this calls Prefect's API synchronously, so it must not run in the event loop.
    root = await asyncio.to_thread(lambda: flow_run.root_flow_run_id)
    return RunIds(_text(flow_run.id), _text(root), _text(task_run.id))


def _text(value: object) -> str | None:
    return str(value) if value else None


def short(text: str | None, length: int = 60) -> str:
    """Shorten a text for a run's name: one line, no control characters, at most `length` characters."""
    return one_line(text or "", length)
