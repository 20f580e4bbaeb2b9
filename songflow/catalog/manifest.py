"""The manifest: the ledger as a typed pandas frame, one row per song.

A generation that has no songs (refused, failed, still running) has one row without a song, so that nothing
that was asked for is missing. Dtypes are real: `string`, `Float64`, `Int64`, `boolean`, `category` and
`datetime64[us, UTC]`. Request fields have their wire names with the prefix `request.`.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from songflow.catalog.where import prepared
from songflow.documents.conditions import BadExpression, read_expression
from songflow.documents.text import sentence
from songflow.errors import InputError
from songflow.families.field_types import FieldKind
from songflow.families.registry import SHORT_NAMES, field_kinds, request_of, wire_name
from songflow.ledger import schema
from songflow.ledger.ledger import Ledger
from songflow.ledger.states import RULES, State

if TYPE_CHECKING:
    import pandas

__all__ = ["COLUMNS", "empty_manifest", "filter_manifest", "read_manifest"]

_STRING, _FLOAT, _INT, _CATEGORY, _TIME, _BOOL = (
    "string", "Float64", "Int64", "category", "datetime64[us, UTC]", "boolean"
)  # fmt: skip

_DTYPES: Mapping[FieldKind, str] = {
    FieldKind.TEXT: _STRING,
    FieldKind.CHOICE: _CATEGORY,
    FieldKind.SWITCH: _BOOL,
    FieldKind.LEVEL: _FLOAT,
    FieldKind.NUMBER: _FLOAT,
    FieldKind.SEED: _INT,
}
# The mode and the source have columns of their own.
_REQUEST_COLUMNS: Mapping[str, str] = {
    name: _DTYPES[kind] for name, kind in field_kinds().items() if name not in {"mode", "source_song_id"}
}

COLUMNS: Mapping[str, str] = {
    "key": _STRING,
    "song_id": _STRING,
    "take": _INT,
    "title": _STRING,
    "song_state": _CATEGORY,
    "state": _CATEGORY,
    "error": _STRING,
    "seconds": _FLOAT,
    "announced_seconds": _FLOAT,
    "path": _STRING,
    "bytes": _INT,
    "sha256": _STRING,
    "audio_sha256": _STRING,
    "cover_path": _STRING,
    "mode": _CATEGORY,
    "parent_song_id": _STRING,
    "root_song_id": _STRING,
    "depth": _INT,
    "source_score": _FLOAT,
    "source_at": _FLOAT,
    "added_seconds": _FLOAT,
    "note": _STRING,
    "whole_path": _STRING,
    "gateway": _CATEGORY,
    "base_url": _STRING,
    "account": _CATEGORY,
    "generation_id": _STRING,
    "submission": _INT,
    "price": _FLOAT,
    "billed": _CATEGORY,
    "intended_at": _TIME,
    "sending_at": _TIME,
    "answered_at": _TIME,
    "settled_at": _TIME,
    "stored_at": _TIME,
    "sample_rate": _INT,
    "channels": _INT,
    "peak": _FLOAT,
    "rms_db": _FLOAT,
    "rating": _FLOAT,
    "tags": _STRING,
    "song_lyrics": _STRING,
    "song_url": _STRING,
    "image_url": _STRING,
    "flow_run_id": _STRING,
    "root_flow_run_id": _STRING,
    "task_run_id": _STRING,
    **{f"request.{name}": dtype for name, dtype in _REQUEST_COLUMNS.items()},
}
"""Every column and its dtype. `price` is the price of the whole generation, repeated on each of its rows."""

_FROM_SUBMISSION = (
    "key", "state", "gateway", "base_url", "account", "generation_id", "price", "intended_at", "sending_at",
    "answered_at", "settled_at", "flow_run_id", "root_flow_run_id", "task_run_id",
)  # fmt: skip
_FROM_SONG = (
    "song_id", "take", "title", "error", "seconds", "announced_seconds", "path", "bytes", "sha256", "mode",
    "parent_song_id", "root_song_id", "depth", "stored_at", "sample_rate", "channels", "peak", "rms_db",
    "song_url", "image_url", "audio_sha256", "cover_path", "source_score", "source_at", "added_seconds", "note",
    "rating", "whole_path",
)  # fmt: skip


async def read_manifest(ledger: Ledger, *, root_song_id: str | None = None) -> pandas.DataFrame:
    """Read the ledger into a frame with `COLUMNS`, oldest first; with `root_song_id` only that song's descendants."""
    songs, submissions, generations = schema.songs, schema.submissions, schema.generations
    song_columns = [songs.c[name].label(f"song_{name}") for name in (*_FROM_SONG, "state", "tags", "lyrics")]
    statement = (
        select(
            *[submissions.c[name] for name in (*_FROM_SUBMISSION, "ordinal", "track_ids")],
            submissions.c.error.label("submission_error"),
            generations.c.body,
            *song_columns,
        )
        .join(generations, generations.c.key == submissions.c.key)
        .join(songs, songs.c.submission_id == submissions.c.id, isouter=True)
        .order_by(submissions.c.intended_at, submissions.c.ordinal, songs.c.take)
    )
    if root_song_id is not None:
        statement = statement.where(songs.c.root_song_id == root_song_id)
    async with ledger.database.read() as connection:
        rows = (await connection.execute(statement)).mappings().all()
    return _frame([_record(dict(row)) for row in rows])


def filter_manifest(frame: pandas.DataFrame, expression: str) -> pandas.DataFrame:
    """Select rows by an expression over the columns, such as `seconds > 30 and state == "failed"`.

    Fields of the request may be named without `request.`, and as on the command line (`model`). The expression is data,
    not code: only columns, values, comparisons, `and`, `or`, `not`, `in` and plain arithmetic are allowed. Missing
    values compare as false. Times without a zone are in UTC; `in` finds a part of a text, and one of the `tags`.

    Raises:
        InputError: it cannot be read, names an unknown column, or is not a condition.
    """
    import pandas

    columns = {name: f"column_{number}" for number, name in enumerate(frame.columns)}
    # A field of the request is also known by its bare name, and by the command line's, where no column has that.
    for name in (*_REQUEST_COLUMNS, *SHORT_NAMES):
        whole = f"request.{wire_name(name)}"
        if name not in columns and whole in columns:
            columns[name] = columns[whole]
    try:
        tree, named = prepared(read_expression(expression, columns, called="column"), frame, columns)
        plain = ast.unparse(tree)
    except (BadExpression, RecursionError) as error:
        raise _bad_condition(expression, str(error)) from None
    try:
        holds = named.eval(plain, engine="python")
    except Exception as error:  # pandas' parser and dtypes raise various exceptions
        raise _bad_condition(expression, f"cannot be evaluated ({error})") from None
    if not isinstance(holds, pandas.Series) or not pandas.api.types.is_bool_dtype(holds.dtype):
        raise _bad_condition(expression, "is not a condition")
    return frame[holds.fillna(False).astype(bool)]


def _bad_condition(expression: str, fault: str) -> InputError:
    return InputError(
        sentence(f"The condition {expression!r} {fault}"),
        next='write it like: seconds > 30 and title == "Rain" and request.seed >= 0; '
        f"the columns are {', '.join(COLUMNS)}.",
    )


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = {name: row[name] for name in _FROM_SUBMISSION}
    record |= {name: row[f"song_{name}"] for name in _FROM_SONG}
    record["submission"] = row["ordinal"]
    record["billed"] = RULES[State(row["state"])].billed.value
    record["song_state"] = row["song_state"]
    record["error"] = row["song_error"] or row["submission_error"]
    record["generation_id"] = row["generation_id"] or next(iter(json.loads(row["track_ids"])), None)
    record["tags"] = ", ".join(json.loads(row["song_tags"])) if row["song_tags"] else None
    record["song_lyrics"] = row["song_lyrics"]
    request = request_of(json.loads(row["body"]))
    record["mode"] = request.mode.value
    record["parent_song_id"] = request.source_song_id
    record |= {f"request.{name}": _plain(getattr(request, name, None)) for name in _REQUEST_COLUMNS}
    return record


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _frame(records: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    import pandas

    columns: dict[str, Any] = {}
    for name, dtype in COLUMNS.items():
        values = [record[name] for record in records]
        if dtype == _TIME:
            columns[name] = pandas.Series(pandas.to_datetime(values, utc=True), dtype=dtype)
        else:
            columns[name] = pandas.Series(values, dtype=dtype)
    return pandas.DataFrame(columns)


def empty_manifest() -> pandas.DataFrame:
    """A manifest without rows but with every column and its dtype."""
    return _frame([])
