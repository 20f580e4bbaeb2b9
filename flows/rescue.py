"""The flow that collects songs that were paid for and not stored; meant to run on a schedule."""

# Without `from __future__ import annotations`: Prefect would evaluate them where `fields` is something else.
from typing import Annotated

from prefect.artifacts import acreate_table_artifact
from prefect.logging import get_run_logger

from blocks.credentials import GatewayBlock
from flows import ended, fields
from flows.song_flow import song_flow
from songflow.generation import rescue
from songflow.generation.rescue import Rescued
from songflow.generation.session_settings import SessionSettings
from tasks.sessions import access_of, library_of, open_session
from tasks.ui.markdown import rescue_rows
from tasks.ui.pages import shown
from tasks.wording import worded

__all__ = ["rescue_songs"]

Credentials = Annotated[
    GatewayBlock | None,
    fields.described(
        "Credentials",
        "The account to ask with, for generations of its gateway. None: the account that made each generation, found "
        "by its name in the ledger.",
    ),
]
Deadline = Annotated[
    float,
    fields.described(
        "Deadline",
        "Seconds to wait for each generation that is still running; 0 polls once.",
        ge=0,
        allow_inf_nan=False,
        strict=True,
    ),
]


@song_flow("rescue-songs", "collect what is stranded", moved={}, ended=ended.rescued)
async def rescue_songs(
    library: fields.Library = None,
    credentials: Credentials = None,
    deadline: Deadline = 0.0,
) -> list[Rescued]:
    """Collect every song that was paid for and is not stored; this **never pays**.

    It polls the generations of runs that were cancelled, killed or stopped waiting, at the gateway and with the account
    that made them. Unknown and lost generations are listed with what to do next, which a person has to decide:
    `songflow rescue --adopt`, `--write-off`, `--resubmit`.
    """
    run_log = get_run_logger()
    given = None if credentials is None else access_of(credentials)
    async with open_session(library_of(library), SessionSettings(deadline=deadline)) as session:
        found = await rescue.rescue(session, given)
    for one in found:
        if one.error is not None:
            run_log.warning("%s: %s Next: %s", one.key, worded(one.error), worded(one.next or ""))
    collected = sum(one.error is None for one in found)
    run_log.info("%d stranded, %d of them collected.", len(found), collected)
    if found:
        await _show(found, session.library.settings.unit)
    return found


async def _show(found: list[Rescued], unit: str) -> None:
    async with shown("The rescue", "what was collected is stored"):
        await acreate_table_artifact(
            rescue_rows(found, unit),
            key="rescue",
            description="Generations that were paid for and not collected, with the result of this rescue.",
        )
