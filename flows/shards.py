"""Shards on other machines: a run of a deployment for each, started again where its worker died.

The idempotency key is the root run, the shard and the try: a parent that is run again finds the runs that it has
started, and a try that ended badly is followed by another one. Whatever is started twice, no cell is paid twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments.flow_runs import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run as this_run

from blocks.library import SongLibrary
from songflow.errors import InputError, SongflowError
from songflow.sweeps.cells import Cell
from songflow.sweeps.run import one_error
from songflow.sweeps.shards import packed

__all__ = ["Shards", "shard_parameters"]

log = logging.getLogger("songflow.flows")

TRIES = 5
POLL_SECONDS = 2.0


class Shards:
    """Runs shards as runs of a deployment, some at once; their concurrency adds up to the sweep's."""

    def __init__(
        self, deployment: str, root: str, common: dict[str, Any], at_once: int, concurrency: int
    ) -> None:
        self._deployment = deployment
        self._root = root
        self._common = common
        self._at_once = at_once
        self._concurrency = concurrency
        self._stopped: str | None = None

    async def run(self, shards: Sequence[Sequence[Cell]]) -> str | None:
        """Bring every shard to its end; what returns is why no more cells were started, or None.

        Raises:
            InputError: there is no such deployment.
            SongflowError: a shard ended badly again and again.
        """
        await self._check()
        at_once = min(self._at_once, len(shards), self._concurrency)
        share = max(1, self._concurrency // at_once)
        turns = asyncio.Semaphore(at_once)

        async def one(number: int, cells: Sequence[Cell]) -> None:
            async with turns:
                if self._stopped is None:
                    await self._until_ended(number, len(shards), cells, share)

        with one_error():
            async with asyncio.TaskGroup() as group:
                for number, cells in enumerate(shards, start=1):
                    group.create_task(one(number, cells))
        return self._stopped

    async def _check(self) -> None:
        async with get_client() as client:
            try:
                await client.read_deployment_by_name(self._deployment)
            except (ObjectNotFound, ValueError):
                raise InputError(
                    f"There is no deployment {self._deployment!r}.",
                    next="name one of the flow sweep-shard, as flow/deployment; nothing was sent.",
                ) from None

    async def _until_ended(self, number: int, of: int, cells: Sequence[Cell], concurrency: int) -> None:
        name = f"shard {number} of {of}"
        parameters = {**self._common, "cells": packed(cells), "name": name, "concurrency": concurrency}
        for attempt in range(1, TRIES + 1):
            run: FlowRun = await arun_deployment(
                self._deployment,
                parameters=parameters,
                flow_run_name=name,
                idempotency_key=f"{self._root}:{number}:{this_run.run_count}:{attempt}",
                poll_interval=POLL_SECONDS,
            )
            state = run.state
            if state is not None and state.is_completed():
                self._stopped = self._stopped or state.message or None
                return
            what = state.name if state is not None else "unknown"
            log.warning("%s has ended as %s (flow run %s): starting it again.", name, what, run.id)
        raise SongflowError(
            f"{name} has ended badly {TRIES} times.",
            billed="maybe",
            next="look into its runs, then run the sweep again: it pays for no cell twice.",
        )


async def shard_parameters(
    credentials: Any, library: SongLibrary | None, fallbacks: Sequence[Any] | None, **plain: Any
) -> dict[str, Any]:
    """The parameters that all shards have, as they travel: blocks by their references, secrets never.

    Raises:
        InputError: a block holds a secret and is not saved.
    """
    given = {**plain}
    if credentials is not None:
        given["credentials"] = _reference(credentials, "the credentials")
    if fallbacks:
        given["fallbacks"] = [_reference(block, "the fallbacks") for block in fallbacks]
    if library is not None:
        saved = library._block_document_id is not None or library.ledger_url is not None
        given["library"] = (
            _reference(library, "the library, whose ledger URL is a secret,")
            if saved
            else library.model_dump(mode="json", exclude={"ledger_url"})
        )
    return given


def _reference(block: Block, called: str) -> dict[str, Any]:
    if block._block_document_id is None:
        raise InputError(
            f"A shard deployment needs {called} as a saved block: what is not saved cannot reach other machines.",
            next="save it under Blocks, or name a gateway whose key is in the workers' environment; nothing was sent.",
        )
    return {"$ref": {"block_document_id": str(block._block_document_id)}}
