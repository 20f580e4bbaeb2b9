"""The paid life cycle, written once: submit, wait, collect, result, and their composition.

    submit    the paid step at the first account that takes the request (`songflow.generation.submit`)
    wait      poll until the generation has ended at the gateway, and commit its takes
    collect   fetch, verify and store every take
    result    what the ledger now holds of the generation

Whoever needs more between two steps (a task run for each, a slot at the gateway) calls the verbs; `generate_in` and
`complete` are all of them in order. Every verb may be repeated by any process: only `submit` pays, once per key.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from songflow.accounts import Access, that_can_take, that_took
from songflow.downloads.downloader import TRANSFER_SECONDS
from songflow.errors import NotBilled
from songflow.families.family import Request
from songflow.generation.ending import Progress, commit_report, poll_until_ended, request_of_submission
from songflow.generation.error_texts import not_collected_error, paid_from_here
from songflow.generation.joins import join_at_gateway, require_joining
from songflow.generation.policy import PAY_ONCE, PaidRequest, PayingPolicy
from songflow.generation.results import GenerationResult, origin_of
from songflow.generation.session import Session
from songflow.generation.submit import retry_refusals, submit_once
from songflow.generation.takes import store_song
from songflow.ledger.rows import RunIds, Song, Submission
from songflow.ledger.states import SongState, State
from songflow.runtime.concurrency import all_ended

__all__ = [
    "Taken",
    "collect",
    "complete",
    "generate_in",
    "mint_key",
    "result",
    "submit",
    "submit_to_first",
    "wait",
]

log = logging.getLogger(__name__)

# All takes are fetched at once, and one attempt at each has ended by then.
_COLLECTING_SECONDS = TRANSFER_SECONDS


@dataclass(frozen=True, slots=True)
class Taken:
    """A submission, and the account that took it."""

    submission: Submission
    access: Access


def mint_key() -> str:
    """A request key that nobody else has."""
    return f"song-{uuid.uuid4().hex[:20]}"


async def submit(
    session: Session, paid: PaidRequest, access: Access, policy: PayingPolicy = PAY_ONCE
) -> Taken:
    """Submit a request, repeating refusals as the session allows and falling back as the policy allows.

    Raises:
        SongflowError: see `songflow.generation.submit.submit_once`; a `NotBilled` is the last account's.
    """
    return await submit_to_first(
        paid.request,
        policy.accounts(access),
        lambda account: retry_refusals(
            lambda: submit_once(session, paid, account, policy),
            session.settings.refusal_backoff,
        ),
    )


async def submit_to_first(
    request: Request, accounts: Sequence[Access], attempt: Callable[[Access], Awaitable[Submission]]
) -> Taken:
    """Submit to the first account that takes a request; a song is extended by its own gateway only.

    Args:
        request: What is asked for.
        accounts: The account asked for, then its fallbacks.
        attempt: Submits to one account.

    Raises:
        NotBilled: the last account's refusal. Any error after which the request may be billed propagates at once.
    """
    choices = that_can_take(accounts, request)
    for choice, following in zip(choices, (*choices[1:], None), strict=True):
        try:
            submission = await attempt(choice)
        except NotBilled as error:
            if following is None:
                raise
            log.warning("%s Trying %s (%s).", error.message, following.gateway, following.account.alias)
        else:
            # An earlier run may have submitted it to another account than this one.
            return Taken(submission, that_took(accounts, submission) or accounts[0])
    raise AssertionError("the loop returns or raises")


async def wait(
    session: Session,
    submission: Submission,
    access: Access | None = None,
    progress: Progress | None = None,
    request: Request | None = None,
) -> list[Song]:
    """Wait until a submission's generation has ended, and commit its takes before the first download.

    Args:
        access: The account that took it (None: found by its stored alias).
        progress: Called after each poll.
        request: What was asked for (None: read from the ledger).

    Returns:
        A row per take, in the gateway's order; at once if the ledger already knows the end.

    Raises:
        StillRunning: the deadline passed or the key was refused; it runs on and is billed.
        GenerationFailed: the gateway reports a failure and no song.
        GenerationLost: the gateway no longer knows the id.
        NotCollected: the ledger cannot be used.
        MissingCredentials: the account that took it is not available.
    """
    if submission.state is State.SUCCEEDED:
        with paid_from_here(submission):
            return await session.library.ledger.songs.of_submission(submission.id)
    access = await session.gateways.access_for(submission, access)
    with paid_from_here(submission):
        request = request or await request_of_submission(session, submission)
        deadline = session.polling.deadline(request.model)
        async with session.leases.acquire_lease(submission, deadline):
            schedule = await session.polling.schedule(access, request)
            ended = await poll_until_ended(session, submission, access, schedule, deadline, progress)
            songs = await commit_report(
                session,
                submission,
                request,
                ended.report,
                refund=access.refunds_failed,
                timing=ended.timing,
            )
            session.polling.learn(access, request, ended.timing)
            return songs


async def collect(
    session: Session, submission: Submission, songs: Sequence[Song], access: Access | None = None
) -> list[Song]:
    """Store every take that is announced and not stored yet; the row of one that cannot be stored has the reason.

    Returns:
        The same takes, with their new states.

    Raises:
        NotCollected: the library cannot be used.
        MissingCredentials: a URL is dead, and the account that could give a fresh one is not available.
    """
    missing = [song for song in songs if song.state is SongState.ANNOUNCED]
    collected: dict[int, Song] = {}
    with paid_from_here(submission):
        if missing:
            async with session.leases.acquire_lease(submission, _COLLECTING_SECONDS):
                work = (store_song(session, submission, song, access) for song in missing)
                for done in await all_ended(*work):
                    if isinstance(done, BaseException):
                        raise done
                    collected[done.id] = done
    return [collected.get(song.id, song) for song in songs]


async def result(session: Session, submission_id: str) -> GenerationResult:
    """The result of a collected submission, read from the ledger.

    Raises:
        NotCollected: it is paid for, and no song of it could be stored.
    """
    submission = await session.library.ledger.submissions.get(submission_id)
    songs = await session.library.ledger.songs.of_submission(submission_id)
    request = await request_of_submission(session, submission)
    origin = origin_of(request, submission, session.library.settings.unit)
    found = GenerationResult.of(submission, songs, origin)
    if not found.stored:
        raise not_collected_error(submission, [song for song in songs if song.path is None])
    return found


async def complete(
    session: Session, submission: Submission, access: Access | None = None, progress: Progress | None = None
) -> GenerationResult:
    """Wait for a submission and collect its songs, under one lease; for new and for rescued submissions.

    Raises:
        SongflowError: see `wait`, `collect` and `result`.
    """
    async with session.leases.reuse_lease(submission):
        songs = await wait(session, submission, access, progress)
        await collect(session, submission, songs, access)
    return await result(session, submission.id)


async def generate_in(
    session: Session,
    request: Request,
    access: Access,
    *,
    key: str,
    policy: PayingPolicy = PAY_ONCE,
    runs: RunIds | None = None,
    progress: Progress | None = None,
) -> GenerationResult:
    """Run one whole life cycle in an open session: submit, wait, collect, result.

    Args:
        request: What to make.
        access: The account that pays.
        key: The request key: the same key returns the same generation and never pays twice.
        policy: When to pay again, and the accounts to fall back to.
        runs: The Prefect runs that ask for it (None: those of the session).
        progress: Called after each poll.

    Raises:
        SongflowError: see `songflow.errors`.
    """
    require_joining(session, request, access)
    taken = await submit(session, PaidRequest(request, key, runs=runs), access, policy)
    made = await complete(session, taken.submission, taken.access, progress)

    async def join(paid: PaidRequest, account: Access) -> None:
        sent = await submit(session, replace(paid, runs=runs), account, replace(policy, fallbacks=()))
        await complete(session, sent.submission, sent.access, progress)

    if await join_at_gateway(session, taken.submission, taken.access, join):
        return await result(session, taken.submission.id)
    return made
