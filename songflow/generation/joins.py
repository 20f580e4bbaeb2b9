"""Let the gateway join an extension that is only its new part with the song that it extends (`join` gateway).

Each whole song is a generation of its own, with a request key below the extension's: it is paid for once, as any other,
and `rescue` collects it. The extension is stored before the first of them is asked for. If one cannot be had, the part
is joined here instead, and a remark on the song tells why: a stored extension never counts as failed.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Awaitable, Callable

from songflow.accounts import Access, reason_not_to_ask
from songflow.errors import InputError, SongflowError
from songflow.families.family import Request
from songflow.families.registry import join_request
from songflow.generation.policy import PaidRequest
from songflow.generation.session import Session
from songflow.generation.takes import take_uid
from songflow.ledger.queries import leading_submission
from songflow.ledger.rows import Song, Submission
from songflow.ledger.states import RULES, SongState, State
from songflow.library.joining import is_new_part
from songflow.library.wholes import join_stored
from songflow.runtime.concurrency import all_ended

__all__ = ["join_at_gateway", "join_key", "require_joining"]

log = logging.getLogger(__name__)

Make = Callable[[PaidRequest, Access], Awaitable[None]]
"""Runs the life cycle of one generation."""

_LONGEST_KEY = 255


def join_key(key: str, take: int) -> str:
    """The request key under which the gateway joins a take (from 0) of the extension with this key."""
    ending = f"/join.{take + 1}"
    if len(key) + len(ending) <= _LONGEST_KEY:
        return key + ending
    return f"{key[:200]}-{hashlib.sha256(key.encode()).hexdigest()[:24]}{ending}"


def require_joining(session: Session, request: Request, access: Access) -> None:
    """Check before anything is sent that an account's gateway joins new parts, where that is asked for.

    Raises:
        InputError: it does not; the message names those that do.
    """
    if session.settings.join != "gateway" or not is_new_part(request):
        return
    join = join_request(request.model_type, request.source_song_id or "")
    reason = None if join is None else reason_not_to_ask(access, join)
    if join is None or reason is not None:
        sellers = "" if reason is None else f" or {reason.next}"
        raise InputError(
            f"{access.gateway} does not join new parts with the songs that they extend.",
            next=f"choose --join local{sellers}",
        )


async def join_at_gateway(session: Session, submission: Submission, access: Access, make: Make) -> bool:
    """Let the gateway join the stored takes of an extension that are only the new part.

    Args:
        submission: The extension, collected.
        access: The account that made it.
        make: Runs the life cycle of one join.

    Returns:
        True if anything was joined.
    """
    if session.settings.join != "gateway":
        return False
    ledger = session.library.ledger
    generation = await ledger.submissions.generation(submission.key)
    assert generation is not None, "a submission has a generation (foreign key)"
    if not is_new_part(generation.request):
        return False
    work = []
    for song in await ledger.songs.of_submission(submission.id):
        key = join_key(submission.key, song.take)
        if song.state is SongState.STORED and song.song_id and await _is_open(session, song, key):
            request = join_request(generation.request.model_type, song.song_id)
            assert request is not None, "it was checked before the extension was paid for"
            paid = PaidRequest(request, key, part_of=submission.key)
            work.append(_join(session, song, paid, access, make))
    for ended in await all_ended(*work):
        if isinstance(ended, BaseException):
            raise ended
    return bool(work)


async def _is_open(session: Session, song: Song, key: str) -> bool:
    """True if a part is not joined, or the gateway may still join it."""
    if song.whole_path is None:
        return True
    ledger = session.library.ledger
    current = leading_submission(await ledger.submissions.of_key(key))
    if current is None:
        return False
    announced = any(one.state is SongState.ANNOUNCED for one in await ledger.songs.of_submission(current.id))
    return RULES[current.state].waits or current.state in {State.INTENDED, State.SENDING} or announced


async def _join(session: Session, song: Song, paid: PaidRequest, access: Access, make: Make) -> None:
    try:
        await make(paid, access)
    except SongflowError as error:
        left = f" {error.next}" if error.billed != "no" and error.next else ""
        log.warning("The gateway did not join '%s': %s%s", song.title or song.song_id, error.message, left)
        if song.whole_path is None:
            await _join_here(session, song, error)


async def _join_here(session: Session, song: Song, error: SongflowError) -> None:
    log.info("Joining '%s' here instead.", song.title or song.song_id)
    try:
        await join_stored(session.library, song, uid=take_uid(song), why=error.message.rstrip("."))
    except (SongflowError, OSError) as problem:  # the part is stored
        log.warning("'%s' could not be joined here either: %s", song.title or song.song_id, problem)
