"""A column for who joined an extension's new part with its source; until now it was always done here."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("songs", sa.Column("joined_by", sa.String(16), nullable=True))
    songs = sa.table("songs", sa.column("whole_path"), sa.column("joined_by"))
    op.execute(songs.update().where(songs.c.whole_path.is_not(None)).values(joined_by="local"))
