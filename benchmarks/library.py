"""Library: the manifest of 100, 10,000 and 100,000 songs, relative to a bare query of the same ledger.

The bare script joins the tables with `sqlite3`, reads each request's body with `json.loads`, and makes a frame of both.
It knows no types, no families and no lineage. Each reader runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.lab import Usage, run
from benchmarks.report import Finding, Outcome, Scale
from songflow.catalog.columns import FROM_SONG, FROM_SUBMISSION
from songflow.families.registry import parse_request
from songflow.library.library import Library
from songflow.settings import LibrarySettings

SIZES, QUICK_SIZES = (100, 10_000, 100_000), (10,)
PARQUET_SONGS, QUICK_PARQUET_SONGS = 1_000_000, 10
TAKES = 2
_WORDS = "slow waltz two cellos rain over old harbour town before morning with strings".split()  # noqa: SIM905


def measure(scale: Scale) -> list[Outcome]:
    """Read a library of each size with the bare script and as a manifest, and export the largest as Parquet."""
    sizes = QUICK_SIZES if scale.quick else SIZES
    rows: list[tuple[str, tuple[float, ...]]] = []
    for songs in sizes:
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), songs)
            bare, ours = _read("bare", folder), _read("manifest", folder)
            rows.append((f"{songs:,} songs, bare query", _numbers(bare)))
            rows.append((f"{songs:,} songs, manifest", _numbers(ours)))
    million = scale.count(PARQUET_SONGS, QUICK_PARQUET_SONGS)
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), million)
        parquet = _read("parquet", folder)
        rows.append((f"{million:,} songs to Parquet", _numbers(parquet)))
    return [
        Outcome(
            title="Library",
            columns=("wall s", "CPU s", "peak MiB"),
            rows=rows,
            findings=[
                Finding(f"time relative to the bare query, {sizes[-1]:,} songs", ours.wall / bare.wall, 1.0),
                Finding(f"peak memory in MiB, {sizes[-1]:,} songs", ours.peak_mib, 450.0),
                Finding(f"peak memory in MiB, {million:,} songs to Parquet", parquet.peak_mib, 600.0),
            ],
        )
    ]


def _read(how: str, folder: str) -> Usage:
    return run([sys.executable, "-m", "benchmarks.library", how, folder])


def _numbers(used: Usage) -> tuple[float, ...]:
    return used.wall, used.cpu, used.peak_mib


# --- a library of a size --------------------------------------------------------------------------------------------


def fill(folder: Path, songs: int) -> None:
    """Make a library whose ledger has this many songs, two of each generation, and no files."""
    asyncio.run(_create(folder))
    database = sqlite3.connect(folder / "ledger.sqlite")
    database.execute("PRAGMA synchronous=OFF")
    database.execute("PRAGMA foreign_keys=OFF")
    for table, rows in _tables(songs // TAKES).items():
        for batch in rows:
            marks = ", ".join("?" * len(batch[0]))
            names = ", ".join(batch[0])
            database.executemany(
                f"INSERT INTO {table} ({names}) VALUES ({marks})", [tuple(row.values()) for row in batch]
            )
    database.commit()
    database.close()


async def _create(folder: Path) -> None:
    async with Library(LibrarySettings(folder)):
        pass


def _tables(generations: int) -> dict[str, Iterator[list[dict[str, Any]]]]:
    numbers = range(generations)
    return {
        "generations": _batches(_generation, numbers),
        "submissions": _batches(_submission, numbers),
        "songs": _batches(_song, range(generations * TAKES)),
    }


def _batches(row: Any, numbers: range) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(numbers), 10_000):
        yield [row(number) for number in numbers[start : start + 10_000]]


def _time(number: int, later: float = 0.0) -> str:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=20 * number + later)
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")


def _generation(number: int) -> dict[str, Any]:
    words = random.Random(number)
    fields: dict[str, Any] = {"prompt": f"{' '.join(words.sample(_WORDS, 8))}, take {number}"}
    if number % 5:
        fields |= {"seed": number, "prompt_strength": (number % 10) / 10, "model_type": "udio130-v1.5"}
    else:
        fields |= {"model_type": "chirp-auk", "lyrics": "Rain on the roof\n" * 8, "title": f"Song {number}"}
    body = parse_request(fields).canonical()
    return {
        "key": f"key-{number}", "body": body, "body_hash": f"{number:064x}", "hash_version": 1,
        "created_at": _time(number),
    }  # fmt: skip


def _submission(number: int) -> dict[str, Any]:
    return {
        "id": f"{number:032x}", "key": f"key-{number}", "ordinal": 1, "state": "succeeded",
        "gateway": "openai-hk", "dialect": "{}", "base_url": "https://api.example.com", "account": "env:KEY",
        "key_fingerprint": "0123456789ab", "price": 1.0, "generation_id": f"generation-{number}", "fence": "f",
        "lease_host": "here", "lease_boot": "b", "lease_pid": 1, "lease_start": "1",
        "lease_expires_at": _time(number, 60), "intended_at": _time(number), "sending_at": _time(number, 0.1),
        "answered_at": _time(number, 0.4), "settled_at": _time(number, 54.5), "model_type": "any",
    }  # fmt: skip


def _song(number: int) -> dict[str, Any]:
    generation, take = divmod(number, TAKES)
    return {
        "submission_id": f"{generation:032x}", "key": f"key-{generation}", "take": take, "song_id": f"song-{number}",
        "state": "stored", "title": f"Harbour Waltz {number}", "tags": '["waltz", "cello", "slow"]',
        "lyrics": "Down by the harbour\nthe rain came at night\n" * 4, "announced_seconds": 130.0,
        "song_url": f"https://files.example.com/{number}.mp3", "image_url": f"https://files.example.com/{number}.jpg",
        "payload": "{}", "mode": "regular", "root_song_id": f"song-{number}", "depth": 0,
        "path": f"harbour-waltz-{number}.mp3", "bytes": 2_000_000 + number, "sha256": f"{number:064x}",
        "seconds": 130.1, "sample_rate": 48_000, "channels": 2, "peak": 0.98, "rms_db": -14.2,
        "announced_at": _time(generation, 54.5), "stored_at": _time(generation, 56.0), "audio_sha256": f"{number:064x}",
        "rating": float(number % 6) if number % 3 == 0 else None,
    }  # fmt: skip


# --- what is measured, each in a process of its own -----------------------------------------------------------------


def _bare(folder: Path) -> None:
    import pandas

    database = sqlite3.connect(folder / "ledger.sqlite")
    columns = [*(f"submissions.{name}" for name in FROM_SUBMISSION), *(f"songs.{name}" for name in FROM_SONG)]
    cursor = database.execute(
        f"SELECT {', '.join(columns)}, songs.state, songs.tags, songs.lyrics, generations.body FROM submissions "
        "JOIN generations ON generations.key = submissions.key "
        "LEFT JOIN songs ON songs.submission_id = submissions.id "
        "ORDER BY submissions.intended_at, submissions.ordinal, songs.take"
    )
    names = [column[0] for column in cursor.description]
    frame = pandas.DataFrame(cursor.fetchall(), columns=names)
    requests = pandas.DataFrame([next(iter(json.loads(body).values())) for body in frame["body"]])
    sys.exit(len(pandas.concat([frame, requests], axis=1)) == 0)


def _manifest(folder: Path) -> None:
    import songflow

    sys.exit(songflow.manifest_sync(folder).empty)


def _parquet(folder: Path) -> None:
    from cli.main import main

    target = str(folder / "manifest.parquet")
    sys.argv = ["songflow", "songs", "--library", str(folder), "--format", "parquet", "--output", target]
    main()


if __name__ == "__main__":
    {"bare": _bare, "manifest": _manifest, "parquet": _parquet}[sys.argv[1]](Path(sys.argv[2]))
