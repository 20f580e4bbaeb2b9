"""One paid generation from a request to a result: submit, wait, collect, finish."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence

from songflow.accounts import Access, that_can_take, that_took
from songflow.errors import NotBilled
from songflow.families.family import Request
from songflow.generation.collect import Progress, collect, wait
from songflow.generation.error_texts import not_collected_error
from songflow.generation.leases import kept
from songflow.generation.results import GenerationResult
from songflow.generation.session import Session
from songflow.generation.submit import AFTER_ERRORS, repeat_refusals, submit
from songflow.ledger.rows import RunIds, Song, Submission

__all__ = ["finish", "first_that_takes", "generate_in", "mint_key"]

log = logging.getLogger("songflow")


def mint_key() -> str:
    """A request key that nobody else has."""
    return f"song-{uuid.uuid4().hex[:20]}"


async def generate_in(
    session: Session,
    request: Request,
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
