"""Review the songs of cells: which cells have only takes that the sweep's rule, or a person, discards."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from songflow.ledger.ledger import Ledger
from songflow.library.review import Review, discarded, measured_songs
from songflow.sweeps.cells import Cell

__all__ = ["cells_without_songs_to_keep"]

log = logging.getLogger(__name__)

_AT_ONCE = 500


async def cells_without_songs_to_keep(ledger: Ledger, review: Review, cells: Sequence[Cell]) -> list[Cell]:
    """Mark songs that the rule discards; returns the cells that have songs, all of them discarded.

    A failure is a warning: the songs are stored, and the next run reviews them again.
    """
    found: list[Cell] = []
    try:
        for at in range(0, len(cells), _AT_ONCE):
            found += await _reviewed(ledger, review, cells[at : at + _AT_ONCE])
    except Exception as error:
        log.warning("The songs were not all reviewed (%s: %s).", type(error).__name__, error)
    return found


async def _reviewed(ledger: Ledger, review: Review, cells: Sequence[Cell]) -> list[Cell]:
    by_key = await ledger.songs.of_keys([cell.key for cell in cells])
    songs = [song for some in by_key.values() for song in some if song.path is not None]
    measures = await measured_songs(ledger, songs, measure=True)
    out = await discarded(ledger, review, songs, measures)
    discarded_only = {song.key for song in songs} - {song.key for song in songs if song.id not in out}
    return [cell for cell in cells if cell.key in discarded_only]
