"""What tests of the flow `sweep` share: specs, results of states, runs by name."""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.client.schemas.objects import FlowRun, State

from songflow.sweeps.tally import SweepResult, SweepUnfinished


def spec(cells: int, **more: Any) -> dict[str, Any]:
    """A sweep of so many seeds."""
    return {"name": "waltz", "prompt": "a waltz", "grid": {"seed": {"from": 1, "to": cells}}, **more}


async def result_of(state: State[Any]) -> SweepResult | BaseException:
    """The result of a sweep's state, also of one with failed cells."""
    found: Any = await state.aresult(raise_on_failure=False)
    result: SweepResult | BaseException = found.result if isinstance(found, SweepUnfinished) else found
    return result


async def last_run(name: str) -> FlowRun:
    """The newest flow run with a name."""
    async with get_client() as client:
        runs = await client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))
    return max(runs, key=lambda run: str(run.created))
