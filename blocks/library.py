"""The song library as a Prefect block."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import ClassVar, Self

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, field_validator

from blocks.prefect_ui import LOGO
from songflow.errors import LibraryError
from songflow.library.file_names import check_template
from songflow.settings import DEFAULT_NAME_TEMPLATE, LibrarySettings

__all__ = ["SongLibrary"]


class SongLibrary(Block):
    """A library of songs: its ledger and its audio store.

    Example:
        Load a stored library:
        ```python
        from blocks.library import SongLibrary

        library = SongLibrary.load("BLOCK_NAME")
        ```
    """

    # A ledger's URL may contain a password, which errors must not quote.
    model_config = ConfigDict(hide_input_in_errors=True)

    _block_type_name: ClassVar[str | None] = "Song Library"
    _block_type_slug: ClassVar[str | None] = "song-library"
    _logo_url: ClassVar[HttpUrl | None] = LOGO
    _description: ClassVar[str | None] = "Location of songs and of the ledger of payments."

    # Required on purpose: if all fields of a block are optional, Prefect's form validation also accepts a reference to
    # a saved block as its fields, and refuses it as ambiguous.
    folder: str = Field(
        min_length=1,
        title="Folder",
        description="The library's folder on the machine that runs the flow; absolute is best.",
    )
    ledger_url: SecretStr | None = Field(
        default=None,
        title="Ledger URL",
        description="A PostgreSQL URL, for a ledger of several machines; empty for SQLite in the folder.",
    )
    audio_url: str | None = Field(
        default=None,
        title="Audio URL",
        description="Any fsspec URL for songs, such as s3://bucket/songs; empty for audio/ in the folder.",
    )
    name_template: str = Field(
        default=DEFAULT_NAME_TEMPLATE,
        title="Name template",
        description="File names of songs, from {title}, {song_id} and {uid}.",
    )
    verify_audio: bool = Field(
        default=True,
        title="Verify audio",
        description="Decode each download to its end before it counts as stored.",
    )
    covers: bool = Field(
        default=True,
        title="Covers",
        description="Store the cover that a gateway offers with a song, in its file and beside it.",
    )
    budget: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        title="Budget",
        description="The most that this library may ever spend, in the units of the prices; empty for no cap.",
    )
    budget_per_day: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        title="Budget per day",
        description="The most that this library may spend on one day (UTC); empty for no cap.",
    )
    unit: str = Field(
        default="units",
        min_length=1,
        title="Unit",
        description="Name of the unit of prices and budgets.",
    )

    @field_validator("name_template")
    @classmethod
    def _check_template(cls, template: str) -> str:
        try:
            check_template(template)
        except LibraryError as error:
            raise ValueError(str(error)) from None
        return template

    @classmethod
    def of(cls, settings: LibrarySettings) -> Self:
        """Create an unsaved block from settings of the command line or the environment."""
        given = asdict(settings) | {"folder": str(settings.folder), "ledger_url": settings.ledger_url or None}
        return cls(**given)

    def get_settings(self) -> LibrarySettings:
        """The library's settings; a relative folder is resolved where the flow runs."""
        given = {one.name: getattr(self, one.name) for one in fields(LibrarySettings)}
        given["folder"] = Path(self.folder).expanduser().resolve()
        given["ledger_url"] = self.ledger_url.get_secret_value() if self.ledger_url else None
        return LibrarySettings(**given)
