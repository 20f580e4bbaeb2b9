"""The flow that makes a sweep: many songs, in shards, in one process or on many workers."""

# Without `from __future__ import annotations`: Prefect would evaluate them where `fields` is something else.
import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from prefect import State, runtime
from prefect.logging import get_run_logger
from prefect.states import Failed
from pydantic import ConfigDict, Field

from flows import ended, fields
from flows.generate import chosen_access
from flows.shards import Shards, shard_completed, shard_parameters, shard_rejected
from flows.song_flow import paid_flow
from songflow.accounts import Access
from songflow.documents.text import counted
from songflow.errors import InputError, Unsettled
from songflow.families.parameter_group import ParameterGroup
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.ledger.rows import RunIds
from songflow.parameters import EnvironmentAccount, Waiting, members, session_settings
from songflow.runtime.concurrency import one_error
from songflow.runtime.retry import persist
from songflow.sweeps.cells import Cell, shuffled
from songflow.sweeps.paid_cells import with_summaries
from songflow.sweeps.parents import cells_in
from songflow.sweeps.run import (
    DEFAULT_CONCURRENCY,
    RunOptions,
    SweepRun,
)
from songflow.sweeps.shards import DEFAULT_SHARD_SIZE, MAX_SHARD_CELLS, shards_of, unpacked
from songflow.sweeps.spec import Sweep, name_of, parse_sweep
from songflow.sweeps.status import tally_of
from songflow.sweeps.sweep import after_work_started, read_result
from songflow.sweeps.tally import RUN_AGAIN, SweepResult, SweepUnfinished
from tasks.runs import run_ids, short
from tasks.sessions import library_of, open_session
from tasks.shard import ShardedRun, shard
from tasks.ui.report import show_report
from tasks.ui.sweep_page import show_sweep, sweep_bar
from tasks.wording import next_step, worded

__all__ = ["sweep", "sweep_shard"]

log = logging.getLogger(f"songflow.{__name__}")

# For a gateway to have capacity again, a flow run can wait longer than a person at a command line.
_REPEAT_WITHIN_SECONDS = 600.0

Spec = Annotated[
    Annotated[str, Field(title="YAML")] | Annotated[dict[str, Any], Field(title="Data")],
    fields.described(
        "Sweep",
        "What to make, as YAML or as data: fixed fields under their own names, axes under grid, zip, list, "
        "random, sobol or lhs, then replicates and constraints. Or the absolute path of a YAML file.",
    ),
]
Folder = Annotated[
    str | None,
    fields.described(
        "Folder", "The folder of the files that the sweep names. Empty: the working folder of this run."
    ),
]
SweepName = Annotated[
    str, fields.described("Name", "The sweep's name, unless the spec has one.", min_length=1)
]
Report = Annotated[
    bool,
    fields.described(
        "Report",
        "Show at the end what the varied fields did to the songs, as artifacts of this run.",
        strict=True,
    ),
]
ShardCells = Annotated[
    list[dict[str, Any]], fields.described("Cells", "The shard's cells, as the flow sweep passes them on.")
]
ShardName = Annotated[str, fields.described("Name", "The shard's name.", min_length=1)]
SweepRunId = Annotated[
    str | None, fields.described("Sweep run", "The run whose budget pays for the cells. Empty: this one.")
]


class ShardOptions(ParameterGroup):
    """How a sweep is divided among runs and machines."""

    model_config = ConfigDict(title="Shards")

    shard_size: Annotated[int, Field(ge=1, le=MAX_SHARD_CELLS, strict=True)] = Field(
        default=DEFAULT_SHARD_SIZE, title="Shard size", description="Cells of one shard."
    )
    shard_deployment: str | None = Field(
        default=None,
        title="Shard deployment",
        description="A deployment of the flow sweep-shard, as flow/deployment: each shard is then a run of it, on "
        "any work pool. Empty: all shards in this run.",
    )
    shards_at_once: Annotated[int, Field(ge=1, le=100, strict=True)] = Field(
        default=4,
        title="Shards at once",
        description="With a shard deployment: how many of its runs there are at once.",
    )


Sharding = Annotated[
    ShardOptions | None,
    fields.described(
        "Shards",
        "How the sweep is divided among runs and machines. Defaults: as the deployment says, else all in this run.",
    ),
]


def _run_name() -> str:
    parameters = runtime.flow_run.parameters
    return short(name_of(parameters.get("spec") or "", str(parameters.get("name") or "sweep")))


@paid_flow(
    "sweep",
    _run_name,
    moved=members(
        account=EnvironmentAccount, waiting=Waiting, safety=fields.SweepSafety, shards=ShardOptions
    ),
    ended=ended.swept,
)
async def sweep(
    spec: Spec,
    folder: Folder = None,
    name: SweepName = "sweep",
    concurrency: fields.Concurrency = DEFAULT_CONCURRENCY,
    credentials: fields.Credentials = None,
    library: fields.Library = None,
    budget: fields.Budget = None,
    report: Report = True,
    account: fields.Account = None,
    waiting: fields.Wait = None,
    safety: fields.SweepSafely = None,
    shards: Sharding = None,
) -> SweepResult | State[SweepResult]:
    """Make every song of a sweep: each cell is **paid once in its life**, in this sweep or any other.

    The spec is checked as a whole **before anything is sent**. Running it again, by a retry or as a new run,
    continues where it stopped: songs that exist cost nothing.

    - Cells run in shards, inside this run or each as a run of the *shard deployment*, on as many machines as that
      has. They share the ledger, and the pace that the gateway asks for.
    - The run ends *Completed* if every cell has its songs, else *Failed* with the counts; stored songs stay.
    - Cancelling it does not cancel the gateway's work, which is billed; rescue collects it.
    """
    access = chosen_access(credentials, account)
    given = parse_sweep(spec, Path(folder or "."), name)
    safety, shards = safety or fields.SweepSafety(), shards or ShardOptions()
    options = replace(_run_options(concurrency, safety), review=given.review)
    if given.review is not None and shards.shard_deployment is not None:
        raise InputError(
            "The sweep has a review, which shards in other runs cannot do.",
            next="leave out the shard deployment, or the review; nothing was sent.",
        )
    ids = await run_ids()
    settings = _settings(waiting, safety, budget, ids, ids.root_flow_run_id)
    async with open_session(library_of(library), settings) as session:
        cells = await cells_in(session, given, access)
        known = session.library.ledger.key_summaries
        cells, _ = await with_summaries(cells, options.policy.accounts(access), known)
        groups = shards_of(shuffled(cells), shards.shard_size)
        get_run_logger().info(
            "%s in %s at %s.",
            counted(len(cells), "cell"),
            counted(len(groups), "shard"),
            access.place_text,
        )
        if shards.shard_deployment is None:
            result, made_again = await _here(session, given, access, options, groups)
            cells = [*cells, *made_again]
        else:
            # Before the first shard: this refuses parameters that cannot be sent to other machines.
            common = await shard_parameters(
                credentials, library, account, waiting, safety, budget=budget, run=ids.root_flow_run_id
            )
            at_work = Shards(
                shards.shard_deployment, str(ids.root_flow_run_id), common, shards.shards_at_once, concurrency
            )
            result = await _elsewhere(session, given, at_work, cells, groups)
        session.events.emit(result.notice(session.library.settings.unit))
        await show_sweep(session, result, cells)
    if report:
        await show_report(session.library.settings, [cell.key for cell in cells], given.name)
    return _ended(result, session.library.settings.unit)


async def _here(
    session: Session, given: Sweep, access: Access, options: RunOptions, shards: Sequence[Sequence[Cell]]
) -> tuple[SweepResult, list[Cell]]:
    """Run all shards in this process; each starts when the previous one has no more cells to start.

    Returns the result, and the cells that a review had made again.
    """
    start = time.monotonic()
    run = SweepRun(session, access, options)
    at_work = ShardedRun(run, shards)
    with at_work.open(), session.events.successes_muted(), one_error():
        async with sweep_bar(given.name, run.tally), asyncio.TaskGroup() as group:
            for number in range(1, len(shards) + 1):
                group.create_task(_one_shard(given.name, number, len(shards)))
                await at_work.started[number - 1].wait()
    return await read_result(session, given.name, run.tally, time.monotonic() - start), run.made_again


async def _one_shard(name: str, number: int, of: int) -> None:
    with after_work_started(name) if number > 1 else nullcontext():
        await shard(number, of)


async def _elsewhere(
    session: Session, given: Sweep, at_work: Shards, cells: Sequence[Cell], shards: Sequence[Sequence[Cell]]
) -> SweepResult:
    """Run each shard as a run of the deployment, and read the results from the shared ledger."""
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


def _ended(result: SweepResult, unit: str) -> SweepResult | State[SweepResult]:
    """The run's final state: *Failed*, with the counts, unless every cell has its songs."""
    run_log, summary = get_run_logger(), result.summary(unit)
    for failure in result.failures:
        run_log.warning("%s: %s%s", failure.key, worded(failure.error), next_step(failure.next))
    run_log.info("%s", summary)
    if result.exit_code == 0:
        return result
    unfinished = SweepUnfinished(
        summary,
        result=result,
        billed="maybe",
        next=RUN_AGAIN,
    )
    return Failed(message=summary, data=unfinished)


def _run_options(concurrency: int, safety: fields.SweepSafety) -> RunOptions:
    return RunOptions(concurrency=concurrency, max_failures=safety.max_failures, policy=safety.policy())


def _settings(
    waiting: Waiting | None,
    safety: fields.SweepSafety,
    budget: float | None,
    ids: RunIds,
    budget_run: str | None,
) -> SessionSettings:
    """The settings of a session for many cells, whose budget is counted on the sweep's run."""
    return replace(
        session_settings(waiting, safety, budget),
        busy=True,
        repeat_within=_REPEAT_WITHIN_SECONDS,
        budget_run=budget_run,
        runs=ids,
    )


def _shard_run_name() -> str:
    return short(str(runtime.flow_run.parameters.get("name") or "shard"))


@paid_flow(
    "sweep-shard",
    _shard_run_name,
    moved=members(account=EnvironmentAccount, waiting=Waiting, safety=fields.SweepSafety),
)
async def sweep_shard(
    cells: ShardCells,
    name: ShardName = "shard",
    concurrency: fields.Concurrency = DEFAULT_CONCURRENCY,
    credentials: fields.Credentials = None,
    library: fields.Library = None,
    budget: fields.Budget = None,
    run: SweepRunId = None,
    account: fields.Account = None,
    waiting: fields.Wait = None,
    safety: fields.SweepSafely = None,
) -> State[SweepResult]:
    """Run **one shard** of a sweep; the flow *sweep* starts it, on any worker that shares the ledger.

    Run again, it collects what was paid for and pays for nothing twice. It ends *Completed* once each of its cells
    was tried: how each cell ended is in the ledger, and the flow *sweep* reports it.
    """
    try:
        access = chosen_access(credentials, account)
        safety = safety or fields.SweepSafety()
        options = _run_options(concurrency, safety)
        own = unpacked(cells, access)
    except InputError as error:
        return shard_rejected(error)
    ids = await run_ids()
    settings = _settings(waiting, safety, budget, ids, run or ids.root_flow_run_id)
    start = time.monotonic()
    async with open_session(library_of(library), settings) as session:
        at_work = SweepRun(session, access, options)
        with session.events.successes_muted():
            async with sweep_bar(name, at_work.tally):
                await at_work.work(own)
        result = await read_result(session, name, at_work.tally, time.monotonic() - start)
    _ended(result, session.library.settings.unit)
    return shard_completed(result)
