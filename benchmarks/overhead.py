"""Overhead: CPU, time and memory of `songflow sweep run` against the bare script, on the same cells.

Both poll at the same fixed interval, keep the same number of generations at the gateway and write the same audio,
which each run checks. The simulator's own CPU is not counted: it is another process. They run in turn, and of each the
run that took the least CPU counts: a neighbour on the machine takes from one run a fifth that it leaves to the next.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.lab import (
    MEDIAN_SECONDS,
    PrefectServer,
    Sweep,
    Usage,
    check_songs,
    prefect_server,
    run_bare,
    simulator,
)
from benchmarks.report import Finding, Outcome, Scale

GENERATION_SECONDS = 5.0
POLL_SECONDS = 0.5
ROUNDS = 2
_MOST_CPU = 2.0
_COLUMNS = ("CPU s", "CPU ms a cell", "wall s", "peak MiB")


def measure(scale: Scale) -> list[Outcome]:
    """Without audio checks on either side, then with them."""
    return [_compare(scale, check=check) for check in ((True,) if scale.quick else (False, True))]


def _compare(scale: Scale, *, check: bool) -> Outcome:
    cells, slots = scale.count(1000, 8), scale.count(50, 4)
    rounds = [_round(scale, cells, slots, check=check) for _ in range(scale.count(ROUNDS, 1))]
    bare, ours, flow, server = (min(runs, key=lambda run: run.cpu) for runs in zip(*rounds, strict=True))
    checks = "with audio checks" if check else "no audio checks"
    return Outcome(
        title=f"Overhead, {cells} cells, {slots} slots, {checks}",
        columns=_COLUMNS,
        rows=[
            ("bare script", _numbers(bare, cells)),
            ("songflow sweep run", _numbers(ours, cells)),
            ("the same as a flow run", _numbers(flow, cells)),
        ],
        findings=[
            Finding(f"CPU, times the bare script's, {checks}", ours.cpu / bare.cpu, _MOST_CPU),
            Finding(f"time until it returns, times the bare script's, {checks}", ours.wall / bare.wall, 1.15),
            Finding(f"peak memory, times the bare script's, {checks}", ours.peak_mib / bare.peak_mib),
            Finding(f"CPU as a flow run, times the bare script's, {checks}", flow.cpu / bare.cpu, _MOST_CPU),
            Finding(f"time as a flow run, times the bare script's, {checks}", flow.wall / bare.wall, 1.15),
            Finding(
                f"CPU of the Prefect server meanwhile, times the bare script's, {checks}",
                server.cpu / bare.cpu,
            ),
        ],
    )


def _round(scale: Scale, cells: int, slots: int, *, check: bool) -> tuple[Usage, Usage, Usage, Usage]:
    """The bare script, the command, the command as a flow run, and the Prefect server meanwhile."""
    bare = _run(scale, cells, slots, check=check, ours=False)
    ours = _run(scale, cells, slots, check=check, ours=True)
    with prefect_server() as server:
        idle = server.cpu()
        flow = _run(scale, cells, slots, check=check, ours=True, server=server)
        served = replace(flow, cpu=server.cpu() - idle)
    return bare, ours, flow, served


def _run(
    scale: Scale, cells: int, slots: int, *, check: bool, ours: bool, server: PrefectServer | None = None
) -> Usage:
    speed = MEDIAN_SECONDS / scale.of(GENERATION_SECONDS, 0.5)
    with simulator(scale, speed=speed) as gateway, tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if ours:
            sweep = Sweep(
                gateway, place, cells, slots, poll_interval=POLL_SECONDS, check=check, server=server
            )
            used, songs = sweep.run(), place / "audio"
        else:
            used = run_bare(gateway, place, cells=cells, slots=slots, poll=POLL_SECONDS, check=check)
            songs = place
        check_songs("songflow" if ours else "bare script", songs, gateway, cells)
        return used


def _numbers(used: Usage, cells: int) -> tuple[float, ...]:
    return used.cpu, 1000 * used.cpu / cells, used.wall, used.peak_mib
