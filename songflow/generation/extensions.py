"""Extensions: plan a request that extends a song, at the gateway that has the song.

An extension inherits the request that made its parent, except for mode, section and context length, which belong to
the new part. The source exists at one gateway only, so the whole chain stays there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from songflow.accounts import Access, place_text
from songflow.errors import InputError, MissingCredentials
from songflow.families.family import Mode, Request
from songflow.families.registry import extension_request
from songflow.generation.session import Session
from songflow.ledger.references import full_song_id
from songflow.ledger.rows import Song, Submission
from songflow.ledger.states import SongState

__all__ = ["Extension", "Parent", "find_parent", "plan_extension"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Parent:
    """A song of the library that can be extended, with the submission and the request that made it."""

    song: Song
    submission: Submission
    request: Request

    @property
    def seconds(self) -> float | None:
        """The length of its own file, else the one that the gateway announced; None if neither is known."""
        return self.song.seconds or self.song.announced_seconds


@dataclass(frozen=True, slots=True)
class Extension:
    """A planned extension. `parent` is None for an id that only the gateway knows."""

    request: Request
    access: Access
    parent: Parent | None


async def find_parent(session: Session, song_id: str, access: Access | None = None) -> Parent:
    """Find the song of the library with this gateway id.

    Args:
        access: Selects the gateway if several have a song with this id.

    Raises:
        InputError: the library does not know it, it failed, or several gateways have a song with this id; nothing
            was sent.
    """
    ledger = session.library.ledger
    songs = await ledger.songs.by_song_id(song_id)
    if not songs:
        raise InputError(
            f"There is no song {song_id!r} in this library.",
            next="see the ids with `songflow songs`, or name --gateway and --prompt for a song that only the "
            "gateway knows; nothing was sent.",
        )
    candidates = [(song, await ledger.submissions.get(song.submission_id)) for song in songs]
    there = [pair for pair in candidates if access is not None and access.took(pair[1])] or candidates
    fitting = [pair for pair in there if pair[0].state is not SongState.FAILED]
    if not fitting:
        raise InputError(
            f"The song {song_id!r} failed at the gateway ({there[-1][0].error}): there is nothing to extend.",
            next="choose another take; nothing was sent.",
        )
    homes = sorted({submission.place for _, submission in fitting})
    if len(homes) > 1:
        raise InputError(
            f"Several gateways have a song {song_id!r}: {', '.join(place_text(*home) for home in homes)}.",
            next="say which with --gateway (and --base-url); nothing was sent.",
        )
    # The newest, but stored ones first: only those can be listened to and compared.
    song, submission = max(fitting, key=lambda pair: (pair[0].state is SongState.STORED, pair[0].id))
    generation = await ledger.submissions.generation(submission.key)
    assert generation is not None, "a submission has a generation (foreign key)"
    return Parent(song, submission, generation.request)


async def plan_extension(
    session: Session,
    song_id: str,
    given: Access | None = None,
    *,
    mode: Mode | str | None = None,
    place: str | None = None,
    overrides: Mapping[str, Any] = _NOTHING,
    fallbacks: Sequence[Access] = (),
) -> Extension:
    """Plan the extension of a song: its request and the account that pays. Nothing is sent.

    Args:
        song_id: The gateway's id; the beginning of one is enough for a song of the library.
        given: The account that pays (None: the one that made the song, found by its stored alias).
        fallbacks: Accounts to try after it; they must be at the same gateway.

    Raises:
        InputError: the song cannot be extended, or an account is at another gateway than the song.
        InvalidRequest: see `extension_request`.
        MissingCredentials: the key of the song's account is not available.
    """
    song_id = await full_song_id(session.library.ledger, song_id)
    if given is None or await session.library.ledger.songs.by_song_id(song_id):
        parent = await find_parent(session, song_id, given)
        source, generation_id, seconds = parent.request, parent.submission.generation_id, parent.seconds
        home = parent.submission.place
        access = given or await _account_of(session, parent)
    else:
        parent, source, generation_id, seconds, access = None, None, None, None, given
        home = given.place
    for account in (access, *fallbacks):
        _require_at(home, account, song_id)
    request = extension_request(
        source,
        song_id,
        generation_id=generation_id,
        seconds=seconds,
        mode=mode,
        place=place,
        overrides=overrides,
    )
    return Extension(request, access, parent)


def _require_at(home: tuple[str, str], access: Access, song_id: str) -> None:
    if access.place == home:
        return
    raise InputError(
        f"The song {song_id} is at {place_text(*home)}; {access.place_text} does not "
        "have it and cannot extend it.",
        next="leave --gateway out, and the song's own is taken (a fallback must be at the same gateway, too); "
        "nothing was sent.",
    )


async def _account_of(session: Session, parent: Parent) -> Access:
    taken = parent.submission
    try:
        return await session.gateways.access_for(taken, None)
    except MissingCredentials:
        raise MissingCredentials(
            f"The song {parent.song.song_id} is at {place_text(taken.gateway, taken.base_url)}, and there is no "
            f"key for its account {taken.account!r}.",
            next="give that account's key in the environment, or another account of that gateway with "
            "--gateway or --credentials; nothing was sent.",
        ) from None
