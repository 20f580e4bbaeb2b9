"""The flow that makes a sweep: many songs, in shards, in one process or on many workers."""

# Without `from __future__ import annotations`: Prefect would evaluate them where `fields` is something else.
import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from prefect import State, flow, runtime
from prefect.logging import get_run_logger
from prefect.states import Failed

from flows import fields
from flows.generate import chosen_access
from flows.hooks import let_go
from flows.shards import Shards, cannot_be_read, shard_parameters, worked_off
from songflow.accounts import Access, fallbacks_from_environment
from songflow.errors import InputError, Unsettled
from songflow.generation.policy import PayingPolicy
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.runtime.concurrency import one_error
from songflow.runtime.retry import persist
from songflow.sweeps.cells import Cell, cells_of
from songflow.sweeps.parents import parents_in
from songflow.sweeps.run import (
    DEFAULT_CONCURRENCY,
    RunOptions,
    SweepRun,
)
from songflow.sweeps.shards import shards_of, unpacked
from songflow.sweeps.spec import Sweep, parse_sweep
from songflow.sweeps.status import tally_of
from songflow.sweeps.sweep import after_work_started, read_result
from songflow.sweeps.tally import RUN_AGAIN, SweepResult, SweepUnfinished
from tasks.runs import run_ids, short
from tasks.sessions import library_of, open_session
from tasks.shard import ShardedRun, shard
from tasks.ui.report import show_report
from tasks.ui.sweep_page import show_sweep, sweep_bar

__all__ = ["sweep", "sweep_shard"]

log = logging.getLogger(f"songflow.{__name__}")

DEFAULT_SHARD_SIZE = 250
# A flow run can wait longer than a person at a command line for a gateway to have room again.
_REPEAT_WITHIN_SECONDS = 600.0


def _run_name() -> str:
    parameters = runtime.flow_run.parameters
    spec = parameters.get("spec")
    name = spec.get("name") if isinstance(spec, Mapping) else None
    return short(str(name or parameters.get("name") or "sweep"))


@flow(
    name="sweep",
    flow_run_name=_run_name,
    persist_result=False,
    on_cancellation=[let_go],
    on_crashed=[let_go],
)
async def sweep(
    spec: fields.SweepSpec,
    folder: fields.SpecFolder = None,
    name: fields.SweepName = "sweep",
    concurrency: fields.Concurrency = DEFAULT_CONCURRENCY,
    max_failures: fields.MaxFailures = None,
    credentials: fields.Credentials = None,
    gateway: fields.GatewayName = None,
    base_url: fields.BaseUrl = None,
    submit_path: fields.SubmitPath = None,
    fetch_path: fields.FetchPath = None,
    shape: fields.ShapeName = None,
    library: fields.Library = None,
    if_unsettled: fields.IfUnsettled = "stop",
    retry_errors: fields.RetryErrors = False,
    retries: fields.Retries = 4,
    poll_interval: fields.PollInterval = None,
    deadline: fields.Deadline = None,
    budget: fields.Budget = None,
    fallbacks: fields.Fallbacks = None,
    fallback_gateways: fields.FallbackGateways = None,
    shard_size: fields.ShardSize = DEFAULT_SHARD_SIZE,
    shard_deployment: fields.ShardDeployment = None,
    shards_at_once: fields.ShardsAtOnce = 4,
    report: fields.Report = True,
) -> SweepResult | State[SweepResult]:
    """Makes every song of a sweep: each cell is **paid once in its life**, in this sweep or any other.

    The spec is checked as a whole **before anything is sent**. Running it again, by a retry or as a new run, goes on
    where it stood: songs that exist cost nothing.

    - Cells run in shards, inside this run or each as a run of the *shard deployment*, on as many machines as that
      has. The ledger is shared, so is the pace that the gateway asks for.
    - The run ends *Completed* when every cell has its songs, else *Failed* with the counts; what went well stays.
    - Cancelling it does not cancel the gateway's work: it is billed, and rescue collects it.
    """
    access = chosen_access(
        credentials, gateway, base_url, submit_path=submit_path, fetch_path=fetch_path, shape=shape
    )
    given = parse_sweep(spec, Path(folder or "."), name)
    options = RunOptions(
        concurrency=concurrency,
        max_failures=max_failures,
        policy=PayingPolicy(
            if_unsettled=if_unsettled,
            retry_errors=retry_errors,
            fallbacks=_fallbacks(fallbacks, fallback_gateways),
        ),
    )
    ids = await run_ids()
    settings = SessionSettings(
        busy=True,
        poll_interval=poll_interval,
        deadline=deadline,
        retries=retries,
        repeat_within=_REPEAT_WITHIN_SECONDS,
        budget=budget,
        budget_run=ids.root_flow_run_id,
        runs=ids,
    )
    async with open_session(library_of(library), settings) as session:
        cells = cells_of(given, access, await parents_in(session, given, access))
        shards = shards_of(cells, shard_size)
        get_run_logger().info(
            "%d cells in %d shards at %s (%s).",
            len(cells),
            len(shards),
            access.gateway,
            access.account.base_url,
        )
        if shard_deployment is None:
            result = await _here(session, given, access, options, shards)
        else:
            # Before the first shard: what cannot travel is refused here.
            common = await shard_parameters(
                credentials, library, fallbacks, gateway=gateway, base_url=base_url, submit_path=submit_path,
                fetch_path=fetch_path, shape=shape, fallback_gateways=fallback_gateways, if_unsettled=if_unsettled,
                retry_errors=retry_errors, retries=retries, poll_interval=poll_interval, deadline=deadline,
                budget=budget, run=ids.root_flow_run_id, max_failures=max_failures,
            )  # fmt: skip
            at_work = Shards(shard_deployment, str(ids.root_flow_run_id), common, shards_at_once, concurrency)
            result = await _elsewhere(session, given, at_work, cells, shards)
        session.events.emit(result.notice())
        with after_work_started(given.name):
            keys = [cell.key for cell in cells]
            standings = await persist(lambda: session.library.ledger.key_summaries.of_keys(keys))
    await show_sweep(result, cells, standings)
    if report:
        await show_report(library_of(library), keys, given.name)
    return _ended(result)


async def _here(
    session: Session, given: Sweep, access: Access, options: RunOptions, shards: Sequence[Sequence[Cell]]
) -> SweepResult:
    """All shards in this process: the next one starts when the one before has none left to start."""
    start = time.monotonic()
    run = SweepRun(session, access, options)
    at_work = ShardedRun(run, shards)
    with at_work.open(), session.events.successes_muted(), one_error():
        async with sweep_bar(given.name, run.tally), asyncio.TaskGroup() as group:
            for number in range(1, len(shards) + 1):
                group.create_task(_one_shard(given.name, number, len(shards)))
                await at_work.started[number - 1].wait()
    return await read_result(session, given.name, run.tally, time.monotonic() - start)


async def _one_shard(name: str, number: int, of: int) -> None:
    with after_work_started(name) if number > 1 else nullcontext():
        await shard(number, of)


async def _elsewhere(
    session: Session, given: Sweep, at_work: Shards, cells: Sequence[Cell], shards: Sequence[Sequence[Cell]]
) -> SweepResult:
    """Each shard as a run of the deployment; what they have come to is read from the ledger that they share."""
    start = time.monotonic()
    standings, keys = session.library.ledger.key_summaries, [cell.key for cell in cells]
    before = await standings.of_keys(keys)
    await at_work.run(shards)
    with after_work_started(given.name):
        tally = tally_of(cells, before, await persist(lambda: standings.of_keys(keys)))
    tally.stopped = at_work.stopped
    tally.codes |= at_work.codes
    if tally.not_started and not tally.codes:
        tally.codes.add(Unsettled.exit_code)
    return await read_result(session, given.name, tally, time.monotonic() - start)


def _ended(result: SweepResult) -> SweepResult | State[SweepResult]:
    """A state that is true: a person who looks at the list of runs sees which sweep needs another look."""
    run_log = get_run_logger()
    for failure in result.failures:
        run_log.warning("%s: %s Next: %s", failure.key, failure.error, failure.next)
    run_log.info("%s", result.summary())
    if result.exit_code == 0:
        return result
    unfinished = SweepUnfinished(
        result.summary(),
        result=result,
        billed="maybe",
        next=RUN_AGAIN,
    )
    return Failed(message=result.summary(), data=unfinished)


def _fallbacks(blocks: Any, names: Sequence[str] | None) -> tuple[Access, ...]:
    return (*(block.get_access() for block in blocks or ()), *fallbacks_from_environment(names or ()))


def _shard_run_name() -> str:
    return short(str(runtime.flow_run.parameters.get("name") or "shard"))


@flow(
    name="sweep-shard",
    flow_run_name=_shard_run_name,
    persist_result=False,
    on_cancellation=[let_go],
    on_crashed=[let_go],
)
async def sweep_shard(
    cells: fields.ShardCells,
    name: fields.ShardName = "shard",
    concurrency: fields.Concurrency = DEFAULT_CONCURRENCY,
    max_failures: fields.MaxFailures = None,
    credentials: fields.Credentials = None,
    gateway: fields.GatewayName = None,
    base_url: fields.BaseUrl = None,
    submit_path: fields.SubmitPath = None,
    fetch_path: fields.FetchPath = None,
    shape: fields.ShapeName = None,
    library: fields.Library = None,
    if_unsettled: fields.IfUnsettled = "stop",
    retry_errors: fields.RetryErrors = False,
    retries: fields.Retries = 4,
    poll_interval: fields.PollInterval = None,
    deadline: fields.Deadline = None,
    budget: fields.Budget = None,
    run: fields.SweepRunId = None,
    fallbacks: fields.Fallbacks = None,
    fallback_gateways: fields.FallbackGateways = None,
) -> State[SweepResult]:
    """Works off **one shard** of a sweep; the flow *sweep* starts it, on any worker that shares the ledger.

    Run again it collects what was paid for and pays for nothing twice. Its state is *Completed* when it has done what
    could be done: how each cell ended is in the ledger, and the flow *sweep* tells it.
    """
    try:
        access = chosen_access(
            credentials, gateway, base_url, submit_path=submit_path, fetch_path=fetch_path, shape=shape
        )
        others = _fallbacks(fallbacks, fallback_gateways)
        own = unpacked(cells, access)
    except InputError as error:
        return cannot_be_read(error)
    ids = await run_ids()
    settings = SessionSettings(
        busy=True,
        poll_interval=poll_interval,
        deadline=deadline,
        retries=retries,
        repeat_within=_REPEAT_WITHIN_SECONDS,
        budget=budget,
        budget_run=run or ids.root_flow_run_id,
        runs=ids,
    )
    options = RunOptions(
        concurrency=concurrency,
        max_failures=max_failures,
        policy=PayingPolicy(if_unsettled=if_unsettled, retry_errors=retry_errors, fallbacks=others),
    )
    start = time.monotonic()
    async with open_session(library_of(library), settings) as session:
        at_work = SweepRun(session, access, options)
        with session.events.successes_muted():
            async with sweep_bar(name, at_work.tally):
                await at_work.work(own)
        result = await read_result(session, name, at_work.tally, time.monotonic() - start)
    _ended(result)
    return worked_off(result)
