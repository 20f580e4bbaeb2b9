"""Wait for a flow run that pauses for a person's answer."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from support.prefect_server import PrefectServer


async def _has_its_form(run: FlowRun) -> bool:
    """Prefect stores a form's schema and text just after the run has paused."""
    async with get_client() as client:
        found = await client.filter_flow_run_input(run.id, key_prefix="paused", limit=10, exclude_keys=set())
    return len(found) == 2


async def paused_run(server: PrefectServer, making: asyncio.Task[Any], name: str) -> FlowRun:
    """The run of a name, once it waits for an answer; `making` is the task in which the flow runs."""
    async with asyncio.timeout(120):
        while True:
            if making.done():
                making.result()  # it should still be waiting: its error says why it is not
            runs = await server.flow_runs(name)
            paused = [run for run in runs if run.state is not None and run.state.is_paused()]
            if paused and await _has_its_form(paused[0]):
                return paused[0]
            await asyncio.sleep(0.2)
