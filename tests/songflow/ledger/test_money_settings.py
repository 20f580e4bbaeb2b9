"""Budget settings, and the spending of an older ledger."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, text

from songflow.errors import LibraryError
from songflow.ledger import Ledger
from songflow.ledger.engine import Database, ledger_url
from songflow.ledger.migrate import alembic_config
from songflow.ledger.money import Balance
from songflow.settings import LibrarySettings


@pytest.mark.parametrize(
    ("given", "read"), [("", None), ("  ", None), ("0", 0.0), ("12.5", 12.5), (" 1e3 ", 1000.0)]
)
def test_budgets_are_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str, read: float | None
) -> None:
    """A number from 0; empty is no cap, and 0 is a cap."""
    monkeypatch.setenv("SONGFLOW_BUDGET", given)
    monkeypatch.setenv("SONGFLOW_BUDGET_PER_DAY", given)
    monkeypatch.setenv("SONGFLOW_UNIT", "dollars" if given else "")
    settings = LibrarySettings.from_environment(tmp_path)
    assert (settings.budget, settings.budget_per_day) == (read, read)
    assert settings.unit == ("dollars" if given else "units")


@pytest.mark.parametrize("variable", ["SONGFLOW_BUDGET", "SONGFLOW_BUDGET_PER_DAY"])
@pytest.mark.parametrize("given", ["ten", "-1", "nan", "inf", "-inf", "1,5"])
def test_an_invalid_budget_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, given: str
) -> None:
    """A typing error must not mean "no cap"; the variable is named."""
    monkeypatch.setenv(variable, given)
    with pytest.raises(LibraryError, match=f"{variable} is '{given}'") as caught:
        LibrarySettings.from_environment(tmp_path)
    assert caught.value.exit_code == 2


SPENT = ("accepted", "running", "overdue", "succeeded", "failed", "lost")
STATES = (*SPENT, "sending", "unknown", "intended", "unsent", "refused")


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
@pytest.mark.parametrize("states", [STATES, ()])
async def test_a_migration_counts_an_older_ledgers_spending(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, states: tuple[str, ...]
) -> None:
    """Accepted is spent, possibly billed is reserved, and settling it later changes the counter."""
    url = ledger_url(request.getfixturevalue("new_postgres") if kind == "postgres" else None, tmp_path)
    database = Database(url)

    def to_first(connection: Connection) -> None:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")

    async with database.write("migrate") as connection:
        await connection.run_sync(to_first)
        for state in states:
            await connection.execute(text(_GENERATION), {"key": state})
            await connection.execute(text(_SUBMISSION), {"id": state, "state": state})
    await database.close()
    async with Ledger(url) as ledger:
        spent, reserved = (1.5 * len(SPENT), 3.0) if states else (0.0, 0.0)
        assert await ledger.money.balance() == Balance("library", spent, reserved, 0.0)
        if states:
            assert await ledger.submissions.accepted("unknown", "id", (), None)
            assert await ledger.submissions.accepted("sending", "id 2", (), None)
            assert await ledger.money.balance() == Balance("library", spent + 3.0, 0.0, 0.0)


_GENERATION = "INSERT INTO generations VALUES (:key, '{}', 'hash', 1, '2026-01-01 00:00:00')"
_SUBMISSION = """
    INSERT INTO submissions
        (id, key, ordinal, state, gateway, dialect, base_url, account, key_fingerprint, price, fence,
         lease_host, lease_boot, lease_pid, lease_start, lease_expires_at, intended_at)
    VALUES (:id, :state, 1, :state, 'g', '{}', 'u', 'a', 'f', 1.5, 'fence',
            'h', 'b', 1, 's', '2026-01-01 00:00:00', '2026-01-01 00:00:00')
"""
