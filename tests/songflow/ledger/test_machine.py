"""The ledger under any interleaving of processes, a gateway and a person, on both databases."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from support.ledger_model import Process
from support.ledger_steps import LedgerMachine

from songflow.ledger import Ledger
from songflow.ledger.engine import ledger_url


class SqliteMachine(LedgerMachine):
    """On SQLite: one file for each example."""

    steps = 0
    seen: ClassVar[Counter[str]] = Counter()
    template: ClassVar[Path]

    def open_ledger(self) -> Ledger:
        shutil.copy(self.template, self.folder / "ledger.sqlite")
        self.raw = sqlite3.connect(self.folder / "ledger.sqlite", isolation_level=None)
        self.raw.row_factory = sqlite3.Row
        return Ledger(ledger_url(None, self.folder))

    def fetch(self, table: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self.raw.execute(f"SELECT * FROM {table} ORDER BY 1")]

    def expire(self, process: Process) -> None:
        self.raw.execute(
            "UPDATE submissions SET lease_expires_at = '2026-01-01 00:00:00.000000' "
            "WHERE (lease_host, lease_pid) = (?, ?)",
            (process.identity.host, process.identity.pid),
        )

    def teardown(self) -> None:
        super().teardown()
        self.raw.close()


class PostgresMachine(LedgerMachine):
    """On PostgreSQL: the tables are emptied for each example."""

    steps = 0
    seen: ClassVar[Counter[str]] = Counter()
    url: ClassVar[str]

    def open_ledger(self) -> Ledger:
        self.raw = self.run(asyncpg.connect(self.url))
        self.run(
            self.raw.execute("TRUNCATE songs, answers, submissions, generations, budgets, switches CASCADE")
        )
        return Ledger(ledger_url(self.url, self.folder))

    def fetch(self, table: str) -> list[dict[str, Any]]:
        return [dict(row) for row in self.run(self.raw.fetch(f"SELECT * FROM {table} ORDER BY 1"))]

    def expire(self, process: Process) -> None:
        self.run(
            self.raw.execute(
                "UPDATE submissions SET lease_expires_at = '2026-01-01Z' WHERE lease_host = $1 AND lease_pid = $2",
                process.identity.host,
                process.identity.pid,
            )
        )

    def teardown(self) -> None:
        super().teardown()
        self.run(self.raw.close())


def _settings(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[
            Phase.generate
        ],  # a failing example is replayed exactly; shrinking it here would take minutes
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """One event loop for all examples, driven step by step."""
    made = asyncio.new_event_loop()
    yield made
    made.close()


PAYING = (
    *("intend", "begin_send", "give up", "spool", "crash", "sleep too long", "settle a sender", "adopt"),
    *("hold", "write off", "pause", "resume", "list", "new row", "taken over", "paused"),
    *(f"post {answer}" for answer in ("accepted", "lost", "unknown", "refused", "unsent")),
    *(f"commit {state}" for state in ("accepted", "unknown", "refused", "unsent")),
    *(f"hear {state}" for state in ("running", "overdue", "lost", "failed")),
    *("end succeeded", "end failed", "song stored"),
)
"""What happens in any thousand steps."""
RARELY = (
    *("twin", "settle an intent", "song problem", "charged again", "over budget"),
    *("found dead: accepted", "found dead: unknown"),
    *(f"paid again: {state}" for state in ("failed", "unknown", "lost", "overdue")),
)
"""What happens in ten thousand, some of it only a few times: clocks and process ids take part in the draw."""
FEW = 3


def _never(machine: type[LedgerMachine], expected: Iterable[str]) -> list[str]:
    """Events that no example reached, so that nothing is proved about them."""
    return [name for name in expected if not machine.seen[name]]


@pytest.mark.timeout(900)
def test_ten_thousand_steps_in_any_order_keep_every_invariant(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    """On SQLite: nothing is paid twice, no paid id is lost, and the counters equal the rows."""

    async def migrate() -> None:
        async with Ledger(ledger_url(None, tmp_path)):
            pass

    loop.run_until_complete(migrate())
    SqliteMachine.loop, SqliteMachine.template = loop, tmp_path / "ledger.sqlite"
    run_state_machine_as_test(SqliteMachine, settings=_settings(300, 50))
    assert SqliteMachine.steps >= 10_000
    assert _never(SqliteMachine, PAYING) == []
    assert len(_never(SqliteMachine, RARELY)) <= FEW, (
        "each has a test of its own; most must meet the others here"
    )


@pytest.mark.postgres
@pytest.mark.timeout(900)
def test_a_thousand_steps_on_postgresql_keep_every_invariant(
    loop: asyncio.AbstractEventLoop, postgres_url: str
) -> None:
    """The same machine on the other database."""
    PostgresMachine.loop, PostgresMachine.url = loop, postgres_url
    run_state_machine_as_test(PostgresMachine, settings=_settings(35, 50))
    assert PostgresMachine.steps >= 1_000
    assert len(_never(PostgresMachine, PAYING)) <= FEW
