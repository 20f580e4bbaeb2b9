"""Find the songs that a sweep extends: their whole ids, and the requests from which its extensions inherit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from songflow.accounts import Access, access_from_environment, place_text
from songflow.errors import InputError
from songflow.generation.extensions import find_parent
from songflow.generation.session import Session
from songflow.ledger.ledger import Ledger
from songflow.ledger.references import full_song_id
from songflow.settings import LibrarySettings
from songflow.sweeps.cells import Cell, cells_of, key_stem
from songflow.sweeps.spec import Parents, Row, Source, Sweep

__all__ = ["cells_in", "find_cells", "key_stems", "parents_in", "with_whole_ids"]

_SOURCE = "source_song_id"


async def find_cells(sweep: Sweep, access: Access, settings: LibrarySettings) -> list[Cell]:
    """The cells of a sweep, whose sources are looked for in a library; a missing library is not created.

    Raises:
        InputError: a source failed, is at another gateway than the account, or its id begins several ones.
        InvalidDocument: see `cells_of`.
    """
    if not _sources(sweep) or not settings.exists():
        return cells_of(sweep, access)
    async with Session(settings, reads_only=True) as session:
        return await cells_in(session, sweep, access)


async def cells_in(session: Session, sweep: Sweep, access: Access) -> list[Cell]:
    """The cells of a sweep in an open session; see `find_cells`."""
    whole = await with_whole_ids(sweep, session.library.ledger)
    return cells_of(whole, access, await parents_in(session, whole, access))


async def key_stems(sweep: Sweep, settings: LibrarySettings) -> set[str]:
    """The beginnings of the keys of a sweep's cells in a library, whatever gateway and account have made them.

    Raises:
        InputError: a source failed, or several gateways have a song with its id.
        InvalidDocument: see `cells_of`.
    """
    async with Session(settings, reads_only=True) as session:
        whole = await with_whole_ids(sweep, session.library.ledger)
        cells = cells_of(whole, access_from_environment("simulator"), await parents_in(session, whole))
    return {
        key_stem(request)
        for cell in cells
        for request in (cell.request, *([cell.before[0]] if cell.before else []))
    }


async def with_whole_ids(sweep: Sweep, ledger: Ledger) -> Sweep:
    """A sweep that names each song of the library by its whole id; the file may give its beginning.

    Raises:
        InputError: several ids begin so; the message lists them with their titles.
    """
    whole = {given: await full_song_id(ledger, given) for given in _sources(sweep)}
    if all(given == song_id for given, song_id in whole.items()):
        return sweep
    factors = tuple([_named(row, whole) for row in factor] for factor in sweep.factors)
    return replace(sweep, fixed=_named(sweep.fixed, whole), factors=factors)


async def parents_in(session: Session, sweep: Sweep, access: Access | None = None) -> Parents:
    """The requests of a sweep's sources; an id that only the gateway knows has nothing to inherit from.

    Args:
        access: The account that extends them (None: any).

    Raises:
        InputError: a source failed, or is at another gateway than the account.
    """
    found: dict[str, Source] = {}
    for song_id in _sources(sweep):
        if not await session.library.ledger.songs.by_song_id(song_id):
            continue
        parent = await find_parent(session, song_id, access)
        if access is not None and not access.took(parent.submission):
            raise InputError(
                f"The song {song_id} is at "
                f"{place_text(parent.submission.gateway, parent.submission.base_url)}, not at {access.place_text}.",
                next="run the sweep with the gateway that has the song; nothing was sent.",
            )
        found[song_id] = Source(parent.request, parent.submission.generation_id, parent.seconds)
    return found


def _sources(sweep: Sweep) -> list[str]:
    given = {row[_SOURCE]: None for factor in sweep.factors for row in factor if _SOURCE in row}
    if _SOURCE in sweep.fixed:
        given[sweep.fixed[_SOURCE]] = None
    return [song_id for song_id in given if isinstance(song_id, str)]


def _named(row: Row, whole: Mapping[str, str]) -> Row:
    given = row.get(_SOURCE)
    return {**row, _SOURCE: whole[given]} if isinstance(given, str) else row
