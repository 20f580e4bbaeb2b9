"""Hooks for paying flow runs that were cancelled or crashed.

Prefect calls them in the process that noticed the end, often on another machine. They have only the run's id and its
stored parameters, and find its submissions in the ledger.
"""

from __future__ import annotations

from logging import Logger, LoggerAdapter
from typing import Any

from prefect import Flow, State
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.logging.loggers import flow_run_logger
from pydantic import SecretStr

from blocks.library import SongLibrary
from songflow.errors import SongflowError
from songflow.gateways import bills_nothing
from songflow.ledger.rows import Submission
from songflow.ledger.states import RULES, SongState
from songflow.ledger.states import State as Stage
from songflow.library.library import Library
from songflow.settings import LibrarySettings, amount
from tasks.logs import send_logs

__all__ = ["let_go", "library_of_run"]


async def let_go(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Release the run's leases, and log what is still running at the gateway and billed.

    A new run or the next rescue can then collect it at once, without waiting for a lease to expire.
    """
    log = flow_run_logger(flow_run, flow)
    try:
        settings = await library_of_run(flow_run.parameters or {})
        if not settings.exists():
            return
        async with Library(settings) as library:
            ledger = library.ledger
            await ledger.submissions.release_run(str(flow_run.id))
            for submission in await ledger.submissions.of_flow_run(str(flow_run.id)):
                songs = await ledger.songs.of_submission(submission.id)
                missing = any(song.state is SongState.ANNOUNCED for song in songs)
                _log_uncollected(log, submission, missing, settings.unit)
    except Exception as error:  # a block that is gone or no longer fits, or a server that does not answer
        reason = error if isinstance(error, SongflowError) else type(error).__name__
        log.error(
            "What this run has paid for cannot be read from its library (%s): run `songflow rescue` there.",
            reason,
        )
    finally:
        await send_logs()


def _log_uncollected(
    log: Logger | LoggerAdapter[Any], submission: Submission, missing: bool, unit: str
) -> None:
    """Log a submission that is, or may be, paid for and that is not collected."""
    known = f"the key '{submission.key}', generation {submission.any_id or 'not known'}"

    def cost(words: str) -> str:
        return "" if bills_nothing(submission.gateway) else f"{words} ({amount(submission.price, unit)})"

    if RULES[submission.state].waits:
        report = f"Still running at the gateway{cost(', still billed')}: {known}."
    elif submission.state is Stage.SUCCEEDED and missing:
        report = f"Finished{cost(' and paid for')}, but not stored yet: {known}."
    elif RULES[submission.state].unsettled:
        report = f"Its outcome is '{submission.state}'{cost(', perhaps billed')}: {known}."
    else:
        return
    log.warning("%s To collect it: `songflow rescue`, the flow rescue-songs, or a run with that key.", report)


async def library_of_run(parameters: dict[str, Any]) -> LibrarySettings:
    """The library that a flow run's stored parameters name, else the environment's.

    Prefect stores a block chosen in its UI as a reference, a loaded block as its fields and id, and secrets as stars.
    The ledger URL of an unsaved block is therefore taken from the environment.
    """
    given = parameters.get("library")
    if isinstance(given, dict):
        reference = given.get("$ref")
        block_id = reference.get("block_document_id") if isinstance(reference, dict) else reference
        block_id = block_id or given.get("_block_document_id")
        given = await _saved(block_id) if block_id else _unsaved(given)
    return given.get_settings() if isinstance(given, SongLibrary) else LibrarySettings.from_environment()


async def _saved(block_id: Any) -> Block:
    async with get_client() as client:
        return Block._from_block_document(await client.read_block_document(block_id))


def _unsaved(stored: dict[str, Any]) -> SongLibrary:
    fields = {name: value for name, value in stored.items() if name in SongLibrary.model_fields}
    if fields.get("ledger_url"):
        url = LibrarySettings.from_environment().ledger_url
        fields["ledger_url"] = SecretStr(url) if url else None
    return SongLibrary(**fields)
