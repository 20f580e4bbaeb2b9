"""`python -m benchmarks.counting FILE ARGUMENTS...`: run the `songflow` command and count its ledger's work.

Writes to FILE, as JSON, the queries and commits of the SQLite ledger and the CPU seconds they took.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from cli.main import run
from songflow.ledger import sqlite_file


class Counts:
    """Counts of ledger work; time is each thread's own CPU time, so that other work does not add to it."""

    def __init__(self) -> None:
        self.queries = 0
        self.commits = 0
        self.seconds = 0.0
        self._begun = 0.0
        self._commit = sqlite_file._commit

    def before(self, *_: Any) -> None:
        """A statement begins."""
        self._begun = time.thread_time()

    def after(self, *_: Any) -> None:
        """Count a statement that has ended."""
        self.queries += 1
        self.seconds += time.thread_time() - self._begun

    def commit(self, raw: sqlite3.Connection) -> None:
        """Commit as the ledger does, and count it."""
        begun = time.thread_time()
        self._commit(raw)
        self.commits += 1
        self.seconds += time.thread_time() - begun


def main() -> int:
    """Run the command and return its exit code."""
    counts = Counts()
    event.listen(Engine, "before_cursor_execute", counts.before)
    event.listen(Engine, "after_cursor_execute", counts.after)
    sqlite_file._commit = counts.commit
    code = run(sys.argv[2:])
    found = {"queries": counts.queries, "commits": counts.commits, "seconds": counts.seconds}
    Path(sys.argv[1]).write_text(json.dumps(found))
    return code


if __name__ == "__main__":
    sys.exit(main())
