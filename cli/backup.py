"""`songflow backup`: a consistent copy of the ledger."""

from __future__ import annotations

import shlex
from pathlib import Path

from sqlalchemy import URL

from cli.options import Common
from cli.output import Output
from songflow.errors import InputError
from songflow.ledger.backup import backup_sqlite
from songflow.ledger.engine import ledger_url

__all__ = ["backup"]

_RESTORE = (
    "to restore it, stop everything that uses the library, put the copy in the ledger's place (without -wal and -shm "
    "files beside it), leave spool/ as it is, and run `songflow rescue` on every machine that sends: it takes in what "
    "was paid for since."
)


def backup(target: Path, /, *, common: Common = Common()) -> None:
    """Copy the ledger to a new file, consistently, while others write. Songs and spool are copied by other means.

    Parameters
    ----------
    target
        The file to write. It must not exist.
    """
    output = Output(as_json=common.json, quiet=common.quiet)
    settings = common.existing_library()
    url = ledger_url(settings.ledger_url, settings.folder)
    if url.get_backend_name() != "sqlite":
        place = URL.create(
            "postgresql", url.username, None, url.host, url.port, url.database
        ).render_as_string()
        raise InputError(
            "This ledger is in PostgreSQL, which makes consistent copies itself.",
            next=f"run `pg_dump --format=custom --file={shlex.quote(str(target))} {shlex.quote(place)}`, and "
            "restore it with `pg_restore`; "
            "then run `songflow rescue` on every machine that sends: it takes in what was paid for since.",
        )
    ledger = Path(url.database or "")
    size = backup_sqlite(ledger, target.resolve())
    if output.as_json:
        output.object(
            {"backup": str(target.resolve()), "ledger": str(ledger), "bytes": size, "next": _RESTORE}
        )
        return
    output.line(f"The ledger is copied to {target.resolve()} ({size:,} bytes).")
    output.line(f"Next: {_RESTORE}")
