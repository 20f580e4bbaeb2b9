"""What the room's index holds of each song, made from its rows of the ledger."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

from songflow.families.field_types import FieldKind
from songflow.families.registry import FAMILIES, compared_fields, field_kinds, fields_of_bodies
from songflow.ledger import schema
from songflow.ledger.queries import makes_songs

__all__ = [
    "NUMBERS",
    "PARAMETERS",
    "TEXTS",
    "Listed",
    "chosen_fields",
    "listed",
    "parameter_column",
    "songs_to_list",
    "spaced",
]

TEXTS = ("model", "gateway", "family", "mode", "state", "decision", "run", "song_id", "submission_id")
"""Columns of the index whose values are texts."""
NUMBERS = ("rating", "seconds", "cost", "loudness", "tempo", "brightness", "depth", "made")
"""Columns of the index whose values are numbers: stars, s, units, LUFS, beats per minute, Hz, extensions, Unix time."""
PARAMETERS = {
    name: kind
    for name, kind in sorted(field_kinds().items())
    if kind is not FieldKind.TEXT and name not in {"mode", "model_type"}
}
"""The fields of a request of any family that have a column of the index, as the place of their name is in order."""

_songs, _submissions, _generations, _measures = (
    schema.songs,
    schema.submissions,
    schema.generations,
    schema.measures,
)
_SHOWN = (
    "submission_id", "take", "song_id", "title", "state", "error", "seconds", "mode", "parent_song_id",
    "root_song_id", "depth", "rating", "decision", "notes", "note", "rms_db",
)  # fmt: skip
# In Chinese and Japanese there are no spaces between words: each sign is found by itself.
_SIGNS = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")
# Newest first: a song's place grows with its age, and among the takes of a generation with their order.
_LATEST_MS, _ROOM = 1 << 43, 1 << 20


@dataclass(frozen=True, slots=True)
class Listed:
    """One song in the index: its place in the list, its columns in their order, its searched text, and its card."""

    place: int
    song: int
    changed: str | None
    values: tuple[Any, ...]
    title: str
    text: str
    card: str


def parameter_column(name: str) -> str:
    """The index's column of a request's field."""
    return f"request_{name}"


def spaced(text: str) -> str:
    """A text in which each sign of a language without spaces stands by itself."""
    return _SIGNS.sub(r" \1 ", text)


def songs_to_list(condition: ColumnElement[bool], most: int) -> Select[Any]:
    """The rows of songs, with what the index needs of their submission, request and measures, newest row first."""
    siblings = _songs.alias()
    stored = (
        select(func.count(siblings.c.path))
        .where(siblings.c.submission_id == _songs.c.submission_id)
        .scalar_subquery()
    )
    columns = ("id", *_SHOWN, "key", "lyrics", "tags", "path", "whole_path", "cover_path", "stored_at",
               "announced_at", "changed_at", "trashed_at")  # fmt: skip
    of_submission = (
        "gateway",
        "model_type",
        "price",
        "refunded",
        "root_flow_run_id",
        "generation_id",
        "intended_at",
    )
    return (
        select(
            *(_songs.c[name] for name in columns),
            *(_submissions.c[name] for name in of_submission),
            _generations.c.body,
            _measures.c.loudness_lufs,
            _measures.c.tempo,
            _measures.c.centroid_hz,
            stored.label("stored"),
        )
        .join_from(_songs, _submissions, _submissions.c.id == _songs.c.submission_id)
        .join(_generations, _generations.c.key == _submissions.c.key)
        .outerjoin(_measures, _measures.c.song == _songs.c.id)
        .where(makes_songs(_submissions), condition)
        .order_by(_songs.c.id.desc())
        .limit(most)
    )


def listed(rows: Sequence[Mapping[str, Any]]) -> list[Listed]:
    """The songs of rows that `songs_to_list` found."""
    fields: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    found: list[Listed] = []
    for row in rows:
        if row["key"] not in fields:
            fields[row["key"]] = _fields(row["body"])
        found.append(_listed(row, *fields[row["key"]]))
    return found


def _fields(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """All fields of a body, and those by which songs are compared."""
    body = json.loads(text)
    [fields] = fields_of_bodies([body])
    return fields, compared_fields(body)


def _listed(row: Mapping[str, Any], fields: Mapping[str, Any], compared: Mapping[str, Any]) -> Listed:
    made: datetime = row["stored_at"] or row["announced_at"]
    cost = (row["price"] - row["refunded"]) / row["stored"] if row["stored"] and row["path"] else None
    model = fields.get("model_type") or row["model_type"]
    values = {
        "model": model,
        "gateway": row["gateway"],
        "family": fields.get("family"),
        "run": row["root_flow_run_id"],
        "state": "trashed" if row["trashed_at"] else row["state"],
        **{name: row[name] for name in ("mode", "decision", "song_id", "submission_id", "rating", "depth")},
        "seconds": row["seconds"],
        "cost": cost,
        "loudness": row["loudness_lufs"],
        "tempo": row["tempo"],
        "brightness": row["centroid_hz"],
        "made": made.timestamp(),
    }
    tags = json.loads(row["tags"])
    card = {
        "id": row["id"],
        **{name: row[name] for name in _SHOWN},
        "tags": tags,
        "stored": row["path"] is not None,
        "joined": row["whole_path"] is not None,
        "cover": row["cover_path"] is not None,
        "trashed": row["trashed_at"] is not None,
        "made_at": made.isoformat(),
        "cost": cost,
        "loudness": row["loudness_lufs"],
        "tempo": row["tempo"],
        "gateway": row["gateway"],
        "model": model,
        "request": compared,
        "chosen": chosen_fields(fields, compared),
    }
    words = (
        row["title"], *tags, row["lyrics"], row["song_id"], row["key"], row["generation_id"], row["mode"], model,
        row["notes"], *(text for text in fields.values() if isinstance(text, str)),
    )  # fmt: skip
    intended = int(row["intended_at"].timestamp() * 1000)
    return Listed(
        place=(_LATEST_MS - intended) * _ROOM + row["id"] % _ROOM,
        song=row["id"],
        changed=None if row["changed_at"] is None else row["changed_at"].isoformat(),
        values=(
            *(values[name] for name in (*TEXTS, *NUMBERS)),
            *(_plain(fields.get(name)) for name in PARAMETERS),
        ),
        title=(row["title"] or "").casefold() or "\U0010ffff",
        text=spaced(" ".join(dict.fromkeys(word for word in words if word))),
        card=json.dumps(card, ensure_ascii=False),
    )


def chosen_fields(fields: Mapping[str, Any], compared: Mapping[str, Any]) -> dict[str, Any]:
    """The compared fields that have another value than the family's default."""
    family = FAMILIES.get(fields.get("family", ""))
    if family is None:
        return dict(compared)
    defaults = {name: field.default for name, field in family.request.model_fields.items()}
    return {name: value for name, value in compared.items() if value != defaults.get(name)}


def _plain(value: Any) -> Any:
    """A request's value as SQLite stores it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, (str, int, float)) or value is None else json.dumps(value)
