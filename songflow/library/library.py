"""The library: ledger, audio store and spool, opened together."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from songflow.errors import LibraryError
from songflow.ledger.engine import ledger_url
from songflow.ledger.ledger import Ledger
from songflow.ledger.spool import Spool
from songflow.library.audio_store import (
    DEFAULT_NAME_TEMPLATE,
    AudioStore,
    check_template,
    prepare_folder,
    require_space,
)

__all__ = ["Library", "LibrarySettings"]


@dataclass(frozen=True, slots=True)
class LibrarySettings:
    """Where a library lives.

    Attributes:
        folder: The local folder: SQLite ledger, spool, unfinished downloads, and the audio unless elsewhere.
        ledger_url: A database URL for the ledger instead of SQLite in the folder. May hold a password.
        audio_url: Any fsspec URL for the songs instead of `audio/` in the folder.
        name_template: File names of songs, from `{title}`, `{song_id}`, `{uid}`.
        verify_audio: Decode each download to its end (off: only its size is checked).
        covers: Fetch the cover that a gateway offers with a song, into the song's tag and beside it.
        budget: The most that this library may ever spend, in the accounts' units (None: no cap).
        budget_per_day: The same for a day (UTC).
        unit: What the units are called.
    """

    folder: Path
    ledger_url: str | None = field(default=None, repr=False)
    audio_url: str | None = None
    name_template: str = DEFAULT_NAME_TEMPLATE
    verify_audio: bool = True
    covers: bool = True
    budget: float | None = None
    budget_per_day: float | None = None
    unit: str = "units"

    @classmethod
    def from_environment(cls, folder: str | Path | None = None) -> LibrarySettings:
        """The folder given, else SONGFLOW_LIBRARY, else `./songs`; the rest from the environment.

        Read are SONGFLOW_LEDGER_URL, SONGFLOW_AUDIO_URL, SONGFLOW_NAME_TEMPLATE, SONGFLOW_VERIFY_AUDIO,
        SONGFLOW_COVERS, SONGFLOW_BUDGET, SONGFLOW_BUDGET_PER_DAY and SONGFLOW_UNIT.

        Raises:
            LibraryError: the folder is that of a user who is not known here.
        """
        given = folder or os.environ.get("SONGFLOW_LIBRARY") or "songs"
        return cls(
            folder=_absolute(Path(given)),
            ledger_url=os.environ.get("SONGFLOW_LEDGER_URL") or None,
            audio_url=os.environ.get("SONGFLOW_AUDIO_URL") or None,
            name_template=os.environ.get("SONGFLOW_NAME_TEMPLATE") or DEFAULT_NAME_TEMPLATE,
            verify_audio=_switch("SONGFLOW_VERIFY_AUDIO"),
            covers=_switch("SONGFLOW_COVERS"),
            budget=_units("SONGFLOW_BUDGET"),
            budget_per_day=_units("SONGFLOW_BUDGET_PER_DAY"),
            unit=os.environ.get("SONGFLOW_UNIT") or "units",
        )

    def exists(self) -> bool:
        """False where opening this library would make a new one (a ledger elsewhere always counts as there)."""
        try:
            return self.ledger_url is not None or (self.folder / "ledger.sqlite").is_file()
        except OSError:  # a name that is too long, a folder that may not be looked into
            return False


def _switch(variable: str) -> bool:
    """On unless it is switched off."""
    return os.environ.get(variable, "1").lower() not in {"0", "no", "false"}


def _units(variable: str) -> float | None:
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not (math.isfinite(amount) and amount >= 0):
        raise LibraryError(
            f"{variable} is {text[:40]!r}: allowed is a number from 0.", next="correct it; nothing was sent."
        )
    return amount


def _absolute(folder: Path) -> Path:
    try:
        return folder.expanduser().resolve()
    except (RuntimeError, OSError) as error:
        raise LibraryError(
            f"The library's folder {folder} cannot be used: {getattr(error, 'strerror', None) or error}.",
            next="choose another with --library or SONGFLOW_LIBRARY.",
        ) from None


class Library:
    """One open library, for one event loop; an async context manager.

    Raises:
        LibraryError: on the way in, when a part of it cannot be used. Nothing is spent or half-written then.
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
        """Raise LibraryError where a song that is about to be paid for would find no room."""
        require_space(self.settings.folder)
        require_space(self.store.parts)
