"""`python -m benchmarks [NAME ...]`: run every benchmark, or those named, and print their tables.

Each is a module of this package with `measure(scale) -> list[Outcome]`; add new ones to `NAMES`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.lab import compile_packages, machine
from benchmarks.report import Outcome, Scale, save, show

NAMES = ("start", "overhead", "slots", "growth", "polling", "batch", "library", "room")


def main() -> int:
    """Run and print, and save if asked to. Returns 1 if a full run missed a target."""
    arguments = _arguments()
    console, scale = Console(), Scale(quick=arguments.quick)
    console.print(f"Ratios of one run on: {machine()}\n", highlight=False)
    compile_packages()
    outcomes: list[Outcome] = []
    for name in arguments.names or NAMES:
        found = importlib.import_module(f"benchmarks.{name}").measure(scale)
        for outcome in found:
            show(console, outcome)
        outcomes += found
    if arguments.save is not None:
        save(arguments.save, machine(), outcomes)
    missed = any(finding.met is False for outcome in outcomes for finding in outcome.findings)
    return int(missed and not scale.quick)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure speed as ratios within one run."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)} (default: all)")
    parser.add_argument(
        "--quick", action="store_true", help="a few cells only, to check that the benchmarks run"
    )
    parser.add_argument(
        "--save", type=Path, metavar="FOLDER", help="write performance.json and images/ to this folder"
    )
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}: choose from {', '.join(NAMES)}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
