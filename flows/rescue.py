"""The flow that collects songs that were paid for and not stored; meant to run on a schedule."""

# Without `from __future__ import annotations`: Prefect would evaluate them where `fields` is something else.
from typing import Annotated

from prefect.artifacts import acreate_markdown_artifact
from prefect.logging import get_run_logger

from blocks.credentials import GatewayBlock
from flows import ended, fields
from flows.song_flow import song_flow
from flows.suspending import answer_for_nobody
from songflow.generation import rescue
from songflow.generation.rescue import Rescued
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from tasks.sessions import access_of, library_of, open_session
from tasks.ui.links import page_in_v1
from tasks.ui.pages import shown
from tasks.ui.players import with_players
from tasks.ui.rescue_page import collected_songs, rescue_page
from tasks.wording import next_step, worded

__all__ = ["rescue_songs"]

# The songs of further generations are not on the page; all of them are stored.
_MOST_KEYS = 1000

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

    Whole songs that wait for a choice longer than their recipe allows continue with its default.
    """
    try:
        await answer_for_nobody()
    except Exception as error:
        get_run_logger().warning(
            "Runs that wait for a choice cannot be looked at (%s).", type(error).__name__
        )
    given = None if credentials is None else access_of(credentials)
    async with open_session(library_of(library), SessionSettings(deadline=deadline)) as session:
        found = await rescue.rescue(session, given)
        _report(found)
        if found:
            await _show(session, found)
    return found


def _report(found: list[Rescued]) -> None:
    run_log = get_run_logger()
    for one in found:
        if one.error is not None:
            run_log.warning("%s: %s%s", one.key, worded(one.error), next_step(one.next))
    collected = sum(one.error is None for one in found)
    run_log.info("%d stranded, %d of them collected.", len(found), collected)


async def _show(session: Session, found: list[Rescued]) -> None:
    async with shown("The rescue", "what was collected is stored"):
        takes = await session.library.ledger.songs.of_keys([one.key for one in found][:_MOST_KEYS])
        await acreate_markdown_artifact(
            await with_players(
                lambda players: rescue_page(found, takes, players, session.library.settings.unit),
                collected_songs(found, takes),
                page_in_v1("rescue"),
            ),
            key="rescue",
            description="Generations that were paid for and not collected, with the result of this rescue.",
        )
