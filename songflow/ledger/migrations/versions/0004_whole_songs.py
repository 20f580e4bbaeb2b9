"""A column for the whole song that an extension's new part was joined into."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("songs", sa.Column("whole_path", sa.Text(), nullable=True))
