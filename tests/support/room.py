"""What the listening room shows of a library."""

from __future__ import annotations

from typing import Any

from songflow.library.library import Library
from songflow.listening.index import Index
from songflow.listening.search import Search


async def room_songs(library: Library) -> list[dict[str, Any]]:
    """The cards of its songs, newest first, up to a hundred."""
    async with Index(library.ledger, library.settings.folder) as index:
        await index.filled()
        return Search.read([]).page(index.database, 0, 100).songs
