"""Wait until a person chooses a take in Prefect's UI, or the recipe's default applies.

A run of a deployment is suspended, so that its worker's slot is free (see `flows.suspending`). Any other run is paused:
its process keeps waiting. If that dies, only the question is lost: a run with the same key asks again, and nothing is
paid for twice. Prefect fails a run whose pause times out, so this process resumes it with the recipe's default before.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Literal
from uuid import UUID, uuid4

from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import SetStateStatus
from prefect.flow_runs import apause_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from pydantic import Field, create_model

from flows.suspending import Suspensions, announce
from songflow.recipes.answers import Answer, Question
from songflow.runtime.concurrency import all_ended
from songflow.settings import amount
from tasks.ui.links import run_in_v1
from tasks.ui.players import with_players
from tasks.ui.song_page import question_page

__all__ = ["ANOTHER", "Questions", "take_label"]

log = logging.getLogger(f"songflow.{__name__}")

ANOTHER = "make another pair"
# Prefect's timeout exceeds the recipe's by this much; the default still arrives if the API is down for less.
_GRACE_SECONDS = 24 * 3600.0
_LONGEST_POLL_SECONDS = 5.0
_TRY_AGAIN_SECONDS = 1.0


def take_label(number: int) -> str:
    """The name of a take in the form."""
    return f"take {number}"


class Questions:
    """Asks the questions of one attempt of a run.

    Args:
        unit: The library's, for prices.
        poll_interval: Seconds between checks for an answer while the run is paused (5 at most).
    """

    def __init__(self, unit: str, poll_interval: float | None = None) -> None:
        self._unit = unit
        self._poll_interval = poll_interval
        self._suspensions = Suspensions()

    async def ask(self, question: Question) -> Answer:
        """Suspend or pause this flow run until a person resumes it with a choice, or the recipe's default applies."""
        suspended = await self._suspensions.ask(
            question,
            lambda page: _form(question, page, self._unit),
            lambda run_id: _page(question, run_id),
            take_label(question.fallback.number),
            _GRACE_SECONDS,
        )
        if suspended is None:
            return await _pause_for_answer(question, self._unit, self._poll_interval)
        return _answer(*suspended)


async def _pause_for_answer(question: Question, unit: str, poll_interval: float | None) -> Answer:
    """Pause this flow run until a person resumes it with a choice, or the recipe's default applies.

    Args:
        question: What to choose from.
        unit: The library's, for prices.
        poll_interval: Seconds between checks for an answer (5 at most).
    """
    run_id = UUID(str(flow_run.id))
    form = _form(question, await _page(question, run_id), unit)
    announce(question)
    # Prefect annotates it as whole seconds but passes it to `sleep` unchanged.
    pause: Any = min(poll_interval or _LONGEST_POLL_SECONDS, _LONGEST_POLL_SECONDS)
    default = _DefaultAnswer(question)
    resuming = asyncio.create_task(default.resume(run_id))
    try:
        given: Any = await apause_flow_run(
            wait_for_input=form,
            timeout=int(question.timeout + _GRACE_SECONDS),
            poll_interval=pause,
            key=uuid4().hex,
        )
    finally:
        resuming.cancel()
        await all_ended(resuming)
    return _answer(str(given.choice), by_person=not default.accepted)


def _answer(choice: str, by_person: bool) -> Answer:
    by = "a person in Prefect" if by_person else "nobody in time"
    return Answer(None if choice == ANOTHER else int(choice.rpartition(" ")[2]), by)


def _form(question: Question, page: str, unit: str) -> type[RunInput]:
    """The Resume form; Prefect's server refuses anything but its choices."""
    choices = [take_label(take.number) for take in question.takes]
    text = "The take that the next steps continue from."
    if question.another is not None:
        choices.append(ANOTHER)
        text += f" Another pair costs {amount(question.another, unit)} more."
    one_of: Any = Literal[tuple(choices)]
    field = Field(title="Choice", description=text)
    model = create_model("TakeChoice", __base__=RunInput, choice=(one_of, field))
    return model.with_initial_data(description=page)


async def _page(question: Question, run_id: UUID) -> str:
    """The form's text. Prefect's V2 UI, whose form cannot play a take, gets a link to the run in its V1 UI."""
    return await with_players(
        lambda players: question_page(question, players),
        [take.song for take in question.takes],
        v1_url=run_in_v1(run_id),
    )


class _DefaultAnswer:
    """Resumes the run with the recipe's default if nobody has answered in time."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self.accepted = False

    async def resume(self, flow_run_id: UUID) -> None:
        """Wait for the recipe's timeout, then resume the run; cancelled if a person answers first."""
        await asyncio.sleep(self._question.timeout)
        choice = {"choice": take_label(self._question.fallback.number)}
        while not self.accepted:
            try:
                async with get_client() as client:
                    response = await client.resume_flow_run(flow_run_id, run_input=choice)
                self.accepted = response.status == SetStateStatus.ACCEPT
            except Exception as error:
                log.warning(
                    "Prefect did not accept the recipe's default (%s): trying again.", type(error).__name__
                )
            if not self.accepted:
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
