"""The task that waits for a generation, with a progress bar."""

from __future__ import annotations

from typing import Any

from prefect import Task, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from songflow.accounts import Access
from songflow.errors import SongflowError
from songflow.generation import lifecycle
from songflow.generation.session_settings import SessionSettings
from songflow.ledger.rows import Song, Submission
from tasks.sessions import Where, Who, access_of, open_session
from tasks.stopping import tells_when_cancelled
from tasks.ui.progress import ProgressBar

__all__ = ["given_access", "is_trouble_of_ours", "wait"]


def is_trouble_of_ours(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """True for a database, a disk, a connection: asking and fetching are free, so try again.

    An answer of the domain's (it failed, it still runs, nobody knows) does not change by asking again.
    """
    return not isinstance(state.data, SongflowError)


def given_access(credentials: Who | None) -> Access | None:
    """The caller's access; None lets the ledger's account alias find it."""
    return None if credentials is None else access_of(credentials)


def _name() -> str:
    submission = runtime.task_run.parameters.get("submission")
    return f"wait for {submission.any_id}" if isinstance(submission, Submission) else "wait"


@task(
    name="wait",
    task_run_name=_name,
    retries=3,
    retry_delay_seconds=[5.0, 15.0, 30.0],
    retry_condition_fn=is_trouble_of_ours,
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def wait(
    submission: Submission,
    credentials: Who | None = None,
    *,
    library: Where | None = None,
    settings: SessionSettings | None = None,
) -> list[Song]:
    """Wait until a submission's generation has ended; its takes are committed before the first download.

    Args:
        submission: What `submit` returned.
        credentials: The account that took it (None: found by the ledger's alias).
        library: Which library (None: the flow's).
        settings: Polling and deadline (None: the flow's).

    Raises:
        SongflowError: see `songflow.generation.lifecycle.wait`; none of these is retried.
    """
    async with open_session(library, settings) as session, tells_when_cancelled(session, submission.key):
        # A retry may come long after the submission was handed to us.
        submission = await session.library.ledger.submissions.get(submission.id)
        bar = ProgressBar(f"Generation {submission.any_id} at {submission.gateway}")
        songs = await lifecycle.wait(session, submission, given_access(credentials), bar.update)
        await bar.finish()
        return songs
