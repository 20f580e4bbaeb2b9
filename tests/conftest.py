"""What all tests need: commands that Ctrl-C reaches, and the crash suite's table, however many processes ran it."""

from __future__ import annotations

import signal
from typing import Any

# A shell that runs the tests in the background leaves SIGINT ignored, which the commands under test inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Every fail point, on every database: where it was killed, as what it was resumed, what it cost.

    Only this conftest is read by the process that collects the reports of several.
    """
    rows = sorted(
        (
            value.split("|")
            for reports in terminalreporter.stats.values()
            for report in reports
            for name, value in getattr(report, "user_properties", ())
            if name == "crash" and report.when == "call"
        ),
        key=lambda row: int(row[0]),
    )
    if not rows:
        return
    heads = ["fail point", "in", "database", "left", "resumed as", "POSTs", "billed", "songs"]
    table = [heads, *(row[1:] for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(heads))]
    terminalreporter.section(f"killed and come back to: {len(rows)} times")
    for row in table:
        terminalreporter.write_line(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        )
