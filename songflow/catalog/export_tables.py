"""The tables of an export, each as the bytes of its file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from songflow.documents.csv_table import csv_bytes

if TYPE_CHECKING:
    import pandas

__all__ = ["TABLES", "table_bytes"]

TABLES: Mapping[str, str] = {
    "csv": "manifest.csv",
    "parquet": "manifest.parquet",
    "jsonl": "manifest.jsonl",
    "audiofolder": "metadata.jsonl",
    "nemo": "manifest.jsonl",
    "m3u": "playlist.m3u8",
}
"""The file of each form."""


def table_bytes(form: str, rows: pandas.DataFrame, *, formula_guard: bool) -> bytes:
    """The table of a form; `path` is each song's address as the table shall have it."""
    return csv_bytes(rows, guard=formula_guard) if form == "csv" else _WRITERS[form](rows)


def _parquet(rows: pandas.DataFrame) -> bytes:
    data: bytes = rows.reset_index(drop=True).to_parquet(None, index=False)
    return data


def _jsonl(rows: pandas.DataFrame) -> bytes:
    return _lines(_records(rows))


def _audiofolder(rows: pandas.DataFrame) -> bytes:
    """`file_name`, relative to the folder, and every other column."""
    return _lines([{"file_name": row.pop("path"), **row} for row in _records(rows)])


def _nemo(rows: pandas.DataFrame) -> bytes:
    """Lyrics as the text, seconds as the duration, and fields for prompt and ids."""
    return _lines(
        [
            {
                "audio_filepath": row["path"],
                "duration": _length(row),
                "text": row["song_lyrics"] or "",
                "prompt": row["request.prompt"],
                "song_id": row["song_id"],
                "key": row["key"],
                "sha256": row["sha256"],
            }
            for row in _records(rows)
        ]
    )


def _m3u(rows: pandas.DataFrame) -> bytes:
    """An extended M3U playlist in UTF-8: whole seconds (-1 if not known), title, address."""
    lines = ["#EXTM3U"]
    for row in _records(rows):
        length = _length(row)
        title = " ".join(str(row["title"] or row["song_id"] or row["key"]).split())
        lines += [f"#EXTINF:{-1 if length is None else round(length)},{title}", str(row["path"])]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _length(row: Mapping[str, Any]) -> float | None:
    length: float | None = row["seconds"] if row["seconds"] is not None else row["announced_seconds"]
    return length


def _records(rows: pandas.DataFrame) -> list[dict[str, Any]]:
    text = rows.to_json(orient="records", date_format="iso", date_unit="us", double_precision=15)
    records: list[dict[str, Any]] = json.loads(text or "[]")
    return records


def _lines(records: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode(
        "utf-8", "replace"
    )


_WRITERS: Mapping[str, Callable[[pandas.DataFrame], bytes]] = {
    "parquet": _parquet,
    "jsonl": _jsonl,
    "audiofolder": _audiofolder,
    "nemo": _nemo,
    "m3u": _m3u,
}
