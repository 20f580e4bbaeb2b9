"""The task that shows a generation in Prefect's UI and returns its result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import runtime
from prefect.artifacts import acreate_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.tasks import MaterializingTask

from songflow.documents.text import counted
from songflow.generation import lifecycle
from songflow.generation.results import GenerationResult
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.ledger.rows import Submission
from tasks.runs import short
from tasks.sessions import Where, open_session
from tasks.ui.generation_page import generation_page
from tasks.ui.links import EXTEND, form_links, page_in_v1
from tasks.ui.markdown import artifact_key, escape
from tasks.ui.pages import shown
from tasks.ui.players import with_players
from tasks.wait import is_infrastructure_error

__all__ = ["record"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _name() -> str:
    return f"record {short(runtime.task_run.parameters.get('prompt') or 'a generation')}"


def _with_assets(**options: Any) -> Callable[[Callable[_P, _R]], MaterializingTask[_P, _R]]:
    """Decorate a task without assets, to which each call adds its own: `with_options(assets=..., asset_deps=...)`."""
    return lambda fn: MaterializingTask(fn=fn, assets=(), materialized_by="songflow", **options)


@_with_assets(
    name="record",
    task_run_name=_name,
    retries=2,
    retry_delay_seconds=[2.0, 10.0],
    retry_condition_fn=is_infrastructure_error,
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def record(
    submission: Submission,
    *,
    library: Where | None = None,
    settings: SessionSettings | None = None,
    prompt: str = "",
) -> GenerationResult:
    """Show a collected generation as a Markdown artifact. The ledger has recorded it already.

    Args:
        submission: The submission that `submit` returned.
        library: The library (None: the flow's).
        settings: Those of the flow's session (None: any).
        prompt: The request's, which names the task run.

    Returns:
        The generation with its songs.

    Raises:
        NotCollected: it is paid for, and no song of it could be stored.
    """
    async with open_session(library, settings) as session:
        await _show(session, submission)
        return await lifecycle.result(session, submission.id)


async def _show(session: Session, submission: Submission) -> None:
    ledger = session.library.ledger
    submission = await ledger.submissions.get(submission.id)
    songs = await ledger.songs.of_submission(submission.id)
    generation = await ledger.submissions.generation(submission.key)
    fields = generation.sent_fields if generation is not None else {}
    async with shown("The songs", "they are stored"):
        key, unit = artifact_key(submission.key, fields.get("prompt")), session.library.settings.unit
        links = await form_links(EXTEND)
        await acreate_markdown_artifact(
            await with_players(
                lambda players: generation_page(submission, fields, songs, players, unit, links),
                songs,
                page_in_v1(key),
            ),
            key=key,
            description=f"{counted(len(songs), 'song')} by {submission.gateway}: "
            f"{escape(fields.get('prompt'), length=60)}",
        )
