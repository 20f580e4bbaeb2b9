"""Songflow from plain Python: the whole way from a request to songs on disk, without Prefect."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from songflow.access import Access, access_from_environment, that_can_take, that_took
from songflow.collecting import Progress, collect, wait
from songflow.errors import NotBilled
from songflow.extending import plan_extension
from songflow.holding import kept
from songflow.ledger.rows import RunIds, Song, Submission
from songflow.library import LibrarySettings
from songflow.messages import not_collected_error
from songflow.paid import AFTER_ERRORS, repeat_refusals, submit
from songflow.request import SongRequest
from songflow.results import GenerationResult
from songflow.session import Session, SessionSettings

__all__ = ["extend", "finish", "first_that_takes", "generate", "generate_in", "mint_key"]

log = logging.getLogger("songflow")


def mint_key() -> str:
    """A request key that nobody else has."""
    return f"song-{uuid.uuid4().hex[:20]}"


async def generate(
    prompt: str,
    *,
    key: str | None = None,
    gateway: str | None = None,
    base_url: str | None = None,
    library: str | None = None,
    settings: SessionSettings | None = None,
    if_unsettled: str = "stop",
    **fields: Any,
) -> GenerationResult:
    """Make songs: submit one paid generation, wait for it, store its songs.

    Args:
        prompt: What the song is like.
        key: The request key: the same key never pays twice (None: a new one is minted).
        gateway: "simulator" (the default: no key, no cost), "cometapi", "openai-hk" or "custom".
        base_url: The gateway's address where it is not the published one.
        library: The library's folder (None: SONGFLOW_LIBRARY, else `./songs`).
        settings: Polling, deadline and repeats.
        if_unsettled: "stop" where the same body is unsettled under another key, or "new" to pay all the same.
        **fields: Any other field of `SongRequest`.

    Raises:
        SongflowError: the tree of `songflow.errors`; each message says what it cost and what to do next.
    """
    request = SongRequest.parse({"prompt": prompt, **fields})
    access = access_from_environment(gateway, base_url)
    async with Session(LibrarySettings.from_environment(library), settings) as session:
        return await generate_in(session, request, access, key=key or mint_key(), if_unsettled=if_unsettled)


async def extend(
    song_id: str,
    *,
    mode: str | None = None,
    place: str | None = None,
    key: str | None = None,
    gateway: str | None = None,
    base_url: str | None = None,
    library: str | None = None,
    settings: SessionSettings | None = None,
    if_unsettled: str = "stop",
    **overrides: Any,
) -> GenerationResult:
    """Extend a song: what is not said is as its parent was asked for, at the gateway that has it.

    Args:
        song_id: The gateway's id of the song, as `songflow songs` shows it.
        mode: "precede" or "continuation" (None: that of the place, else continuation).
        place: "intro", "front", "back" or "outro" (None: intro for precede, outro for continuation).
        gateway: None: the song's own. For a song that this library does not know: where it is.
        **overrides: Any other field of `SongRequest`; a song that this library does not know needs `prompt`.

    The other arguments are those of `generate`.

    Raises:
        SongflowError: the tree of `songflow.errors`; each message says what it cost and what to do next.
    """
    given = None if gateway is None and base_url is None else access_from_environment(gateway, base_url)
    async with Session(LibrarySettings.from_environment(library), settings) as session:
        planned = await plan_extension(session, song_id, given, mode=mode, place=place, overrides=overrides)
        return await generate_in(
            session, planned.request, planned.access, key=key or mint_key(), if_unsettled=if_unsettled
        )


async def generate_in(
    session: Session,
    request: SongRequest,
    access: Access,
    *,
    key: str,
    runs: RunIds | None = None,
    if_unsettled: str = "stop",
    retry_errors: bool = False,
    fallbacks: Sequence[Access] = (),
    progress: Progress | None = None,
) -> GenerationResult:
    """The same in an open session.

    `fallbacks` are tried in order, each only after the one before has certainly not billed (refused, not sent); a
    song is extended by its own gateway only.
    """
    choices = that_can_take((access, *fallbacks), request)
    submission = await first_that_takes(
        choices,
        lambda choice: repeat_refusals(
            lambda: submit(
                session,
                request,
                choice,
                key=key,
                runs=runs,
                if_unsettled=if_unsettled,
                pay_again=AFTER_ERRORS if retry_errors else frozenset(),
            ),
            retries=session.settings.retries,
            within=session.settings.repeat_within,
        ),
    )
    taken_by = that_took(choices, submission) or access
    async with kept(session, submission):
        songs = await wait(session, submission, taken_by, progress)
        await collect(session, submission, songs, taken_by)
    return await finish(session, submission.id)


async def first_that_takes(
    choices: Sequence[Access], attempt: Callable[[Access], Awaitable[Submission]]
) -> Submission:
    """The submission of the first account that takes the request; the ledger's row says which one it was.

    Raises:
        NotBilled: the last account's refusal. Anything that may be billed ends the chain at once.
    """
    for choice, following in zip(choices, (*choices[1:], None), strict=True):
        try:
            return await attempt(choice)
        except NotBilled as error:
            if following is None:
                raise
            log.warning("%s Trying %s (%s).", error.message, following.gateway, following.account.alias)
    raise AssertionError("the loop returns or raises")


async def finish(session: Session, submission_id: str) -> GenerationResult:
    """The result of a collected submission.

    Raises:
        NotCollected: it is paid for, and no song of it could be stored.
    """
    submission = await session.library.ledger.submissions.get(submission_id)
    songs = await session.library.ledger.songs.of_submission(submission_id)
    result = GenerationResult.of(submission, songs)
    if not result.stored:
        raise not_collected_error(submission, _uncollected(songs))
    return result


def _uncollected(songs: list[Song]) -> list[Song]:
    return [song for song in songs if song.path is None]
