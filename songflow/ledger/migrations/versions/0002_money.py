"""Budgets, the switch that stops spending, and the pace of submits."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SPENT = "('accepted', 'running', 'overdue', 'succeeded', 'failed', 'lost')"
_RESERVED = "('sending', 'unknown')"


def upgrade() -> None:
    """Create the tables, and count what an existing ledger has spent."""
    op.add_column("submissions", sa.Column("held", sa.Float(), server_default="0", nullable=False))
    op.add_column("submissions", sa.Column("refunded", sa.Float(), server_default="0", nullable=False))
    op.add_column(
        "submissions", sa.Column("budget_day", sa.String(length=10), server_default="", nullable=False)
    )
    op.add_column("submissions", sa.Column("budget_run", sa.String(length=255), nullable=True))
    op.add_column("submissions", sa.Column("written_off_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "budgets",
        sa.Column("scope", sa.String(length=300), nullable=False),
        sa.Column("spent", sa.Float(), nullable=False),
        sa.Column("reserved", sa.Float(), nullable=False),
        sa.Column("refunded", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_budgets")),
    )
    op.create_table(
        "switches",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_switches")),
    )
    op.create_table(
        "paces",
        sa.Column("account", sa.String(length=128), nullable=False),
        sa.Column("pause", sa.Float(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_paces")),
    )
    op.execute(f"UPDATE submissions SET held = price WHERE state IN {_RESERVED}")
    op.execute(
        "INSERT INTO budgets (scope, spent, reserved, refunded) SELECT 'library', "
        f"COALESCE(SUM(CASE WHEN state IN {_SPENT} THEN price ELSE 0 END), 0), COALESCE(SUM(held), 0), 0 "
        "FROM submissions"
    )
