"""The ledger's tables. `migrations/` creates them; a test checks that both are equal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    DateTime,
    Dialect,
    Double,
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
    func,
    text,
    type_coerce,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

__all__ = [
    "SCHEMA_VERSION",
    "answers",
    "budgets",
    "choices",
    "finished",
    "generations",
    "hints",
    "judgements",
    "measures",
    "metadata",
    "paces",
    "songs",
    "submissions",
    "switches",
]

SCHEMA_VERSION = "0007"
"""The newest migration of this version. Revisions are four digits and compare as text."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime in UTC on every database (SQLite stores no zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return (
            value.astimezone(UTC) if dialect.name != "sqlite" else value.astimezone(UTC).replace(tzinfo=None)
        )

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class LeaseTime(UtcDateTime):
    """A lease's end. PostgreSQL stores it by its own clock, so that machines whose clocks differ agree on it.

    In Python it is a time of this machine's clock. It goes to PostgreSQL as the time from now, and comes back as such:
    two reads of one lease differ by the milliseconds between the clocks' readings.
    """

    cache_ok = True

    def bind_expression(self, bindvalue: BindParameter[Any]) -> ColumnElement[Any]:
        """Its time by the database's clock."""
        return _ByDatabaseClock(type_coerce(bindvalue, _FromNow()))

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        """Its time by this machine's clock."""
        return type_coerce(_FromDatabaseClock(column), _FromNow())


class _FromNow(TypeDecorator[datetime]):
    """A time as the seconds from now on PostgreSQL, and as it is on SQLite, whose users share one clock."""

    impl = UtcDateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(UtcDateTime() if dialect.name == "sqlite" else Double())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "sqlite":
            return value
        return (value - datetime.now(UTC)).total_seconds()

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None or isinstance(value, datetime):
            return value
        return datetime.now(UTC) + timedelta(seconds=float(value))


class _ByDatabaseClock(FunctionElement[Any]):
    inherit_cache = True


class _FromDatabaseClock(FunctionElement[Any]):
    inherit_cache = True


@compiles(_ByDatabaseClock)
@compiles(_FromDatabaseClock)
def _as_it_is(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


@compiles(_ByDatabaseClock, "postgresql")
def _now_and(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    return f"clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **options)})"


@compiles(_FromDatabaseClock, "postgresql")
def _from_now(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> str:
    return f"extract(epoch from {compiler.process(element.clauses, **options)} - clock_timestamp())"


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
    Column("key", String(255), primary_key=True),
    Column("body", Text, nullable=False),
    Column("body_hash", String(64), nullable=False, index=True),
    Column("hash_version", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

submissions = Table(
    "submissions",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("key", String(255), ForeignKey("generations.key"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    # The account: enough to poll from another machine, but never the key itself.
    Column("gateway", String(64), nullable=False),
    Column("dialect", Text, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("account", String(255), nullable=False),
    Column("key_fingerprint", String(64), nullable=False),
    Column("price", Float, nullable=False),
    Column("generation_id", Text),
    Column("track_ids", Text, nullable=False, server_default="[]"),
    Column("error", Text),
    # The lease: the process that works on it, and its expiry.
    Column("fence", String(32), nullable=False),
    Column("lease_host", String(255), nullable=False),
    Column("lease_boot", String(255), nullable=False),
    Column("lease_pid", Integer, nullable=False),
    Column("lease_start", String(64), nullable=False),
    Column("lease_expires_at", LeaseTime, nullable=False),
    # The Prefect runs that requested it, if any.
    Column("flow_run_id", String(64), index=True),
    Column("root_flow_run_id", String(64), index=True),
    Column("task_run_id", String(64)),
    Column("intended_at", UtcDateTime, nullable=False),
    Column("sending_at", UtcDateTime),
    Column("answered_at", UtcDateTime),
    Column("running_at", UtcDateTime),
    Column("settled_at", UtcDateTime),
    # Money: units still reserved, units refunded, and its counters.
    Column("held", Float, nullable=False, server_default="0"),
    Column("refunded", Float, nullable=False, server_default="0"),
    Column("budget_day", String(10), nullable=False, server_default=text("''")),
    Column("budget_run", String(255)),
    Column("written_off_at", UtcDateTime),
    # The duration of this kind of request: the last poll that found it unfinished, and the gateway's own value (s).
    Column("model_type", String(64)),
    Column("mode", String(16)),
    Column("pending_at", UtcDateTime),
    Column("ran_seconds", Float),
    UniqueConstraint("key", "ordinal"),
    Index(None, "state"),
    Index(None, "generation_id"),
    Index(None, "gateway", "model_type", "mode", "settled_at"),
)

answers = Table(
    "answers",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("submission_id", String(32), ForeignKey("submissions.id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("status", Integer),
    Column("headers", Text, nullable=False, server_default="{}"),
    Column("body", Text, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
)

songs = Table(
    "songs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("submission_id", String(32), ForeignKey("submissions.id"), nullable=False),
    Column("key", String(255), ForeignKey("generations.key"), nullable=False, index=True),
    Column("take", Integer, nullable=False),
    Column("song_id", Text, index=True),
    Column("state", String(16), nullable=False),
    Column("title", Text),
    Column("tags", Text, nullable=False, server_default="[]"),
    Column("lyrics", Text),
    Column("announced_seconds", Float),
    Column("song_url", Text),
    Column("image_url", Text),
    Column("payload", Text, nullable=False),
    Column("error", Text),
    Column("mode", String(16), nullable=False),
    Column("parent_song_id", Text, index=True),
    Column("root_song_id", Text),
    Column("depth", Integer, nullable=False),
    Column("path", Text, unique=True),
    Column("bytes", Integer),
    Column("sha256", String(64)),
    Column("seconds", Float),
    Column("sample_rate", Integer),
    Column("channels", Integer),
    Column("peak", Float),
    Column("rms_db", Float),
    Column("announced_at", UtcDateTime, nullable=False),
    Column("stored_at", UtcDateTime),
    # The hash of the audio without its tags, and the cover.
    Column("audio_sha256", String(64)),
    Column("cover_path", Text),
    # An extension: the confidence that it contains its source (0..1), its offset and added length (s), a remark.
    Column("source_score", Float),
    Column("source_at", Float),
    Column("added_seconds", Float),
    Column("note", Text),
    # What a person says of it: a rating (0..5), a decision (keep or discard), notes; each with when and who.
    Column("rating", Float),
    Column("rated_at", UtcDateTime),
    # An extension that is only the new part: the file in which it is joined with its source, and who joined it.
    Column("whole_path", Text),
    Column("joined_by", String(16)),
    Column("rated_by", String(255)),
    Column("decision", String(16)),
    Column("decided_at", UtcDateTime),
    Column("decided_by", String(255)),
    Column("notes", Text),
    Column("noted_at", UtcDateTime),
    Column("noted_by", String(255)),
    # Since when its file lies in the library's trash.
    Column("trashed_at", UtcDateTime),
    # By the database's clock: the listening room follows it.
    Column("changed_at", UtcDateTime, default=func.now(), onupdate=func.now(), index=True),
    UniqueConstraint("submission_id", "take"),
)

judgements = Table(
    "judgements",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("song", Integer, ForeignKey("songs.id"), primary_key=True, autoincrement=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("value", Text),
    Column("before", Text),
    Column("other_song", Integer, ForeignKey("songs.id")),
    Column("by", String(255)),
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("undone_at", UtcDateTime),
)
"""What people said of songs; a song's row has the newest of each kind. Copies of a song have the same ids."""

measures = Table(
    "measures",
    metadata,
    Column("song", Integer, ForeignKey("songs.id"), primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False),
    Column("loudness_lufs", Float),
    Column("true_peak_db", Float),
    Column("loudness_range", Float),
    Column("silence_start", Float),
    Column("silence_end", Float),
    Column("clipped_samples", Integer),
    Column("tempo", Float),
    Column("centroid_hz", Float),
    Column("waveform", Text),
    Column("measured_at", UtcDateTime, nullable=False, index=True),
)
"""What a stored file sounds like, measured here."""

finished = Table(
    "finished",
    metadata,
    Column("path", Text, primary_key=True),
    Column("song", Integer, ForeignKey("songs.id"), nullable=False, index=True),
    Column("sha256", String(64), nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("settings", Text, nullable=False),
    Column("made_at", UtcDateTime, nullable=False),
)
"""Copies of songs that were trimmed, faded or made louder; the songs themselves are untouched."""

choices = Table(
    "choices",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("song_id", Text, nullable=False),
    Column("chosen_by", String(64), nullable=False),
    Column("chosen_at", UtcDateTime, nullable=False),
)
"""The takes of a step that a recipe continues from (ids, one per line); a resumed run uses the same ones."""

budgets = Table(
    "budgets",
    metadata,
    Column("scope", String(300), primary_key=True),
    Column("spent", Float, nullable=False),
    Column("reserved", Float, nullable=False),
    Column("refunded", Float, nullable=False),
)

switches = Table(
    "switches",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("since", UtcDateTime, nullable=False),
    Column("reason", Text),
)

paces = Table(
    "paces",
    metadata,
    Column("account", String(128), primary_key=True),
    Column("pause", Float, nullable=False),
    Column("not_before", UtcDateTime, nullable=False),
)

hints = Table(
    "hints",
    metadata,
    Column("mark", String(64), primary_key=True),
    Column("gateway", String(64), nullable=False),
    Column("generation_id", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index(None, "at"),
)
"""What callbacks of gateways have said: that a generation may have ended."""
