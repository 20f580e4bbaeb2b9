"""What people decide and note about songs, with who and when; measures of songs; finished copies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def _time() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the columns and the tables."""
    for column in (
        sa.Column("rated_by", sa.String(255), nullable=True),
        sa.Column("decision", sa.String(16), nullable=True),
        sa.Column("decided_at", _time(), nullable=True),
        sa.Column("decided_by", sa.String(255), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("noted_at", _time(), nullable=True),
        sa.Column("noted_by", sa.String(255), nullable=True),
        sa.Column("trashed_at", _time(), nullable=True),
        sa.Column("changed_at", _time(), nullable=True),
    ):
        op.add_column("songs", column)
    op.create_index("ix_songs_changed_at", "songs", ["changed_at"])
    op.create_table(
        "judgements",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("song", sa.Integer(), sa.ForeignKey("songs.id"), primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("other_song", sa.Integer(), sa.ForeignKey("songs.id"), nullable=True),
        sa.Column("by", sa.String(255), nullable=True),
        sa.Column("at", _time(), nullable=False),
        sa.Column("undone_at", _time(), nullable=True),
    )
    op.create_index("ix_judgements_song", "judgements", ["song"])
    op.create_index("ix_judgements_at", "judgements", ["at"])
    # What was rated before has a judgement, too: so that it can be weighed against others, and undone.
    op.execute(
        "INSERT INTO judgements (id, song, kind, value, at) SELECT 'rated-before', id, 'rating', CAST(rating AS TEXT), "
        "coalesce(rated_at, stored_at, announced_at) FROM songs WHERE rating IS NOT NULL"
    )
    op.create_table(
        "measures",
        sa.Column("song", sa.Integer(), sa.ForeignKey("songs.id"), primary_key=True, autoincrement=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("loudness_lufs", sa.Float(), nullable=True),
        sa.Column("true_peak_db", sa.Float(), nullable=True),
        sa.Column("loudness_range", sa.Float(), nullable=True),
        sa.Column("silence_start", sa.Float(), nullable=True),
        sa.Column("silence_end", sa.Float(), nullable=True),
        sa.Column("clipped_samples", sa.Integer(), nullable=True),
        sa.Column("tempo", sa.Float(), nullable=True),
        sa.Column("centroid_hz", sa.Float(), nullable=True),
        sa.Column("waveform", sa.Text(), nullable=True),
        sa.Column("measured_at", _time(), nullable=False),
    )
    op.create_index("ix_measures_measured_at", "measures", ["measured_at"])
    op.create_table(
        "finished",
        sa.Column("path", sa.Text(), primary_key=True),
        sa.Column("song", sa.Integer(), sa.ForeignKey("songs.id"), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("made_at", _time(), nullable=False),
    )
    op.create_index("ix_finished_song", "finished", ["song"])
