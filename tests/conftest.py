"""Settings for all tests: which of them coverage traces, signals for commands, and the table of the crash suite."""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import coverage
import pytest

import songflow

# Assertions in the helpers show their values, too.
pytest.register_assert_rewrite("support")

# A shell that runs the tests in the background leaves SIGINT ignored, and `nohup` SIGHUP, which the commands under test
# inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

TESTS = Path(__file__).parent
# Each of Prefect's clients reads all certificate authorities, which takes 25 ms. No test connects to a public server:
# one authority is enough, here and in the processes that tests start.
os.environ["SSL_CERT_FILE"] = str(TESTS / "support" / "no_authority.pem")
# Each of Prefect's clients asks for a CSRF token before its first request; the tests' servers have none to give.
os.environ["PREFECT_CLIENT_CSRF_SUPPORT_ENABLED"] = "false"
# Songs are measured where that is tested: it is another transaction for each generation.
os.environ["SONGFLOW_MEASURE"] = "off"
# Tracing costs 40 % more CPU. Coverage counts what the tests of each room of `songflow` run, without the long ones.
TRACED = TESTS / "songflow"
LONG = tuple(
    TRACED / name
    for name in (
        "chaos",
        "conformance",
        "crash",
        "hostile",
        "gateways/test_fuzzed_answers.py",
        "ledger/test_machine.py",
        "polling/test_learned.py",
    )
)


# The libraries of `songflow` that take longest to load: they are loaded without tracing.
LIBRARIES = (
    "alembic.command",
    "asyncpg",
    "fastapi",
    "httpx",
    "matplotlib.figure",
    "pandas",
    "pyarrow.parquet",
    "rich.progress",
    "soundfile",
    "sqlalchemy.ext.asyncio",
    "uvicorn",
)
LONGEST_ID = 60
"""Characters of a value in a test's name."""


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, Any, Any]:
    """Trace the modules of `songflow` while they are imported, and nothing else that is loaded for the tests."""
    tracer = coverage.Coverage.current()
    if session.config.pluginmanager.hasplugin("dsession"):  # it only distributes the tests
        _end_idle_tracers()
        return (yield)
    if tracer is None:
        return (yield)
    tracer.stop()
    _end_idle_tracers()
    for name in LIBRARIES:
        importlib.import_module(name)
    tracer.start()
    for module in pkgutil.walk_packages(songflow.__path__, "songflow."):
        if not module.name.startswith("songflow.ledger.migrations."):  # only Alembic can import these
            importlib.import_module(module.name)
    tracer.stop()
    try:
        return (yield)
    finally:
        tracer.start()


def _end_idle_tracers() -> None:
    """End the tracers below the one that counts.

    In a process of pytest-xdist pytest-cov starts one for a process that distributes, and then the one whose data it
    keeps. Whenever that one stops, the other goes on: no test would be without tracing.
    """
    while (idle := coverage.Coverage.current()) is not None:
        idle.stop()


def pytest_collection_finish() -> None:
    """Collect garbage seldom, and not what is loaded by now: going through it took 13 % of the CPU of the tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Cut long values in the names of tests: each process sends all names, and one value has 6 MB."""
    if not isinstance(val, str | bytes) or len(val) <= LONGEST_ID:
        return None
    return f"{val[:LONGEST_ID]!r}... ({len(val)})"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Trace a test and its fixtures only if coverage counts it."""
    tracer = coverage.Coverage.current()
    if tracer is None or _is_traced(item):
        return (yield)
    tracer.stop()
    try:
        return (yield)
    finally:
        tracer.start()


def _is_traced(item: pytest.Item) -> bool:
    path = item.path
    if not path.is_relative_to(TRACED) or any(map(path.is_relative_to, LONG)):
        return False
    # The same test on PostgreSQL runs other lines only in the ledger.
    return path.is_relative_to(TRACED / "ledger") or item.get_closest_marker("postgres") is None


class Failures:
    """Names each failed test at once: whoever stops a long run sees what has failed in it."""

    def __init__(self, terminal: Any) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            reason = (crash.message if crash else str(report.longrepr).strip()).partition("\n")[0]
            self._terminal.ensure_newline()
            self._terminal.write_line(
                f"FAILED {report.when} ({report.duration:.0f} s) {report.nodeid}: {reason}"
            )


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Only the process that collects the reports of the others has a terminal."""
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is not None:
        config.pluginmanager.register(Failures(terminal), "failures")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print every kill of the crash suite: the fail point, the state it left, how it was resumed, what it cost.

    It is here since the process that collects the reports of several reads only this conftest.
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
    terminalreporter.section(f"killed and resumed: {len(rows)} times")
    for row in table:
        terminalreporter.write_line(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        )
