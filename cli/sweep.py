"""`songflow sweep plan|run|status SPEC.yaml`: many songs from one spec, priced in advance, resumed by running again."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from cyclopts import App, Group, Parameter
from rich.live import Live

from cli.accounts import access_of, resolve
from cli.flow_calls import shared_parameters, sweep_as_flow
from cli.options import Common, Gateway, Waiting
from cli.output import SIMULATED, Output
from cli.paid_command import guarded
from cli.prefect_mode import use_prefect
from cli.report import report
from cli.suggest import suggest
from cli.sweep_display import plain_lines, show_plan, show_result, show_status, status_lines, watched
from songflow.accounts import Access
from songflow.errors import InputError, RequestNotSent, SongflowError, StillRunning
from songflow.gateways import Credit, read_credit
from songflow.generation.credit import about_credit
from songflow.generation.session import Session
from songflow.ledger.key_summaries import KeySummaries
from songflow.library.library import Library
from songflow.parameters import SweepSafety, session_settings
from songflow.settings import LibrarySettings
from songflow.sweeps.cells import Cell
from songflow.sweeps.parents import find_cells
from songflow.sweeps.plan import Plan, plan_cells
from songflow.sweeps.run import DEFAULT_CONCURRENCY, MAX_CONCURRENCY, RunOptions, SweepRun
from songflow.sweeps.spec import Sweep, load_sweep
from songflow.sweeps.status import SweepStatus, status_of
from songflow.sweeps.sweep import run_sweep
from songflow.sweeps.tally import SweepResult

__all__ = ["Sweeping", "app", "plan", "run", "status"]

_SWEEP = Group("Sweep", sort_key=1)
_LOOK_AGAIN_SECONDS = 2.0
_T = TypeVar("_T")

app = App(
    name="sweep", help="Many songs from one spec: plan (price and time), run (again to resume), status."
)

app.command(report)
app.command(suggest)


@Parameter(name="*", group=_SWEEP)
@dataclass(frozen=True)
class Sweeping:
    """How to run the sweep, and what may be paid for.

    Parameters
    ----------
    concurrency
        Generations at the gateway at once, at most; fewer if it answers "too many".
    budget
        The most that this command may spend, in the units of the prices.
    retry_errors
        Pay again for cells that have failed at the gateway.
    max_failures
        Start no more cells after this many have failed.
    retries
        How often to repeat a cell that was certainly not billed, while the gateway takes no other cell either.
    if_unsettled
        If the request of a cell is unsettled under a key outside of sweeps: stop at that cell, or pay for a new one.
    fallback
        A gateway to try next, only if the one before has certainly not billed: NAME or NAME=URL (several times).
    """

    concurrency: int = DEFAULT_CONCURRENCY
    budget: float | None = None
    retry_errors: Annotated[bool, Parameter(negative="")] = False
    max_failures: int | None = None
    retries: int = 4
    if_unsettled: Literal["stop", "new"] = "stop"
    fallback: Annotated[tuple[str, ...], Parameter(negative="")] = ()

    def check(self) -> None:
        """Raise InputError for values that cannot be."""
        _check_concurrency(self.concurrency)
        _check("--retries", self.retries, 0, 100)
        if self.max_failures is not None:
            _check("--max-failures", self.max_failures, 1, 1_000_000)
        if self.budget is not None and not (math.isfinite(self.budget) and self.budget >= 0):
            raise InputError(
                f"--budget is {self.budget:g}: allowed is a number from 0.",
                next="correct it; nothing was sent.",
            )

    def safety(self) -> SweepSafety:
        """These options as a parameter group; `check` them first."""
        return SweepSafety(
            if_unsettled=self.if_unsettled,
            retry_errors=self.retry_errors,
            retries=self.retries,
            fallback_gateways=list(self.fallback),
            max_failures=self.max_failures,
        )

    def options(self) -> RunOptions:
        """These options as those of a run."""
        return RunOptions(
            concurrency=self.concurrency,
            max_failures=self.max_failures,
            policy=self.safety().policy(),
        )


def _check_concurrency(concurrency: int) -> None:
    _check("--concurrency", concurrency, 1, MAX_CONCURRENCY)


def _check(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InputError(
            f"{name} is {value}: allowed are {least} to {most}.", next="correct it; nothing was sent."
        )


@app.command
def plan(
    spec: Path,
    /,
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    retry_errors: Annotated[bool, Parameter(negative="")] = False,
    wide: Annotated[bool, Parameter(negative="")] = False,
    gateway: Gateway = Gateway(),
    common: Common = Common(),
) -> None:
    """Show the requests, price and duration of a run; nothing is sent.

    Parameters
    ----------
    spec
        The sweep, in YAML (docs/sweeps.md).
    concurrency
        Generations at the gateway at once.
    retry_errors
        Include cells that have failed at the gateway.
    wide
        Every field of the cells in full, whatever the terminal's width.
    """
    gateway.check()
    _check_concurrency(concurrency)
    sweep = load_sweep(spec)
    output = Output(as_json=common.json, quiet=common.quiet)
    settings = common.library_settings()
    found, access, credit = asyncio.run(_plan(sweep, gateway, settings, concurrency, retry_errors))
    if output.as_json:
        output.object(
            {
                "name": sweep.name,
                **found.as_dict(),
                "unit": settings.unit,
                "concurrency": concurrency,
                "credit": {"left": credit.amount, "unit": credit.unit}
                if isinstance(credit, Credit)
                else None,
            }
        )
    else:
        simulated = access.is_simulated
        show_plan(output, sweep.name, found, settings.unit, concurrency, simulated=simulated, wide=wide)
        if (said := about_credit(credit, found.price, settings.unit)) is not None:
            output.line(said)


async def _plan(
    sweep: Sweep, gateway: Gateway, settings: LibrarySettings, concurrency: int, retry_errors: bool
) -> tuple[Plan, Access, Credit | str | None]:
    """The plan, who would pay, and what that account has left, if anything is to be paid for."""
    access, cells = await _expand(sweep, gateway, settings)
    found = await _with_key_summaries(
        settings,
        lambda ledger: plan_cells(cells, access, ledger, concurrency=concurrency, retry_errors=retry_errors),
    )
    credit = await read_credit(access.account) if found.price > 0 and not access.is_embedded else None
    return found, access, credit


async def _with_key_summaries(
    settings: LibrarySettings, read: Callable[[KeySummaries | None], Awaitable[_T]]
) -> _T:
    """Read from the ledger; a library that does not exist is not made."""
    if not settings.exists():
        return await read(None)
    async with Library(settings, reads_only=True) as library:
        return await read(library.ledger.key_summaries)


@app.command
def run(
    spec: Path,
    /,
    *,
    sweeping: Sweeping = Sweeping(),
    gateway: Gateway = Gateway(),
    waiting: Waiting = Waiting(),
    common: Common = Common(),
) -> int:
    """Make every song of a sweep; running again resumes it, and pays for no cell twice.

    The exit code is the worst of its cells, in the order 0 3 4 5 6.

    Parameters
    ----------
    spec
        The sweep, in YAML (docs/sweeps.md).
    """
    for part in (sweeping, gateway, waiting):
        part.check()
    options = sweeping.options()
    sweep = load_sweep(spec)
    options = replace(options, review=sweep.review)
    output = Output(as_json=common.json, quiet=common.quiet)
    access, cells = asyncio.run(_expand(sweep, gateway, common.library_settings()))
    result = guarded(
        lambda: _run(output, sweep, spec, cells, access, options, sweeping, gateway, waiting, common),
        None,
        common,
        "run the same command again",
        left=lambda: _detached(sweep, cells, access, common.library_settings()),
    )
    if output.as_json:
        output.object(result.as_dict())
    else:
        show_result(output, result, common.library_settings().unit, simulated=access.is_simulated)
    return result.exit_code


async def _expand(sweep: Sweep, gateway: Gateway, settings: LibrarySettings) -> tuple[Access, list[Cell]]:
    access = await access_of(gateway)
    return access, await find_cells(sweep, access, settings)


async def _run(
    output: Output,
    sweep: Sweep,
    spec: Path,
    cells: list[Cell],
    access: Access,
    options: RunOptions,
    sweeping: Sweeping,
    gateway: Gateway,
    waiting: Waiting,
    common: Common,
) -> SweepResult:
    if await use_prefect():
        expected = 0.0
        if not output.quiet:
            expected = await _with_key_summaries(
                common.library_settings(), lambda ledger: _expected(ledger, access, cells, options)
            )
        shared = await shared_parameters(gateway, waiting, sweeping.safety(), sweeping.budget, common)
        return await sweep_as_flow(
            spec,
            sweeping.concurrency,
            shared,
            lambda name, tally: watched(output, name, tally, expected),
        )
    settings = replace(
        session_settings(waiting.group(), sweeping.safety(), sweeping.budget),
        busy=True,
        budget_run=f"sweep-{uuid.uuid4().hex[:20]}",
    )
    async with Session(common.library_settings(), settings, resolve) as session:
        at_work = SweepRun(session, access, options)
        ledger = session.library.ledger.key_summaries
        expected = 0.0 if output.quiet else await _expected(ledger, access, cells, options)
        async with watched(output, sweep.name, at_work.tally, expected):
            return await run_sweep(session, sweep.name, cells, access, options, at_work)


async def _expected(
    ledger: KeySummaries | None, access: Access, cells: list[Cell], options: RunOptions
) -> float:
    """Seconds that a run is planned to take; 0 if a cell cannot be made, which the run reports."""
    with suppress(InputError):
        return (await plan_cells(cells, access, ledger, concurrency=options.concurrency)).seconds
    return 0.0


async def _detached(
    sweep: Sweep, cells: list[Cell], access: Access, settings: LibrarySettings
) -> SongflowError:
    """Describe what Ctrl-C leaves behind, from the ledger."""
    left = await _status(sweep, cells, access, settings)
    come_back = (
        "run the same command again: it collects what is running, makes the rest, and pays for no cell twice."
    )
    if not left.running and not left.unsettled:
        message = f"Detached. No cell is under way: {left.stored} of {left.cells} are stored."
        if not left.spent:
            return RequestNotSent(message, next=come_back)
        return StillRunning(message, billed="maybe", next=come_back)
    count = left.running + left.unsettled
    billed = f" ({SIMULATED})" if access.is_simulated else f" and {'is' if count == 1 else 'are'} billed"
    return StillRunning(
        f"Detached. {count} {'cell continues' if count == 1 else 'cells continue'} at the gateway{billed}; "
        f"{left.stored} of {left.cells} are stored.",
        next=come_back,
    )


@app.command
def status(
    spec: Path,
    /,
    *,
    once: Annotated[bool, Parameter(negative="")] = False,
    gateway: Gateway = Gateway(),
    common: Common = Common(),
) -> None:
    """Show the progress of a sweep: live in a terminal until Ctrl-C or its end, once in a pipe.

    Parameters
    ----------
    spec
        The sweep, in YAML (docs/sweeps.md).
    once
        Show it once, in a terminal too.
    """
    gateway.check()
    sweep = load_sweep(spec)
    output = Output(as_json=common.json, quiet=common.quiet)
    settings = common.library_settings()
    access, cells = asyncio.run(_expand(sweep, gateway, settings))
    if output.as_json:
        output.object(
            {
                "name": sweep.name,
                **asyncio.run(_status(sweep, cells, access, settings)).as_dict(),
                "unit": settings.unit,
            }
        )
    elif once or not output.out.is_terminal:
        show_status(output, sweep.name, asyncio.run(_status(sweep, cells, access, settings)), settings.unit)
    else:
        with suppress(KeyboardInterrupt):  # the usual end of watching
            asyncio.run(_live(output, sweep, cells, access, settings))


async def _status(sweep: Sweep, cells: list[Cell], access: Access, settings: LibrarySettings) -> SweepStatus:
    again = 0 if sweep.review is None else sweep.review.again
    return await _with_key_summaries(settings, lambda ledger: status_of(cells, ledger, [access], again=again))


async def _live(
    output: Output, sweep: Sweep, cells: list[Cell], access: Access, settings: LibrarySettings
) -> None:
    with Live(console=output.out, auto_refresh=False) as live:
        while True:
            found = await _status(sweep, cells, access, settings)
            live.update(
                plain_lines(status_lines(sweep.name, found, settings.unit, output.out.width)), refresh=True
            )
            if not found.running and not found.left:
                return
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
