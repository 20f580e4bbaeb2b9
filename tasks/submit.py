"""The task that submits: the only one that pays."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from prefect import Task, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext

from songflow.errors import NotBilled
from songflow.families.family import Request
from songflow.generation.policy import PAY_ONCE, PaidRequest, PayingPolicy
from songflow.generation.session_settings import SessionSettings
from songflow.generation.submit import submit_once
from songflow.ledger.rows import Submission
from tasks.limits import submit_slot
from tasks.runs import DEFAULT_STEP, request_key, run_ids, short
from tasks.sessions import Where, Who, access_of, open_session
from tasks.stopping import report_cancellation

__all__ = ["may_be_sent_again", "submit"]

log = logging.getLogger(f"songflow.{__name__}")

DELAYS_SECONDS = [1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
# A run does not wait longer than this, whatever the gateway asks for.
LONGEST_WAIT_SECONDS = 300.0


def may_be_sent_again(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """True only if nothing was billed and the same request may be sent again.

    Any other error ends the task at once, whatever its number of retries. The ledger is the second safeguard: a task
    run without this condition re-attaches to its key and cannot pay twice.
    """
    return isinstance(state.data, NotBilled) and state.data.repeatable


def _name() -> str:
    request = runtime.task_run.parameters.get("request")
    return f"submit {short(request.prompt)}" if isinstance(request, Request) else "submit"


@task(
    name="submit",
    task_run_name=_name,
    retries=4,
    retry_delay_seconds=DELAYS_SECONDS,
    retry_jitter_factor=0.5,
    retry_condition_fn=may_be_sent_again,
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def submit(
    request: Request,
    credentials: Who | None = None,
    *,
    key: str | None = None,
    step: str = DEFAULT_STEP,
    library: Where | None = None,
    settings: SessionSettings | None = None,
    policy: PayingPolicy = PAY_ONCE,
) -> Submission:
    """Pay for a request once, or re-attach to the submission of its key.

    Args:
        request: What to make.
        credentials: The account that pays (None: the embedded simulator).
        key: The request key (None: this run's root id and `step`).
        step: Distinguishes several requests of one run.
        library: The library (None: the flow's).
        settings: Polling, deadline and retries (None: the flow's).
        policy: When to pay again. Its fallbacks are not tried here: a task run submits to one account.

    Returns:
        A submission to wait for.

    Raises:
        SongflowError: see `songflow.generation.submit.submit_once`; only repeatable `NotBilled` errors are retried.
    """
    access = access_of(credentials)
    paid = PaidRequest(request, key or await request_key(step), runs=await run_ids())
    async with open_session(library, settings) as session, report_cancellation(session, paid.key):
        try:
            async with submit_slot(access):
                return await submit_once(session, paid, access, policy)
        except NotBilled as error:
            await _wait_as_asked(error)
            raise


async def _wait_as_asked(error: NotBilled) -> None:
    """Sleep for the gateway's Retry-After, before a retry: Prefect's own delays are fixed beforehand."""
    context = TaskRunContext.get()
    if not error.repeatable or not error.retry_after or context is None:
        return
    if context.task_run.run_count <= (context.task.retries or 0):
        pause = min(error.retry_after, LONGEST_WAIT_SECONDS)
        log.info("The gateway asks us to wait %.0f s.", pause)
        await asyncio.sleep(pause)
