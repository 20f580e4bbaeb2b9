"""The library: ledger, audio store and spool, opened together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from songflow.errors import LedgerOutdated, LibraryError
from songflow.ledger.engine import ledger_url
from songflow.ledger.ledger import Ledger
from songflow.ledger.spool import Spool, SpoolEntry
from songflow.library.audio_store import AudioStore, prepare_folder, require_space
from songflow.library.file_names import check_template
from songflow.settings import LibrarySettings

__all__ = ["Library"]

# How many missing generations an error names.
_NAMED = 5


class Library:
    """One open library, for one event loop; an async context manager.

    Args:
        settings: Where it is, and its policies.
        reads_only: Nothing will be written: a library that may only be read is enough, and nothing is made.

    Raises:
        LibraryError: on entering, if its ledger or spool cannot be used. Nothing is spent or half-written.
    """

    def __init__(self, settings: LibrarySettings, *, reads_only: bool = False) -> None:
        check_template(settings.name_template)
        self.settings = settings
        self.store = AudioStore(settings.audio_url, settings.folder)
        self.ledger = Ledger(ledger_url(settings.ledger_url, settings.folder), reads_only=reads_only)
        self.spool = Spool(settings.folder / "spool")
        self._reads_only = reads_only
        self._has_store = False
        self._is_current = False

    async def __aenter__(self) -> Library:
        if not self._reads_only:
            prepare_folder(self.settings.folder / "spool")
            # It is raised again where a song is paid for or stored: the ledger can be used without a store.
            with suppress(LibraryError):
                self.require_store()
        await self.ledger.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.ledger.__aexit__()

    async def missing_from_ledger(self) -> list[SpoolEntry]:
        """What this machine's spool knows as paid for, or perhaps paid for, and the ledger does not.

        The ledger was restored, replaced or lost. As long as the newest entries are known, no other one is read.
        """
        missing = self.ledger.restore.missing
        if not await missing(await asyncio.to_thread(self.spool.newest)):
            return []
        return await missing(await asyncio.to_thread(self.spool.entries))

    async def require_current_ledger(self) -> None:
        """Refuse to pay while the ledger is older than the spool: it would pay for the same songs again.

        Raises:
            LedgerOutdated: naming what is missing.
        """
        if self._is_current:
            return
        missing = await self.missing_from_ledger()
        if missing:
            raise _outdated(missing)
        self._is_current = True

    def require_store(self) -> None:
        """Raise LibraryError if songs cannot be written to the store; it is tried once."""
        if not self._has_store:
            self.store.prepare()
            self._has_store = True

    def require_space(self) -> None:
        """Raise LibraryError if there is no room for a song that is about to be paid for, or for its outcome."""
        self.require_store()
        require_space(self.settings.folder)
        try:
            self.spool.secure_room()
        except OSError as error:
            raise LibraryError(
                f"The spool in {self.settings.folder} has no room: {error.strerror or error}.",
                next="free some space, or correct its permissions; nothing was sent.",
            ) from None
        require_space(self.store.parts)


def _outdated(missing: Sequence[SpoolEntry]) -> LedgerOutdated:
    named = ", ".join(
        f"{entry.key} ({entry.generation_id or ', '.join(entry.track_ids) or entry.outcome})"
        for entry in missing[:_NAMED]
    )
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return LedgerOutdated(
        f"The ledger is older than its spool, which knows {len(missing)} paid generations that the ledger does not: "
        f"{named}{more}. Was it restored, replaced or lost? Nothing was sent: it could be paid for again.",
        next="if the ledger is empty and song files are left, `songflow rebuild` first; then `songflow rescue`, which "
        "takes in the rest from the spool and costs nothing.",
    )
