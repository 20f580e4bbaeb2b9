"""Overhead: CPU, time and memory of `songflow sweep run` relative to the bare script, on the same cells.

Both poll at the same fixed interval, keep the same number of generations at the gateway and write the same audio,
which each run checks. They run side by side, each with its own simulator (whose CPU is not counted), so that other
load on the machine slows down both. One after the other, the same run took 34 s and 41 s of CPU.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
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
_MOST_CPU, _MOST_CPU_OF_FLOW_RUN, _MOST_TIME = 1.64, 1.84, 1.15
_COLUMNS = ("CPU s", "CPU ms per cell", "wall s", "peak MiB")


def measure(scale: Scale) -> list[Outcome]:
    """Compare without audio checks on either side, then with them, then with measures on ours."""
    if scale.quick:
        return [_compare(scale, check=True)]
    return [_compare(scale, check=False), _compare(scale, check=True), _compare_measuring(scale)]


def _compare_measuring(scale: Scale) -> Outcome:
    """The same with audio checks, and with each song measured on arrival, which the bare script does not do."""
    cells, slots = scale.count(1000, 2), scale.count(50, 2)
    bare, ours = _side_by_side(scale, cells, slots, check=True, measuring=True)
    return Outcome(
        title=f"Overhead, {cells} cells, {slots} slots, songs of 2 s measured on arrival",
        columns=_COLUMNS,
        rows=[
            ("bare script", _numbers(bare, cells)),
            ("songflow sweep run beside it", _numbers(ours, cells)),
        ],
        findings=[
            Finding("CPU relative to the bare script, songs measured on arrival", ours.cpu / bare.cpu),
            Finding(
                "time relative to the bare script, songs measured on arrival",
                ours.wall / bare.wall,
                _MOST_TIME,
            ),
        ],
    )


def _compare(scale: Scale, *, check: bool) -> Outcome:
    cells, slots = scale.count(1000, 2), scale.count(50, 2)
    bare, ours = _side_by_side(scale, cells, slots, check=check)
    with prefect_server() as server:
        idle = server.cpu()
        beside, flow = _side_by_side(scale, cells, slots, check=check, server=server)
        served = server.cpu() - idle
    checks = "with audio checks" if check else "no audio checks"
    return Outcome(
        title=f"Overhead, {cells} cells, {slots} slots, {checks}",
        columns=_COLUMNS,
        rows=[
            ("bare script", _numbers(bare, cells)),
            ("songflow sweep run beside it", _numbers(ours, cells)),
            ("bare script", _numbers(beside, cells)),
            ("the same as a flow run beside it", _numbers(flow, cells)),
        ],
        findings=[
            Finding(f"CPU relative to the bare script, {checks}", ours.cpu / bare.cpu, _MOST_CPU),
            Finding(f"time relative to the bare script, {checks}", ours.wall / bare.wall, _MOST_TIME),
            Finding(f"peak memory relative to the bare script, {checks}", ours.peak_mib / bare.peak_mib),
            Finding(
                f"CPU as a flow run relative to the bare script, {checks}",
                flow.cpu / beside.cpu,
                _MOST_CPU_OF_FLOW_RUN,
            ),
            Finding(
                f"time as a flow run relative to the bare script, {checks}",
                flow.wall / beside.wall,
                _MOST_TIME,
            ),
            Finding(f"CPU of the Prefect server relative to the bare script, {checks}", served / beside.cpu),
        ],
    )


def _side_by_side(
    scale: Scale,
    cells: int,
    slots: int,
    *,
    check: bool,
    measuring: bool = False,
    server: PrefectServer | None = None,
) -> tuple[Usage, Usage]:
    """Run the bare script and the command at the same time; with a server, the command is a flow run."""
    with ThreadPoolExecutor(2) as both:
        bare = both.submit(_run, scale, cells, slots, check=check, ours=False)
        ours = both.submit(
            _run, scale, cells, slots, check=check, ours=True, measuring=measuring, server=server
        )
        return bare.result(), ours.result()


def _run(
    scale: Scale,
    cells: int,
    slots: int,
    *,
    check: bool,
    ours: bool,
    measuring: bool = False,
    server: PrefectServer | None = None,
) -> Usage:
    speed = MEDIAN_SECONDS / scale.of(GENERATION_SECONDS, 0.5)
    with simulator(scale, speed=speed) as gateway, tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if ours:
            sweep = Sweep(
                gateway,
                place,
                cells,
                slots,
                poll_interval=POLL_SECONDS,
                check=check,
                measure=measuring,
                server=server,
            )
            used, songs = sweep.run(), place / "audio"
        else:
            used = run_bare(gateway, place, cells=cells, slots=slots, poll=POLL_SECONDS, check=check)
            songs = place
        check_songs("songflow" if ours else "bare script", songs, gateway, cells)
        return used


def _numbers(used: Usage, cells: int) -> tuple[float, ...]:
    return used.cpu, 1000 * used.cpu / cells, used.wall, used.peak_mib
