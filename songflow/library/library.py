"""The library: ledger, audio store and spool, opened together."""

from __future__ import annotations

from songflow.ledger.engine import ledger_url
from songflow.ledger.ledger import Ledger
from songflow.ledger.spool import Spool
from songflow.library.audio_store import AudioStore, prepare_folder, require_space
from songflow.library.file_names import check_template
from songflow.settings import LibrarySettings

__all__ = ["Library"]


class Library:
    """One open library, for one event loop; an async context manager.

    Raises:
        LibraryError: on entering, if a part of it cannot be used. Nothing is spent or half-written.
    """

    def __init__(self, settings: LibrarySettings) -> None:
        check_template(settings.name_template)
        self.settings = settings
        self.store = AudioStore(settings.audio_url, settings.folder)
        self.ledger = Ledger(ledger_url(settings.ledger_url, settings.folder))
        self.spool = Spool(settings.folder / "spool")

    async def __aenter__(self) -> Library:
        prepare_folder(self.settings.folder / "spool")
        self.store.prepare()
        await self.ledger.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.ledger.__aexit__()

    def require_space(self) -> None:
        """Raise LibraryError if there is no room for a song that is about to be paid for."""
        require_space(self.settings.folder)
        require_space(self.store.parts)
