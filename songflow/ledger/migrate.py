"""Migrate a ledger to the current schema with Alembic."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

__all__ = ["alembic_config", "upgrade"]

_MIGRATIONS = Path(__file__).parent / "migrations"
# An arbitrary number that other users of the same database are unlikely to lock.
_ADVISORY_LOCK = 0x50_4E_47_46


def alembic_config() -> Config:
    """Alembic's settings for the ledger (without alembic.ini: the package contains its migrations)."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def upgrade(connection: Connection, version: str) -> None:
    """Run the missing migrations inside the caller's transaction, unless another process just has; they take turns."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _ADVISORY_LOCK})
    # Of many processes that open a new ledger together, the first has migrated it: Alembic would read every script
    # once more in each of them, while the others wait for the lock.
    if MigrationContext.configure(connection).get_current_revision() == version:
        return
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
