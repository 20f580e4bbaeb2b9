"""Songs and requests as people name them: by a whole id or key, or by the beginning of just one.

Of an id that is a path, the beginning of its file name is enough.

Only a reference that is no whole id or key itself is taken as a beginning, and one of fewer than `SHORTEST` characters
never is, so that a slip names nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from songflow.errors import InputError
from songflow.ledger.ledger import Ledger

__all__ = ["SHORTEST", "full_key", "full_song_id"]

SHORTEST = 4
_MOST_LISTED = 10


async def full_song_id(ledger: Ledger, given: str) -> str:
    """The gateway's id of the song that a reference names; the reference itself if no id begins with it.

    Raises:
        InputError: several ids begin with it; the message lists them with their titles.
    """
    if len(given) < SHORTEST or await ledger.songs.by_song_id(given):
        return given
    found = await ledger.songs.titles_by_prefix(given)
    lines = [f"{song_id} '{title}'" if title else song_id for song_id, title in found.items()]
    return _only(given, "song ids", list(found), lines)


async def full_key(ledger: Ledger, given: str) -> str:
    """The request key that a reference names; the reference itself if no key begins with it.

    Raises:
        InputError: several keys begin with it; the message lists them with the states of their requests.
    """
    if len(given) < SHORTEST or await ledger.submissions.of_key(given):
        return given
    found = await ledger.submissions.states_by_prefix(given)
    # What completes another generation has a key below that one's.
    found = {key: found[key] for key in found if not any(key.startswith(f"{other}/") for other in found)}
    lines = [f"{key} ({state})" for key, state in found.items()]
    return _only(given, "keys", list(found), lines)


def _only(given: str, called: str, found: Sequence[str], lines: Sequence[str]) -> str:
    if not found:
        return given
    if len(found) == 1:
        return found[0]
    more = f"; and {len(lines) - _MOST_LISTED} more" if len(lines) > _MOST_LISTED else ""
    raise InputError(
        f"{len(found)} {called} begin with {given!r}: {'; '.join(lines[:_MOST_LISTED])}{more}.",
        next="give more of it; nothing was sent.",
    )
