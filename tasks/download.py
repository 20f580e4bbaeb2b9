"""The task that stores one take."""

from __future__ import annotations

from typing import Any

from prefect import Task, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from songflow.errors import NotCollected, SongflowError
from songflow.generation.session_settings import SessionSettings
from songflow.generation.takes import store_song
from songflow.ledger.rows import Song, Submission
from songflow.ledger.states import SongState
from tasks.runs import short
from tasks.sessions import Where, Who, open_session
from tasks.stopping import report_cancellation
from tasks.wait import given_access

__all__ = ["download", "may_be_fetched_again"]


def may_be_fetched_again(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """True for a song that could not be stored yet, and for errors of the infrastructure; fetching is free."""
    return isinstance(state.data, NotCollected) or not isinstance(state.data, SongflowError)


def _name() -> str:
    song = runtime.task_run.parameters.get("song")
    return f"download {short(song.title or song.song_id)}" if isinstance(song, Song) else "download"


@task(
    name="download",
    task_run_name=_name,
    retries=2,
    retry_delay_seconds=[5.0, 30.0],
    retry_condition_fn=may_be_fetched_again,
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def download(
    song: Song,
    submission: Submission,
    credentials: Who | None = None,
    *,
    library: Where | None = None,
    settings: SessionSettings | None = None,
) -> Song:
    """Fetch, verify and store one take, unless it is stored already.

    Args:
        song: A take that `wait` returned.
        submission: The submission it belongs to.
        credentials: The account that took it (None: found by its alias in the ledger).
        library: The library (None: the flow's).
        settings: Polling and deadline (None: the flow's).

    Raises:
        NotCollected: it could not be stored; its row stays announced, so that it is tried again.
        MissingCredentials: its URL is dead, and the account that could give a fresh one is not available.
    """
    async with open_session(library, settings) as session, report_cancellation(session, submission.key):
        stored = await store_song(session, submission, song, given_access(credentials))
    if stored.state is SongState.ANNOUNCED:
        raise NotCollected(
            f"A take of the generation {submission.any_id} could not be stored: {stored.error}.",
            key=submission.key,
            generation_id=submission.any_id,
            state=submission.state,
            next=f"run again with the key {submission.key}, or `songflow rescue`; it is paid for.",
        )
    return stored
