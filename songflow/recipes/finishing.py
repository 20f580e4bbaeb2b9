"""A recipe's last step: finished copies of its whole songs (`finish:`), made when all is paid for and stored."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from songflow.audio.finishing import FinishSettings
from songflow.documents.validation import Reader
from songflow.library.finishing import finish_song
from songflow.library.library import Library
from songflow.recipes.results import WholeSong

__all__ = ["finish_songs", "read_finish"]

log = logging.getLogger(__name__)


def read_finish(reader: Reader, given: Any) -> FinishSettings | None:
    """The settings of `finish:`; None without it. Each one that is unknown or not allowed is a fault."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        reader.fault(("finish",), "must be a mapping, such as {format: flac, loudness: -16}")
        return None
    try:
        return FinishSettings.model_validate(
            reader.known(("finish",), given, tuple(FinishSettings.model_fields))
        )
    except ValidationError as error:
        for fault in error.errors(include_url=False):
            words = fault["msg"].removeprefix("Value error, ")
            shown = f"is {fault['input']!r}: " if fault["loc"] else ""
            reader.fault(("finish", *map(str, fault["loc"])), f"{shown}{words[:1].lower()}{words[1:]}")
        return None


async def finish_songs(library: Library, whole: WholeSong, settings: FinishSettings) -> WholeSong:
    """Make a finished copy of each whole song; returns the result with their places.

    What fails is a warning: the songs are paid for and stored, and `songflow finish` can be run again.
    """
    made: list[str] = []
    for song in whole.stored:
        try:
            [row] = await library.ledger.songs.at_path(song.path or "")
            made.append((await finish_song(library, row, settings)).path)
        except Exception as error:  # of whatever kind: it must not fail a song that is paid for
            log.warning("%s was made, and not finished: %s", song.title or song.song_id, error)
    return replace(whole, finished=tuple(made))
