"""Growth: the cost of a song in sweeps of 100, 1,000 and 10,000 cells. It should not grow with the sweep."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.lab import MEDIAN_SECONDS, Sweep, check_songs, run, simulator
from benchmarks.report import Finding, Outcome, Scale

SIZES, QUICK_SIZES = (100, 1_000, 10_000), (1, 2)
# Short, to measure work and not waiting.
GENERATION_SECONDS = 1.0
POLL_SECONDS = 0.5
TAKES = 2
_COLUMNS = (
    "wall s",
    "CPU ms per song",
    "peak MiB",
    "queries per song",
    "commits per song",
    "ledger ms per song",
)


def measure(scale: Scale) -> list[Outcome]:
    """Measure one library per size, each on its own simulator; the smallest, which is over quickly, three times."""
    smallest, *larger = QUICK_SIZES if scale.quick else SIZES
    tries = sorted((_row(scale, smallest) for _ in range(scale.count(3, 1))), key=lambda row: row[1][-1])
    rows = [tries[len(tries) // 2], *(_row(scale, cells) for cells in larger)]
    (least, first), (most, last) = rows[0], rows[-1]
    return [
        Outcome(
            title="Growth, 50 slots, no audio checks",
            columns=_COLUMNS,
            rows=rows,
            findings=[
                Finding(f"peak memory in MiB, {most}", last[2], 400.0),
                Finding(f"ledger queries per song, {most} relative to {least}", last[3] / first[3], 1.5),
                Finding(f"ledger time per song, {most} relative to {least}", last[5] / first[5], 1.5),
            ],
        )
    ]


def _row(scale: Scale, cells: int) -> tuple[str, tuple[float, ...]]:
    speed = MEDIAN_SECONDS / GENERATION_SECONDS
    with simulator(scale, speed=speed) as gateway, tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "library"
        sweep = Sweep(gateway, place, cells, 50, poll_interval=POLL_SECONDS)
        counts = Path(folder) / "counts.json"
        used = run(
            [sys.executable, "-m", "benchmarks.counting", str(counts), *sweep.arguments()], sweep.environment
        )
        check_songs("songflow", place / "audio", gateway, cells)
        ledger = json.loads(counts.read_text())
    songs = cells * TAKES
    return f"{cells:,} cells", (
        used.wall, 1000 * used.cpu / songs, used.peak_mib,
        ledger["queries"] / songs, ledger["commits"] / songs, 1000 * ledger["seconds"] / songs,
    )  # fmt: skip
