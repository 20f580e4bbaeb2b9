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
from tasks.runs import short
from tasks.sessions import Where, Who, access_of, open_session
from tasks.stopping import report_cancellation
from tasks.ui.markdown import escape
from tasks.ui.progress import ProgressBar
from tasks.watching import progress_of

__all__ = ["given_access", "is_infrastructure_error", "wait"]


def is_infrastructure_error(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """True for errors of a database, a disk or a connection: polling is free, so the task is retried.

    A SongflowError (it failed, it still runs, its outcome is unknown) does not change by polling again.
    """
    return not isinstance(state.data, SongflowError)


def given_access(credentials: Who | None) -> Access | None:
    """The access of credentials; None means that it is found by the account's alias in the ledger."""
    return None if credentials is None else access_of(credentials)


def _name() -> str:
    parameters = runtime.task_run.parameters
    return f"wait for {short(parameters.get('prompt') or 'a generation')}"


@task(
    name="wait",
    task_run_name=_name,
    retries=3,
    retry_delay_seconds=[5.0, 15.0, 30.0],
    retry_condition_fn=is_infrastructure_error,
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def wait(
    submission: Submission,
    credentials: Who | None = None,
    *,
    library: Where | None = None,
    settings: SessionSettings | None = None,
    prompt: str = "",
) -> list[Song]:
    """Wait until a submission's generation has ended, and commit its takes before the first download.

    Args:
        submission: The submission that `submit` returned.
        credentials: The account that took it (None: found by its alias in the ledger).
        library: The library (None: the flow's).
        settings: Polling and deadline (None: the flow's).
        prompt: The request's, which names the task run and the progress bar.

    Raises:
        SongflowError: see `songflow.generation.lifecycle.wait`; none of these is retried.
    """
    async with open_session(library, settings) as session, report_cancellation(session, submission.key):
        # On a retry, the submission that was passed may be outdated.
        submission = await session.library.ledger.submissions.get(submission.id)
        access = given_access(credentials)
        bar = ProgressBar(f"{escape(prompt, length=60) or 'A generation'} at {submission.gateway}")
        progress = await progress_of(session, submission, access, bar.update)
        songs = await lifecycle.wait(session, submission, access, progress)
        await bar.finish()
        return songs
