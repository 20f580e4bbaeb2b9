"""The flow that collects what was paid for and not collected; on a schedule, nobody has to remember it."""

# Without `from __future__ import annotations`: Prefect would evaluate them where `fields` is something else.
from typing import Annotated

from prefect.artifacts import acreate_table_artifact
from prefect.logging import get_run_logger

from blocks.credentials import GatewayBlock
from flows import fields
from flows.song_flow import song_flow
from songflow.generation import rescue
from songflow.generation.rescue import Rescued
from songflow.generation.session_settings import SessionSettings
from tasks.sessions import access_of, library_of, open_session
from tasks.ui.markdown import rescue_rows
from tasks.ui.pages import shown

__all__ = ["rescue_songs"]

Credentials = Annotated[
    GatewayBlock | None,
    fields.described(
        "Credentials",
        "An account to ask with, if it is at the right gateway. None: the account that took each generation, by its "
        "stored name.",
    ),
]
Deadline = Annotated[
    float,
    fields.described(
        "Deadline",
        "Seconds to wait for each generation that is still running; 0 asks once.",
        ge=0,
        allow_inf_nan=False,
        strict=True,
    ),
]


@song_flow("rescue-songs", "collect what is stranded", moved={})
async def rescue_songs(
    library: fields.Library = None,
    credentials: Credentials = None,
    deadline: Deadline = 0.0,
) -> list[Rescued]:
    """Collects every song that was paid for and is not stored; it **never pays**.

    Generations whose run was cancelled, killed or gave up waiting are asked for at the gateway and with the account
    that took them. What is unknown or lost is listed with what to do next, which only a person can decide:
    `songflow rescue --adopt`, `--write-off`, `--resubmit`.
    """
    run_log = get_run_logger()
    given = None if credentials is None else access_of(credentials)
    async with open_session(library_of(library), SessionSettings(deadline=deadline)) as session:
        found = await rescue.rescue(session, given)
    for one in found:
        if one.error is not None:
            run_log.warning("%s: %s Next: %s", one.key, one.error, one.next)
    collected = sum(one.error is None for one in found)
    run_log.info("%d stranded, %d of them collected.", len(found), collected)
    if found:
        await _show(found)
    return found


async def _show(found: list[Rescued]) -> None:
    async with shown("The rescue", "what was collected is stored"):
        await acreate_table_artifact(
            rescue_rows(found),
            key="rescue",
            description="What was paid for and not collected, and what became of it.",
        )
