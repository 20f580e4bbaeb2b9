"""Suspend a run while it waits for a person, so that its worker's slot is free; resuming starts the run again.

A suspended run has no process. Started again, it re-attaches to everything it has paid for, since request keys depend
on its id, and comes to the same question, whose answer Prefect has kept under the question's pause key. A retry clears
those keys, and a new form is asked. If nobody answers, the flow rescue-songs resumes the run with the recipe's default:
a run of it is scheduled for that moment, and its own schedule comes after.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName
from prefect.client.schemas.objects import DeploymentStatus, FlowRun
from prefect.client.schemas.responses import SetStateStatus
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from prefect.states import Scheduled

from songflow.recipes.answers import Question

__all__ = ["Suspensions", "announce", "answer_for_nobody"]

log = logging.getLogger(f"songflow.{__name__}")

RESCUE = "rescue-songs/rescue"
# For less it is not worth starting the run again.
SHORTEST_SECONDS = 120.0
_DEFAULT, _USED = "songflow-default", "songflow-nobody"


def announce(question: Question) -> None:
    """Log that the run waits for a person, and for how long."""
    log.warning(
        "%s waits for a choice: press Resume on this run. Without an answer within %.0f s it continues with take %d.",
        question.path,
        question.timeout,
        question.fallback.number,
    )


class Suspensions:
    """The questions of one attempt of a run that may be suspended."""

    def __init__(self) -> None:
        self._answered: set[str] = set()

    async def ask(
        self,
        question: Question,
        form: Callable[[str], type[RunInput]],
        page: Callable[[UUID], Awaitable[str]],
        default: str,
        grace: float,
    ) -> tuple[str, bool] | None:
        """Suspend this run, or return the choice that it was resumed with, and whether a person made it.

        Args:
            question: What to choose from.
            form: Makes the form, with a field `choice`, around a text.
            page: Makes the text, of the run's id; it takes a while.
            default: The choice if nobody answers within the question's timeout.
            grace: Seconds after that until Prefect fails the run.

        Returns:
            None: resuming would not start this run again, or nobody would apply the default.

        Raises:
            Pause: the run is suspended; nothing may catch this.
        """
        context = FlowRunContext.get()
        run = context.flow_run if context is not None else None
        if run is None or run.deployment_id is None or run.parent_task_run_id is not None:
            return None
        about = _about(question)
        async with get_client() as client:
            fired = (await client.read_flow_run(run.id)).empirical_policy.pause_keys or set()
            # The last answer to this question counts: an earlier one was carried out as far as it could be.
            answered = sorted(key for key in fired - self._answered if key.startswith(about))
            key = answered[-1] if answered else f"{about}-{time.time_ns()}"
            if not answered and not await _default_is_planned(client, run.id, key, question, default):
                return None
            self._answered |= {*answered, key}
            if not answered:
                announce(question)
        asked = form("" if answered else await page(run.id))
        given = await asuspend_flow_run(wait_for_input=asked, timeout=int(question.timeout + grace), key=key)
        async with get_client() as client:
            nobody = await _read(client, run.id, f"{_USED}-{key}")
        return str(getattr(given, "choice", "")), nobody is None


async def answer_for_nobody() -> int:
    """Resume the suspended runs whose time for an answer is over, with their recipes' defaults; returns how many.

    A run that cannot be resumed is a warning, and does not keep the others waiting.
    """
    answered = 0
    async with get_client() as client:
        for run in await _suspended(client):
            try:
                answered += await _resume_if_due(client, run)
            except Exception as error:
                log.warning(
                    "The flow run %s waits for a choice and cannot be continued with its recipe's default (%s).",
                    run.id,
                    type(error).__name__,
                )
    return answered


async def _suspended(client: PrefectClient) -> list[FlowRun]:
    """All suspended runs, of any flow: one that asks may have a name of its own."""
    suspended = FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Suspended"])))
    found: list[FlowRun] = []
    while page := await client.read_flow_runs(flow_run_filter=suspended, offset=len(found)):
        found += page
    return found


async def _resume_if_due(client: PrefectClient, run: FlowRun) -> bool:
    key = run.state.state_details.pause_key if run.state is not None else None
    found = await _read(client, run.id, f"{_DEFAULT}-{key}") if key else None
    if found is None:
        return False
    default = json.loads(found)
    if datetime.fromisoformat(default["at"]) > datetime.now(UTC):
        return False
    return await _resume(client, run.id, str(key), default["choice"])


async def _resume(client: PrefectClient, run_id: UUID, key: str, choice: str) -> bool:
    # Before the run can be started again and look for it; a person's answer removes it.
    try:
        await client.create_flow_run_input(run_id, f"{_USED}-{key}", "true")
    except PrefectHTTPStatusError as error:
        if error.response.status_code != 409:  # a rescue that died has left it
            raise
    response = await client.resume_flow_run(run_id, run_input={"choice": choice})
    if response.status == SetStateStatus.ACCEPT:
        log.info("Nobody has answered the flow run %s: it continues with %s.", run_id, choice)
        return True
    await client.delete_flow_run_input(run_id, f"{_USED}-{key}")
    return False


async def _default_is_planned(
    client: PrefectClient, run_id: UUID, key: str, question: Question, default: str
) -> bool:
    """Plan the run of rescue-songs that applies the default; False if that is not certain, or not worth it."""
    if question.timeout < SHORTEST_SECONDS:
        return False
    try:
        rescue = await client.read_deployment_by_name(RESCUE)
    except ObjectNotFound:
        return False
    if rescue.paused or rescue.status != DeploymentStatus.READY:
        return False
    at = datetime.now(UTC) + timedelta(seconds=question.timeout)
    value = json.dumps({"at": at.isoformat(), "choice": default})
    await client.create_flow_run_input(run_id, f"{_DEFAULT}-{key}", value)
    await client.create_flow_run_from_deployment(
        rescue.id, state=Scheduled(scheduled_time=at), idempotency_key=f"{run_id}:{key}"
    )
    return True


async def _read(client: PrefectClient, run_id: UUID, key: str) -> str | None:
    try:
        return await client.read_flow_run_input(run_id, key) or None
    except PrefectHTTPStatusError as error:
        if error.response.status_code == 404:
            return None
        raise


def _about(question: Question) -> str:
    """The beginning of a question's pause keys (letters, digits and dashes): its step, and a hash of its takes."""
    step = re.sub(r"[^A-Za-z0-9]+", "-", question.path)[:60]
    takes = [question.path, str(question.pairs), *(str(take.song.song_id) for take in question.takes)]
    return f"{step}-{hashlib.sha256(json.dumps(takes).encode()).hexdigest()[:12]}"
