"""The manifest's rows as Arrow batches, read from the ledger column by column.

No row becomes an object: a batch of the database's rows is turned into columns, each request's body is parsed once for
all of its songs, and a stored body is not validated again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import pyarrow
import sqlalchemy
from sqlalchemy import Select, func, select, type_coerce
from sqlalchemy.types import NullType

from songflow.catalog.columns import (
    BOOL,
    CATEGORY,
    COLUMNS,
    FLOAT,
    FROM_MEASURES,
    FROM_SONG,
    FROM_SUBMISSION,
    INT,
    REQUEST_COLUMNS,
    STRING,
    TIME,
)
from songflow.families.registry import fields_of_bodies
from songflow.ledger import schema
from songflow.ledger.ledger import Ledger
from songflow.ledger.queries import makes_songs
from songflow.ledger.states import RULES

__all__ = ["SCHEMA", "read_batches"]

_ROWS = 4_000
_TIMES = pyarrow.timestamp("us", tz="UTC")
_TYPES: Mapping[str, pyarrow.DataType] = {
    STRING: pyarrow.large_string(),
    FLOAT: pyarrow.float64(),
    INT: pyarrow.int64(),
    BOOL: pyarrow.bool_(),
    TIME: _TIMES,
    CATEGORY: pyarrow.dictionary(pyarrow.int32(), pyarrow.large_string()),
}
SCHEMA = pyarrow.schema([(name, _TYPES[dtype]) for name, dtype in COLUMNS.items()])
"""The Arrow types of `COLUMNS`."""

_BILLED = {state.value: rule.billed.value for state, rule in RULES.items()}

Sink = Callable[[pyarrow.RecordBatch], None]


async def read_batches(ledger: Ledger, sink: Sink, *, root_song_id: str | None = None) -> None:
    """Read the manifest, oldest first, and give it to a function in batches with `SCHEMA`.

    Args:
        root_song_id: Only the songs that descend from this one.

    Raises:
        LibraryError: the ledger cannot be read.
    """
    async with ledger.database.read() as connection:
        await connection.run_sync(partial(_read, _statement(root_song_id), sink))


def _statement(root_song_id: str | None) -> Select[Any]:
    """The join of the ledger's tables; values are taken as the driver gives them."""
    songs, submissions, generations = schema.songs, schema.submissions, schema.generations
    measures = schema.measures
    stored = (
        select(songs.c.submission_id, func.count(songs.c.path).label("stored"))
        .group_by(songs.c.submission_id)
        .subquery()
    )
    columns = [
        *(submissions.c[name].label(name) for name in (*FROM_SUBMISSION, "ordinal", "track_ids", "refunded")),
        submissions.c.error.label("submission_error"),
        generations.c.body.label("body"),
        stored.c.stored,
        *(songs.c[name].label(f"song_{name}") for name in (*FROM_SONG, "state", "tags", "lyrics")),
        *(measures.c[name] for name in FROM_MEASURES),
    ]
    statement = (
        select(*[type_coerce(column, NullType()).label(column.name) for column in columns])
        .select_from(submissions)
        .join(generations, generations.c.key == submissions.c.key)
        .join(songs, songs.c.submission_id == submissions.c.id, isouter=True)
        .join(measures, measures.c.song == songs.c.id, isouter=True)
        .join(stored, stored.c.submission_id == submissions.c.id, isouter=True)
        .where(makes_songs(submissions))
        .order_by(submissions.c.intended_at, submissions.c.ordinal, submissions.c.id, songs.c.take)
    )
    return statement if root_song_id is None else statement.where(songs.c.root_song_id == root_song_id)


def _read(statement: Select[Any], sink: Sink, connection: sqlalchemy.Connection) -> None:
    result = connection.execution_options(stream_results=True, max_row_buffer=_ROWS).execute(statement)
    names = tuple(result.keys())
    for rows in result.partitions(_ROWS):
        sink(_batch(dict(zip(names, zip(*rows, strict=True), strict=True))))


def _batch(read: Mapping[str, Sequence[Any]]) -> pyarrow.RecordBatch:
    found: dict[str, Any] = {name: read[name] for name in (*FROM_SUBMISSION, *FROM_MEASURES)}
    found |= {name: read[f"song_{name}"] for name in FROM_SONG}
    found |= {
        "submission": read["ordinal"],
        "billed": [_BILLED[state] for state in read["state"]],
        "song_state": read["song_state"],
        "error": [
            of_song or of_all
            for of_song, of_all in zip(read["song_error"], read["submission_error"], strict=True)
        ],
        "generation_id": [
            one or next(iter(json.loads(ids)), None)
            for one, ids in zip(read["generation_id"], read["track_ids"], strict=True)
        ],
        "tags": [_listed(tags) for tags in read["song_tags"]],
        "song_lyrics": read["song_lyrics"],
        "cost_per_song": [
            (price - refunded) / stored if stored else None
            for price, refunded, stored in zip(read["price"], read["refunded"], read["stored"], strict=True)
        ],
    }
    arrays = {name: _array(found[name], COLUMNS[name]) for name in found}
    arrays |= _requests(read["key"], read["body"])
    return pyarrow.RecordBatch.from_arrays([arrays[name] for name in COLUMNS], schema=SCHEMA)


def _requests(keys: Sequence[str], bodies: Sequence[str]) -> dict[str, Any]:
    """The columns that come from the requests: a generation's songs share one."""
    positions: dict[str, int] = {}
    unique: list[str] = []
    for key, body in zip(keys, bodies, strict=True):
        if key not in positions:
            positions[key] = len(unique)
            unique.append(body)
    requests = list(fields_of_bodies(map(json.loads, unique)))
    taken = pyarrow.array([positions[key] for key in keys], pyarrow.int32())
    sources = {"family": "family", "mode": "mode", "parent_song_id": "source_song_id"}
    sources |= {f"request.{name}": name for name in REQUEST_COLUMNS}
    return {
        column: _array([one.get(name) for one in requests], COLUMNS[column]).take(taken)
        for column, name in sources.items()
    }


def _array(values: Sequence[Any], dtype: str) -> Any:
    """A column's values as Arrow has them; SQLite gives times as texts in UTC."""
    if dtype == CATEGORY:
        return pyarrow.array(values, pyarrow.large_string()).dictionary_encode()
    first = next((value for value in values if value is not None), None)
    if dtype == TIME and isinstance(first, str):
        return pyarrow.array(values, pyarrow.string()).cast(pyarrow.timestamp("us")).cast(_TIMES)
    return pyarrow.array(values, _TYPES[dtype])


@lru_cache(maxsize=1024)
def _listed(tags: str | None) -> str | None:
    return ", ".join(json.loads(tags)) if tags else None
