"""Columns for file metadata, extensions, ratings and durations; the table of choices."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and fill in model and mode of existing submissions."""
    op.add_column("submissions", sa.Column("model_type", sa.String(length=64), nullable=True))
    op.add_column("submissions", sa.Column("mode", sa.String(length=16), nullable=True))
    op.add_column("submissions", sa.Column("pending_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("submissions", sa.Column("ran_seconds", sa.Float(), nullable=True))
    op.create_index(
        op.f("ix_submissions_gateway_model_type_mode_settled_at"),
        "submissions",
        ["gateway", "model_type", "mode", "settled_at"],
    )
    op.add_column("songs", sa.Column("audio_sha256", sa.String(length=64), nullable=True))
    op.add_column("songs", sa.Column("cover_path", sa.Text(), nullable=True))
    op.add_column("songs", sa.Column("source_score", sa.Float(), nullable=True))
    op.add_column("songs", sa.Column("source_at", sa.Float(), nullable=True))
    op.add_column("songs", sa.Column("added_seconds", sa.Float(), nullable=True))
    op.add_column("songs", sa.Column("note", sa.Text(), nullable=True))
    op.add_column("songs", sa.Column("rating", sa.Float(), nullable=True))
    op.add_column("songs", sa.Column("rated_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_songs_parent_song_id"), "songs", ["parent_song_id"])
    op.create_table(
        "choices",
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("song_id", sa.Text(), nullable=False),
        sa.Column("chosen_by", sa.String(length=64), nullable=False),
        sa.Column("chosen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_choices")),
    )
    _fill_in_model_and_mode()


def _fill_in_model_and_mode() -> None:
    connection = op.get_bind()
    for key, body in connection.execute(sa.text("SELECT key, body FROM generations")).all():
        params = json.loads(body).get("gen_params", {})
        connection.execute(
            sa.text("UPDATE submissions SET model_type = :model, mode = :mode WHERE key = :key"),
            {
                "key": key,
                "model": params.get("model_type"),
                "mode": (params.get("config") or {}).get("mode"),
            },
        )
