"""Slot use: the share of the time of K slots in which the gateway is working.

An idle slot waits for us to notice that its generation has ended, and to submit the next one. The gateway's own
records say when it worked. The final drain, when no cell is left to submit, is not counted.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.lab import MEDIAN_SECONDS, Sweep, Work, simulator
from benchmarks.report import Finding, Outcome, Scale

# Log-normal with sigma 0.3 around the published 54 s, at true speed: idle time does not scale with it.
SPEED = 1.0


def measure(scale: Scale) -> list[Outcome]:
    """Measure after one cell per slot, so that the waiting schedule has a history."""
    cells, slots = scale.count(200, 4), scale.count(50, 2)
    speed = scale.of(SPEED, 100.0)
    with simulator(scale, speed=speed) as gateway, tempfile.TemporaryDirectory() as folder:
        library = Path(folder)
        Sweep(gateway, library, slots, slots).run()
        Sweep(gateway, library, cells, slots, first_seed=slots).run()
        work = gateway.work()[slots:]
    use = slot_use(work, slots)
    seconds = sum(one.end - one.start for one in work) / len(work)
    return [
        Outcome(
            title=f"Slot use, {cells} cells, {slots} slots, generations of {MEDIAN_SECONDS / speed:.3g} s",
            columns=("share", "idle ms per generation"),
            rows=[("songflow sweep run", (use, 1000 * seconds * (1 / use - 1)))],
            findings=[Finding("share of slot time with the gateway working", use, 0.95, at_least=True)],
        )
    ]


def slot_use(work: Sequence[Work], slots: int) -> float:
    """The share of the slots' time, from the first POST to the last, in which generations were running."""
    start, last = work[0].start, work[-1].start
    busy = sum(min(one.end, last) - one.start for one in work)
    return busy / (slots * (last - start))
