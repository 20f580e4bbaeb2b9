"""The benchmarks: a quick run of each, and the checks that reject a bad run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES
from benchmarks.lab import Work, check_songs, run_bare, simulator
from benchmarks.report import Finding, Scale
from benchmarks.slots import slot_use

# A dozen processes, one after another.
pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("benchmarks")]

QUICK = Scale(quick=True)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The output of a quick run of all benchmarks, and the folder with its numbers."""
    saved = tmp_path_factory.mktemp("docs")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--save", str(saved)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**_plain(), "COLUMNS": "120"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, saved


def _plain() -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if not name.startswith("SONGFLOW_")}


def test_one_command_runs_every_benchmark(quick_run: tuple[str, Path]) -> None:
    """Each prints its table and its findings, with the machine's name."""
    printed, saved = quick_run
    found = json.loads((saved / "performance.json").read_text())
    assert found["machine"] in printed
    assert len(found["benchmarks"]) >= len(NAMES)
    for benchmark in found["benchmarks"]:
        assert benchmark["title"].split(",")[0] in printed
        assert benchmark["rows"]
        assert all(finding["value"] > 0 for finding in benchmark["findings"])


def test_the_picture_is_drawn(quick_run: tuple[str, Path]) -> None:
    """A PNG of the findings is saved beside the numbers."""
    _, saved = quick_run
    assert (saved / "images" / "performance.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_lost_a_song_is_rejected(tmp_path: Path) -> None:
    """Every take that was paid for must be stored, byte for byte, or the run is rejected."""
    with simulator(QUICK, speed=500.0) as gateway:
        run_bare(gateway, tmp_path, cells=3, slots=3, poll=0.02, check=True)
        check_songs("all", tmp_path, gateway, 3)
        one, other, *_ = sorted(tmp_path.glob("*.mp3"))
        whole = one.read_bytes()
        one.write_bytes(whole[:-100])
        with pytest.raises(SystemExit, match="6 songs stored of 6 paid for, 1 of them not what was paid for"):
            check_songs("cut", tmp_path, gateway, 3)
        one.write_bytes(whole)
        other.unlink()
        with pytest.raises(SystemExit, match="5 songs stored of 6 paid for"):
            check_songs("one lost", tmp_path, gateway, 3)


def test_slot_use_counts_the_gateways_working_time_up_to_the_last_post() -> None:
    """Two slots over 10 s: one is idle for 2 s between generations; the drain does not count."""
    work = [Work(0, 10, 0), Work(0, 4, 0), Work(6, 10, 0), Work(10, 99, 0)]
    assert slot_use(work, slots=2) == pytest.approx((10 + 4 + 4) / 20)


@pytest.mark.parametrize(
    ("finding", "met"),
    [
        (Finding("at most", 1.9, 2.0), True),
        (Finding("at most", 2.1, 2.0), False),
        (Finding("at least", 0.96, 0.95, at_least=True), True),
        (Finding("at least", 0.94, 0.95, at_least=True), False),
        (Finding("only reported", 3.0), None),
    ],
)
def test_a_finding_knows_whether_its_target_is_met(finding: Finding, met: bool | None) -> None:
    """At most its target, or at least; without a target it is only reported."""
    assert finding.met is met
