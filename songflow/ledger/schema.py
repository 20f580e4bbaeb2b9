"""The ledger's tables. `migrations/` builds them; a test holds the two equal."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy import Column as C

__all__ = ["SCHEMA_VERSION", "answers", "generations", "metadata", "songs", "submissions"]

SCHEMA_VERSION = "0001"
"""The newest migration that this code knows. Versions are four digits and compare as text."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC on every database (SQLite stores no zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if dialect.name != "sqlite" else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

generations = Table(
    "generations",
    metadata,
    C("key", String(255), primary_key=True),
    C("body", Text, nullable=False),
    C("body_hash", String(64), nullable=False, index=True),
    C("hash_version", Integer, nullable=False),
    C("created_at", UtcDateTime, nullable=False),
)

submissions = Table(
    "submissions",
    metadata,
    C("id", String(32), primary_key=True),
    C("key", String(255), ForeignKey("generations.key"), nullable=False),
    C("ordinal", Integer, nullable=False),
    C("state", String(16), nullable=False),
    # Who took it: enough to ask again from another machine, but never the key itself.
    C("gateway", String(64), nullable=False),
    C("dialect", Text, nullable=False),
    C("base_url", Text, nullable=False),
    C("account", String(255), nullable=False),
    C("key_fingerprint", String(64), nullable=False),
    C("price", Float, nullable=False),
    C("generation_id", Text),
    C("track_ids", Text, nullable=False, server_default="[]"),
    C("error", Text),
    # The lease: which process is at work on it, and until when it may be believed.
    C("fence", String(32), nullable=False),
    C("lease_host", String(255), nullable=False),
    C("lease_boot", String(255), nullable=False),
    C("lease_pid", Integer, nullable=False),
    C("lease_start", String(64), nullable=False),
    C("lease_expires_at", UtcDateTime, nullable=False),
    # The Prefect runs that asked for it, where there were any.
    C("flow_run_id", String(64), index=True),
    C("root_flow_run_id", String(64), index=True),
    C("task_run_id", String(64)),
    C("intended_at", UtcDateTime, nullable=False),
    C("sending_at", UtcDateTime),
    C("answered_at", UtcDateTime),
    C("running_at", UtcDateTime),
    C("settled_at", UtcDateTime),
    UniqueConstraint("key", "ordinal"),
    Index(None, "state"),
    Index(None, "generation_id"),
)

answers = Table(
    "answers",
    metadata,
    C("id", Integer, primary_key=True, autoincrement=True),
    C("submission_id", String(32), ForeignKey("submissions.id"), nullable=False, index=True),
    C("kind", String(16), nullable=False),
    C("status", Integer),
    C("headers", Text, nullable=False, server_default="{}"),
    C("body", Text, nullable=False),
    C("received_at", UtcDateTime, nullable=False),
)

songs = Table(
    "songs",
    metadata,
    C("id", Integer, primary_key=True, autoincrement=True),
    C("submission_id", String(32), ForeignKey("submissions.id"), nullable=False),
    C("key", String(255), ForeignKey("generations.key"), nullable=False, index=True),
    C("take", Integer, nullable=False),
    C("song_id", Text, index=True),
    C("state", String(16), nullable=False),
    C("title", Text),
    C("tags", Text, nullable=False, server_default="[]"),
    C("lyrics", Text),
    C("announced_seconds", Float),
    C("song_url", Text),
    C("image_url", Text),
    C("payload", Text, nullable=False),
    C("error", Text),
    C("mode", String(16), nullable=False),
    C("parent_song_id", Text),
    C("root_song_id", Text),
    C("depth", Integer, nullable=False),
    C("path", Text, unique=True),
    C("bytes", Integer),
    C("sha256", String(64)),
    C("seconds", Float),
    C("sample_rate", Integer),
    C("channels", Integer),
    C("peak", Float),
    C("rms_db", Float),
    C("announced_at", UtcDateTime, nullable=False),
    C("stored_at", UtcDateTime),
    UniqueConstraint("submission_id", "take"),
)
