"""The SQLite file of the room's index: its tables, opening it, and writing songs into it."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from songflow.listening.listed import NUMBERS, PARAMETERS, TEXTS, Listed, parameter_column

__all__ = ["FILE_NAME", "connected", "emptied", "prepared", "write"]

FILE_NAME = "room-index.sqlite"
_VERSION = 2

_COLUMNS = (*TEXTS, *NUMBERS, *(parameter_column(name) for name in PARAMETERS))
_SORTED_UP = ("seconds", "cost", "loudness")
_SORTED_DOWN = ("rating", *_SORTED_UP)
_TABLES = (
    "CREATE TABLE listing (place INTEGER PRIMARY KEY, song INTEGER NOT NULL UNIQUE, changed TEXT, "
    f"{', '.join(_COLUMNS)}, title)",
    "CREATE TABLE cards (place INTEGER PRIMARY KEY, card TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT)",
    "CREATE VIRTUAL TABLE words USING fts5(text, detail=none, prefix='1 2 3 4 5 6', "
    "tokenize='unicode61 remove_diacritics 2')",
    "CREATE INDEX by_song_id ON listing (song_id)",
    "CREATE INDEX by_submission ON listing (submission_id)",
    "CREATE INDEX by_title ON listing (title, place)",
    *(f"CREATE INDEX up_{name} ON listing (ifnull({name}, 1e300), place)" for name in _SORTED_UP),
    *(f"CREATE INDEX down_{name} ON listing (ifnull({name}, -1e300) DESC, place)" for name in _SORTED_DOWN),
)
_MARKS = ", ".join("?" * (len(_COLUMNS) + 4))
_FINGERPRINT = hashlib.sha256(repr((_VERSION, _TABLES)).encode()).hexdigest()


def connected(path: Path) -> sqlite3.Connection:
    """A connection to an index, made if it is not there."""
    database = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        # A cache: what a crash takes away is made again.
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute("PRAGMA mmap_size=268435456")
    except BaseException:
        database.close()
        raise
    return database


def prepared(path: Path) -> sqlite3.Connection:
    """A connection to an index of this version; another one, or a broken one, is begun anew."""
    if not _is_of_this_version(path):
        path.unlink(missing_ok=True)
        for ending in ("-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        with closing(connected(path)) as database:
            emptied(database)
    return connected(path)


def _is_of_this_version(path: Path) -> bool:
    try:
        with closing(connected(path)) as database:
            state = dict(database.execute("SELECT name, value FROM state"))
    except sqlite3.DatabaseError:
        return False
    return bool(state.get("version") == _FINGERPRINT)


def emptied(database: sqlite3.Connection) -> None:
    """Make the tables, without a song. The number of changes grows on: another room may have seen it."""
    database.execute("BEGIN IMMEDIATE")
    for table in ("listing", "cards", "words"):
        database.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _TABLES:
        database.execute(statement)
    database.execute("DELETE FROM state WHERE name <> 'number'")
    database.execute("INSERT INTO state VALUES ('version', ?)", (_FINGERPRINT,))
    _count_change(database)
    database.execute("COMMIT")


def write(database: sqlite3.Connection, songs: Sequence[Listed]) -> None:
    """Put songs into it, in place of what it has of them; inside the caller's transaction."""
    places = [(one.place,) for one in songs]
    database.executemany("DELETE FROM words WHERE rowid = ?", places)
    database.executemany(
        f"INSERT OR REPLACE INTO listing VALUES ({_MARKS})",
        [(one.place, one.song, one.changed, *one.values, one.title) for one in songs],
    )
    database.executemany(
        "INSERT OR REPLACE INTO cards VALUES (?, ?)", [(one.place, one.card) for one in songs]
    )
    database.executemany(
        "INSERT INTO words (rowid, text) VALUES (?, ?)", [(one.place, one.text) for one in songs]
    )
    newest = max(one.song for one in songs)
    database.execute(
        "INSERT INTO state VALUES ('newest', ?1) "
        "ON CONFLICT (name) DO UPDATE SET value = max(CAST(value AS INTEGER), ?1)",
        (newest,),
    )
    _count_change(database)


def _count_change(database: sqlite3.Connection) -> None:
    database.execute(
        "INSERT INTO state VALUES ('number', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
    )
