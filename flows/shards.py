"""Shards on other machines: a run of a deployment for each, started again where its process died.

The idempotency key is the root run, the shard and the try. A parent that is run again finds the runs that it has
started: it waits for one that still lives, and starts the next try where one has ended. What a person has cancelled, or
what no try can read, is not started again: it stops the sweep. Whatever is started twice, no cell is paid twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Sequence
from typing import Any

from prefect import State
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import FlowRun
from prefect.deployments.flow_runs import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Failed

from blocks.library import SongLibrary
from flows.fields import SweepSafety
from songflow.errors import InputError, Unsettled
from songflow.parameters import EnvironmentAccount, Waiting
from songflow.runtime.concurrency import one_error
from songflow.sweeps.cells import Cell
from songflow.sweeps.shards import packed
from songflow.sweeps.tally import SweepResult

__all__ = ["Shards", "cannot_be_read", "shard_parameters", "worked_off"]

log = logging.getLogger(f"songflow.{__name__}")

TRIES = 5
POLL_SECONDS = 2.0

# A message is all of a run's end that reaches its parent: results stay on their machine, and another name than
# Prefect's own would hide the end from automations.
_EXIT = "Exit code {code}."
_STOPPED = " Stopped: {reason}"
_WORKED_OFF = re.compile(r"Exit code (?P<code>\d)\.(?: Stopped: (?P<reason>.*))?", re.DOTALL)
_BAD_INPUT = "Bad input: "


def worked_off(result: SweepResult) -> State[SweepResult]:
    """The end of a shard's run that has done what could be done; its message tells the sweep what that came to."""
    told = _EXIT.format(code=result.exit_code) if result.exit_code or result.stopped else ""
    stopped = _STOPPED.format(reason=result.stopped) if result.stopped else ""
    return Completed(message=f"{told}{stopped}", data=result)


def cannot_be_read(error: InputError) -> State[SweepResult]:
    """The end of a shard's run whose parameters are wrong: another try would end in the same way."""
    return Failed(message=f"{_BAD_INPUT}{error}", data=error)


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
        self.stopped: str | None = None
        """Why no more cells were started, where not all were."""
        self.codes: set[int] = set()
        """What shards have ended with, and what stopped them, as exit codes other than 0."""

    async def run(self, shards: Sequence[Sequence[Cell]]) -> None:
        """Bring every shard to its end; once the sweep is stopped, no other one is started.

        Raises:
            InputError: there is no such deployment.
        """
        await self._check()
        at_once = min(self._at_once, len(shards), self._concurrency)
        share = max(1, self._concurrency // at_once)
        turns = asyncio.Semaphore(at_once)

        async def one(number: int, cells: Sequence[Cell]) -> None:
            async with turns:
                if self.stopped is None:
                    await self._until_ended(f"shard {number} of {len(shards)}", cells, share)

        with one_error():
            async with asyncio.TaskGroup() as group:
                for number, cells in enumerate(shards, start=1):
                    group.create_task(one(number, cells))

    async def _check(self) -> None:
        async with get_client() as client:
            try:
                await client.read_deployment_by_name(self._deployment)
            except (ObjectNotFound, ValueError):
                raise InputError(
                    f"There is no deployment {self._deployment!r}.",
                    next="name one of the flow sweep-shard, as flow/deployment; nothing was sent.",
                ) from None

    async def _until_ended(self, name: str, cells: Sequence[Cell], concurrency: int) -> None:
        """One try after the other, as long as their processes die."""
        parameters = {**self._common, "cells": packed(cells), "name": name, "concurrency": concurrency}
        # A root run may make several sweeps: a shard is its cells, not its number.
        shard = hashlib.sha256("\n".join(cell.key for cell in cells).encode()).hexdigest()[:16]
        done, earlier = await self._earlier(shard)
        if earlier is not None:
            log.info("%s was started by an earlier try of this run (flow run %s).", name, earlier.id)
        for attempt in range(done + 1, done + 1 + TRIES):
            run = earlier or await arun_deployment(
                self._deployment,
                parameters=parameters,
                flow_run_name=name,
                idempotency_key=self._key(shard, attempt),
                timeout=0,
            )
            earlier = None
            if await self._is_done(name, await _ended(run)):
                return
            if self.stopped is not None:
                log.warning("%s is not started again: %s", name, self.stopped)
                return
        self._stop(f"{name} has ended badly {TRIES} times: look into its runs", Unsettled.exit_code)

    def _key(self, shard: str, attempt: int) -> str:
        return f"{self._root}:{shard}:{attempt}"

    async def _earlier(self, shard: str) -> tuple[int, FlowRun | None]:
        """How many tries of this root run have ended before, and the one that lives, or that a person has cancelled."""
        attempt = 1
        async with get_client() as client:
            while True:
                key = FlowRunFilterIdempotencyKey(any_=[self._key(shard, attempt)])
                found = await client.read_flow_runs(flow_run_filter=FlowRunFilter(idempotency_key=key))
                if not found or not _is_final(found[0]) or await _was_cancelled(found[0]):
                    return attempt - 1, found[0] if found else None
                attempt += 1

    async def _is_done(self, name: str, run: FlowRun) -> bool:
        """Hear what a run has come to; False where another try may do better."""
        state = run.state
        assert state is not None, "it has ended"
        said = state.message or ""
        if state.is_completed():
            if (found := _WORKED_OFF.fullmatch(said)) is not None:
                self.codes |= {int(found["code"])} - {0}
                self.stopped = self.stopped or found["reason"]
            return True
        if await _was_cancelled(run):
            self._stop(
                f"{name} was cancelled (flow run {run.id}); what it has at the gateway is still billed, and a new run "
                "of the sweep goes on with it",
                Unsettled.exit_code,
            )
            return True
        # One that failed before it ever ran has parameters that the flow does not take.
        if state.is_failed() and (said.startswith(_BAD_INPUT) or not run.run_count):
            self._stop(f"{name} cannot be worked off (flow run {run.id}): {said}", InputError.exit_code)
            return True
        log.warning("%s has ended as %s (flow run %s): %s", name, state.name, run.id, said)
        return False

    def _stop(self, reason: str, code: int) -> None:
        self.stopped = self.stopped or reason
        self.codes.add(code)
        log.warning("No more shards are started: %s", reason)


def _is_final(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


async def _was_cancelled(run: FlowRun) -> bool:
    """A person has cancelled a run that has ended.

    Its process may have ended it as crashed meanwhile, which the runner sets right only after a while.
    """
    if run.state is not None and run.state.is_completed():
        return False
    async with get_client() as client:
        states = await client.read_flow_run_states(run.id)
    for state in sorted(states, key=lambda one: one.timestamp, reverse=True):
        if state.is_cancelling() or state.is_cancelled():
            return True
        if state.is_running():
            break  # what was before has been retried since
    return False


async def _ended(run: FlowRun) -> FlowRun:
    """A run, when it has ended."""
    async with get_client() as client:
        while not _is_final(run):
            await asyncio.sleep(POLL_SECONDS)
            run = await client.read_flow_run(run.id)
    return run


async def shard_parameters(
    credentials: Any,
    library: SongLibrary | None,
    account: EnvironmentAccount | None,
    waiting: Waiting | None,
    safety: SweepSafety,
    **plain: Any,
) -> dict[str, Any]:
    """The parameters that all shards share, in JSON: blocks as references, secrets never.

    Raises:
        InputError: a block holds a secret and is not saved.
    """
    given = {
        **plain,
        "account": None if account is None else account.model_dump(),
        "waiting": None if waiting is None else waiting.model_dump(),
        "safety": {
            **safety.model_dump(exclude={"fallbacks"}),
            "fallbacks": [_reference(block, "the fallbacks") for block in safety.fallbacks],
        },
    }
    if credentials is not None:
        given["credentials"] = _reference(credentials, "the credentials")
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
