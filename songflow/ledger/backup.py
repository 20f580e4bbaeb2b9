"""A consistent copy of a ledger in SQLite, made while other processes write."""

from __future__ import annotations

import os
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

from songflow.errors import InputError, LibraryError
from songflow.ledger.spool import sync_folder
from songflow.ledger.sqlite_file import ReadOnlyFile, may_write

__all__ = ["backup_sqlite"]


def backup_sqlite(ledger: Path, target: Path) -> int:
    """Copy a ledger file to a new file: one committed state of it, complete and on the disk, or no file at all.

    It opens the ledger as a user of its own: no other connection of this process may have it open, since closing a file
    ends all locks of a process on it.

    Returns:
        The size of the copy in bytes.

    Raises:
        InputError: the target exists already, or its folder does not.
        LibraryError: the ledger cannot be read, or the target cannot be written.
    """
    if target.exists():
        raise InputError(f"{target} exists already.", next="choose another name: nothing is overwritten.")
    if not target.parent.is_dir():
        raise InputError(f"There is no folder {target.parent}.", next="create it, or choose another place.")
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with closing(_opened(ledger)) as source, closing(sqlite3.connect(draft)) as copy:
            source.backup(copy)  # in one step, so from one snapshot
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        size = draft.stat().st_size
        os.link(draft, target)  # as a rename, but it never overwrites
        sync_folder(target.parent)
    except FileExistsError:
        raise InputError(f"{target} exists already.", next="choose another name.") from None
    except (sqlite3.Error, OSError) as error:
        raise LibraryError(
            f"The ledger {ledger} could not be copied to {target}: {error}.",
            next="check that both places exist, can be used and have space; no copy was left.",
        ) from None
    finally:
        draft.unlink(missing_ok=True)
    return size


def _opened(ledger: Path) -> sqlite3.Connection:
    return sqlite3.connect(ledger) if may_write(ledger) else ReadOnlyFile(ledger).connect()
