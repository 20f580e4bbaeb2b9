"""Find the requests of the songs that a sweep extends, from which its extensions inherit."""

from __future__ import annotations

from songflow.accounts import Access, place_text
from songflow.errors import InputError
from songflow.families.family import Request
from songflow.generation.extensions import find_parent
from songflow.generation.session import Session
from songflow.settings import LibrarySettings
from songflow.sweeps.spec import Parents, Sweep

__all__ = ["find_parents", "parents_in"]

_SOURCE = "source_song_id"


async def find_parents(sweep: Sweep, access: Access, settings: LibrarySettings) -> Parents:
    """Find the parents of a sweep in a library; a missing library is not created.

    Raises:
        InputError: a source failed, or is at another gateway than the account.
    """
    if not _sources(sweep) or not settings.exists():
        return {}
    async with Session(settings, reads_only=True) as session:
        return await parents_in(session, sweep, access)


async def parents_in(session: Session, sweep: Sweep, access: Access) -> Parents:
    """Find the parents of a sweep in an open session; see `find_parents`."""
    found: dict[str, Request] = {}
    for song_id in _sources(sweep):
        # An id that only the gateway knows has nothing to inherit from.
        if not await session.library.ledger.songs.by_song_id(song_id):
            continue
        parent = await find_parent(session, song_id, access)
        if not access.took(parent.submission):
            raise InputError(
                f"The song {song_id} is at "
                f"{place_text(parent.submission.gateway, parent.submission.base_url)}, not at {access.place_text}.",
                next="run the sweep with the gateway that has the song; nothing was sent.",
            )
        found[song_id] = parent.request
    return found


def _sources(sweep: Sweep) -> list[str]:
    given = {row[_SOURCE]: None for factor in sweep.factors for row in factor if _SOURCE in row}
    if _SOURCE in sweep.fixed:
        given[sweep.fixed[_SOURCE]] = None
    return [song_id for song_id in given if isinstance(song_id, str)]
