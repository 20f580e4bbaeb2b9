"""Extensions: a request that goes on from a song, and the account that has the song.

An extension inherits everything from the request that made its parent, but for where it stands: mode, section
and context length belong to the new part. Its source lives at one gateway only, so the whole chain stays there.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from songflow.accounts import Access
from songflow.errors import InputError, InvalidRequest, MissingCredentials
from songflow.families.udio import PLACES, LyricsType, Mode, SongRequest
from songflow.generation.session import Session
from songflow.ledger.rows import Song, Submission
from songflow.ledger.states import SongState

__all__ = ["Extension", "Parent", "extension_request", "find_parent", "plan_extension"]

log = logging.getLogger("songflow")

DEFAULT_PLACES: Mapping[Mode, str] = {Mode.PRECEDE: "intro", Mode.CONTINUATION: "outro"}

_NOTHING: Mapping[str, Any] = MappingProxyType({})
# What describes the parent's own place and words in its whole, not those of what is added to it.
_OF_THE_PARENT_ALONE = ("config", "song_section_start", "song_section_end")
_PLACEMENT = ("lyrics_placement_start", "lyrics_placement_end")


@dataclass(frozen=True, slots=True)
class Parent:
    """A song of the library that can be extended, the submission that made it, and what it was asked with."""

    song: Song
    submission: Submission
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Extension:
    """What is about to be paid for. `parent` is None for a bare id that only the gateway knows."""

    request: SongRequest
    access: Access
    parent: Parent | None


def extension_request(
    parent: Mapping[str, Any] | None,
    song_id: str,
    *,
    mode: Mode | str | None = None,
    place: str | None = None,
    overrides: Mapping[str, Any] = _NOTHING,
) -> SongRequest:
    """The request that extends a song, with everything inherited that is not said.

    The section's end is left out of the body, as in the gateways' published one, unless `overrides` has it.

    Args:
        parent: The `gen_params` that made the song; None for a bare id, which has nothing to inherit.
        song_id: The gateway's id of the song.
        mode: "precede" or "continuation"; None: that of the place, or continuation where nothing is said.
        place: "intro", "front", "back" or "outro"; None: `song_section_start` of the overrides where it is
            there, else intro for precede and outro for continuation.
        overrides: Fields of `SongRequest` that differ from the parent's. Lyrics make it `user`; another
            `lyrics_type` takes the parent's lyrics away.

    Raises:
        InvalidRequest: mode and place contradict each other, or a field is wrong, missing or not one.
    """
    _refuse_foreign(overrides)
    if parent is None and "prompt" not in overrides:
        raise _invalid("prompt is required to extend a song that is not in this library")
    chosen_mode, start = _placed(mode, place, overrides.get("song_section_start"))
    inherited = {name: value for name, value in (parent or {}).items() if name not in _OF_THE_PARENT_ALONE}
    return SongRequest.parse(
        {
            "song_section_end": None,
            **_without_replaced_words(inherited, overrides),
            **{name: value for name, value in overrides.items() if (name, value) != ("lyrics_type", None)},
            "song_section_start": start,
            "mode": chosen_mode,
            "source_song_id": song_id,
        }
    )


def _refuse_foreign(overrides: Mapping[str, Any]) -> None:
    for name in ("mode", "source_song_id", "config"):
        if name in overrides:
            raise _invalid(f"{name} is not a field to override: an extension's song and mode are said apart")


def _without_replaced_words(inherited: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The inherited fields less the parent's words, and the words' placement, where others take their place."""
    fields = dict(inherited)
    kind = overrides.get("lyrics_type")
    if "lyrics" not in overrides and kind in (None, fields.get("lyrics_type")):
        return fields
    for name in _PLACEMENT:
        fields.pop(name, None)
    # Words say their own type, and no words of one's own cannot be sung. What is said of the type stands.
    if overrides.get("lyrics") or fields.get("lyrics_type") == LyricsType.USER:
        fields.pop("lyrics_type", None)
    if kind not in (None, LyricsType.USER):
        fields.pop("lyrics", None)
    return fields


def _placed(mode: Mode | str | None, place: str | None, start: Any) -> tuple[Mode, Any]:
    """Mode and `song_section_start` of what was said about them."""
    chosen = _extending_mode(mode)
    if place is None and start is not None:
        if chosen is None:
            raise _invalid("mode is required with song_section_start (precede or continuation)")
        return chosen, start
    name = place if place is not None else DEFAULT_PLACES[chosen or Mode.CONTINUATION]
    if name not in PLACES:
        raise _invalid(f"place is {name!r}: allowed are {', '.join(PLACES)}")
    needed, at = PLACES[name]
    if chosen not in (None, needed):
        raise _invalid(f"place {name} belongs to mode {needed}, and mode is {chosen}")
    if start not in (None, at):
        raise _invalid(f"place {name} is song_section_start {at:g}, which is given as {start!r}")
    return needed, at


def _extending_mode(mode: Mode | str | None) -> Mode | None:
    if mode is None:
        return None
    if mode not in tuple(DEFAULT_PLACES):
        raise _invalid(f"mode is {str(mode)!r}: allowed are {', '.join(DEFAULT_PLACES)}")
    return Mode(mode)


def _invalid(reason: str) -> InvalidRequest:
    return InvalidRequest(
        f"The request is not valid: {reason}.",
        faults=(reason,),
        next="correct it and run again; nothing was sent.",
    )


async def find_parent(session: Session, song_id: str, access: Access | None = None) -> Parent:
    """The song of the library that a gateway calls by this id.

    Args:
        access: Tells songs of different gateways apart that happen to have one id.

    Raises:
        InputError: the library does not know it, it failed, or several gateways have a song of this id.
        Each says what to do; nothing was sent.
    """
    ledger = session.library.ledger
    songs = await ledger.songs.by_song_id(song_id)
    if not songs:
        raise InputError(
            f"There is no song {song_id!r} in this library.",
            next="see the ids with `songflow songs`, or name --gateway and --prompt for a song that only the "
            "gateway knows; nothing was sent.",
        )
    good = [song for song in songs if song.state is not SongState.FAILED]
    if not good:
        raise InputError(
            f"The song {song_id!r} failed at the gateway ({songs[-1].error}): there is nothing to extend.",
            next="choose another take; nothing was sent.",
        )
    candidates = [(song, await ledger.submissions.get(song.submission_id)) for song in good]
    fitting = [pair for pair in candidates if access is not None and access.took(pair[1])] or candidates
    homes = sorted({(submission.gateway, submission.base_url) for _, submission in fitting})
    if len(homes) > 1:
        raise InputError(
            f"Several gateways have a song {song_id!r}: {', '.join(f'{name} ({url})' for name, url in homes)}.",
            next="say which with --gateway (and --base-url); nothing was sent.",
        )
    # The newest, but a stored one before one that is not: only that can be listened to and compared.
    song, submission = max(fitting, key=lambda pair: (pair[0].state is SongState.STORED, pair[0].id))
    generation = await ledger.submissions.generation(submission.key)
    assert generation is not None, "a submission has a generation (foreign key)"
    return Parent(song, submission, generation.params)


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
    """What extending a song asks for, and the account to ask: nothing is sent.

    Args:
        given: The account that pays. None: the one that made the song, by its stored name.
        fallbacks: Accounts to try after it; they must be at the same gateway.

    Raises:
        InputError: the song cannot be extended, or an account is at another gateway than the song.
        InvalidRequest: see `extension_request`.
        MissingCredentials: the key of the song's account is not at hand.
    """
    if given is None or await session.library.ledger.songs.by_song_id(song_id):
        parent = await find_parent(session, song_id, given)
        params = parent.params
        home = (parent.submission.gateway, parent.submission.base_url)
        access = given or await _account_of(session, parent)
    else:
        parent, params, access = None, None, given
        home = given.place
    for account in (access, *fallbacks):
        _require_at(home, account, song_id)
    request = extension_request(params, song_id, mode=mode, place=place, overrides=overrides)
    return Extension(request, access, parent)


def _require_at(home: tuple[str, str], access: Access, song_id: str) -> None:
    if access.place == home:
        return
    gateway, base_url = home
    raise InputError(
        f"The song {song_id} is at {gateway} ({base_url}); {access.gateway} ({access.account.base_url}) does not "
        "have it and cannot extend it.",
        next="leave --gateway out, and the song's own is taken (a fallback must be at the same gateway, too); "
        "nothing was sent.",
    )


async def _account_of(session: Session, parent: Parent) -> Access:
    taken = parent.submission
    try:
        return await session.access_for(taken, None)
    except MissingCredentials:
        raise MissingCredentials(
            f"The song {parent.song.song_id} is at {taken.gateway} ({taken.base_url}), and there is no key for "
            f"its account {taken.account!r}.",
            next="give that account's key in the environment, or another account of that gateway with "
            "--gateway or --credentials; nothing was sent.",
        ) from None
