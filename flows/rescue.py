"""The flow that collects what was paid for and not collected; on a schedule, nobody has to remember it."""

# Without `from __future__ import annotations`: Prefect would evaluate them where `fields` is something else.

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.logging import get_run_logger

from flows import fields
from songflow.generation import rescue
from songflow.generation.rescue import Rescued
from songflow.generation.session_settings import SessionSettings
from tasks.sessions import access_of, library_of, open_session
from tasks.ui.markdown import rescue_rows
from tasks.ui.pages import shown

__all__ = ["rescue_songs"]


@flow(name="rescue-songs", flow_run_name="collect what is stranded", persist_result=False)
async def rescue_songs(
    library: fields.Library = None,
    credentials: fields.RescueCredentials = None,
    deadline: fields.RescueDeadline = 0.0,
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
