"""A person's choice in Prefect: the run pauses, its Resume form shows the takes, and the answer goes on.

A paused run's process waits (a suspended one would end). A process that dies meanwhile loses only the question:
whoever runs the same key again asks anew, and nothing is paid for twice. Prefect fails a run whose pause has timed
out, so before that this process itself answers with what the recipe says.
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

from songflow.recipes.answers import Answer, Question
from songflow.runtime.concurrency import all_ended
from tasks.ui.song_page import question_page

__all__ = ["ANOTHER", "pause_for_answer", "take_label"]

log = logging.getLogger(f"songflow.{__name__}")

ANOTHER = "make another pair"
# Prefect's own end of the pause; ours comes first, unless Prefect's API is away for so long.
_GRACE_SECONDS = 24 * 3600.0
_LONGEST_POLL_SECONDS = 5.0
_TRY_AGAIN_SECONDS = 1.0


def take_label(number: int) -> str:
    """How the form calls a take."""
    return f"take {number}"


async def pause_for_answer(question: Question, poll_interval: float | None = None) -> Answer:
    """Pause this flow run until a person resumes it with a choice, or the recipe's default takes their place.

    Args:
        question: What to choose from.
        poll_interval: Seconds between looks whether somebody has answered (5 at most).
    """
    log.warning(
        "%s waits for a choice: press Resume on this run. Without an answer within %.0f s it goes on with take %d.",
        question.path,
        question.timeout,
        question.fallback.number,
    )
    # Annotated as whole seconds by Prefect, and handed to `sleep` as it is.
    pause: Any = min(poll_interval or _LONGEST_POLL_SECONDS, _LONGEST_POLL_SECONDS)
    nobody = _Nobody(question)
    stand_in = asyncio.create_task(nobody.answer(UUID(str(flow_run.id))))
    try:
        given: Any = await apause_flow_run(
            wait_for_input=_form(question),
            timeout=int(question.timeout + _GRACE_SECONDS),
            poll_interval=pause,
            key=f"{question.path}-{uuid4().hex[:8]}",
        )
    finally:
        stand_in.cancel()
        await all_ended(stand_in)
    said = str(given.choice)
    by = "nobody in time" if nobody.answered else "a person in Prefect"
    return Answer(None if said == ANOTHER else int(said.rpartition(" ")[2]), by)


def _form(question: Question) -> type[RunInput]:
    """The Resume form: Prefect's server refuses whatever is not one of its choices."""
    choices = [take_label(take.number) for take in question.takes]
    text = "The take that the next steps go on with."
    if question.another is not None:
        choices.append(ANOTHER)
        text += f" Another pair costs {question.another:g} more (in the units of the prices)."
    one_of: Any = Literal[tuple(choices)]
    field = Field(title="Choice", description=text)
    model = create_model("TakeChoice", __base__=RunInput, choice=(one_of, field))
    return model.with_initial_data(description=question_page(question))


class _Nobody:
    """Answers in the place of a person who did not, as anybody could: by resuming the run."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self.answered = False

    async def answer(self, flow_run_id: UUID) -> None:
        """Wait for the time to pass, then answer; a person who was quicker has already ended the pause."""
        await asyncio.sleep(self._question.timeout)
        choice = {"choice": take_label(self._question.fallback.number)}
        while not self.answered:
            try:
                async with get_client() as client:
                    response = await client.resume_flow_run(flow_run_id, run_input=choice)
                self.answered = response.status == SetStateStatus.ACCEPT
            except Exception as error:
                log.warning(
                    "The default cannot be given to Prefect (%s): trying again.", type(error).__name__
                )
            if not self.answered:
                await asyncio.sleep(_TRY_AGAIN_SECONDS)
