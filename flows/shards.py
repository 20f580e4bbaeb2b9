"""Run shards on other machines: each as a run of a deployment, started again if its process dies.

The idempotency key consists of the root run, the shard and the attempt. A parent that is retried finds the runs it has
started, waits for those still active and starts the next attempt of those that ended. A run that a person cancelled, or
whose parameters are invalid, is not started again and stops the sweep. Even a shard that runs twice pays for no cell
twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import httpx
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
from flows.kept import refuse_large
from songflow.errors import InputError, Unsettled
from songflow.parameters import EnvironmentAccount, Waiting
from songflow.runtime.concurrency import one_error
from songflow.runtime.retry import Backoff, retry
from songflow.sweeps.cells import Cell
from songflow.sweeps.shards import packed
from songflow.sweeps.tally import SweepResult

__all__ = ["Shards", "shard_completed", "shard_parameters", "shard_rejected"]

log = logging.getLogger(f"songflow.{__name__}")

ATTEMPTS = 5
POLL_SECONDS = 2.0
_BEGINS_SECONDS = 120.0
_OUTAGE = Backoff(first=1.0, longest=15.0, within=900.0)
_T = TypeVar("_T")

# A parent sees only the message of a run's final state: results stay on their machine, and a state with a name of our
# own would be invisible to automations.
_EXIT = "Exit code {code}."
_STOPPED = " Stopped: {reason}"
_PROCESSED = re.compile(r"Exit code (?P<code>\d)\.(?: Stopped: (?P<reason>.*))?", re.DOTALL)
_BAD_INPUT = "Bad input: "


def shard_completed(result: SweepResult) -> State[SweepResult]:
    """The final state of a shard whose cells were all tried; its message carries the exit code to the sweep."""
    code = _EXIT.format(code=result.exit_code) if result.exit_code or result.stopped else ""
    stopped = _STOPPED.format(reason=result.stopped) if result.stopped else ""
    return Completed(message=f"{code}{stopped}", data=result)


def shard_rejected(error: InputError) -> State[SweepResult]:
    """The final state of a shard with invalid parameters; another attempt would fail in the same way."""
    return Failed(message=f"{_BAD_INPUT}{error}", data=error)


class Shards:
    """Runs shards as runs of a deployment, several at once; they share the sweep's concurrency."""

    def __init__(
        self, deployment: str, root: str, common: dict[str, Any], at_once: int, concurrency: int
    ) -> None:
        self._deployment = deployment
        self._root = root
        self._common = common
        self._at_once = at_once
        self._concurrency = concurrency
        self.stopped: str | None = None
        """The reason why no more cells were started, or None."""
        self.codes: set[int] = set()
        """The exit codes other than 0 of shards that ended or were stopped."""

    async def run(self, shards: Sequence[Sequence[Cell]]) -> None:
        """Run every shard; once the sweep is stopped, no further shard is started.

        Raises:
            InputError: there is no such deployment, or Prefect would not take a shard's parameters.
        """
        for number, cells in enumerate(shards, start=1):
            if len(cells) == 1:  # several cells are divided before they are too long
                refuse_large({**self._common, "cells": packed(cells)}, f"shard {number}, one cell,")
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
        """Start attempts one after the other until one ends regularly."""
        parameters = {**self._common, "cells": packed(cells), "name": name, "concurrency": concurrency}
        # A root run may make several sweeps: a shard is its cells, not its number.
        shard = hashlib.sha256("\n".join(cell.own_key or cell.key for cell in cells).encode()).hexdigest()[
            :16
        ]
        done, earlier = await self._earlier(shard)
        if earlier is not None:
            log.info("%s was started by an earlier attempt of this run (flow run %s).", name, earlier.id)
        for attempt in range(done + 1, done + 1 + ATTEMPTS):
            run = earlier or await self._started(name, parameters, self._key(shard, attempt))
            earlier = None
            if await self._is_done(name, await _ended(name, run)):
                return
            if self.stopped is not None:
                log.warning("%s is not started again: %s", name, self.stopped)
                return
        self._stop(f"{name} has crashed or failed {ATTEMPTS} times: see its runs", Unsettled.exit_code)

    async def _started(self, name: str, parameters: dict[str, Any], key: str) -> FlowRun:
        run: FlowRun = await _outlasting(
            lambda: arun_deployment(
                self._deployment, parameters=parameters, flow_run_name=name, idempotency_key=key, timeout=0
            )
        )
        return run

    def _key(self, shard: str, attempt: int) -> str:
        return f"{self._root}:{shard}:{attempt}"

    async def _earlier(self, shard: str) -> tuple[int, FlowRun | None]:
        """The number of earlier attempts that ended, and the one that is active or was cancelled by a person."""
        attempt = 1
        while True:
            found = await _outlasting(partial(_with_key, self._key(shard, attempt)))
            if not found or not _is_final(found[0]) or await _was_cancelled(found[0]):
                return attempt - 1, found[0] if found else None
            attempt += 1

    async def _is_done(self, name: str, run: FlowRun) -> bool:
        """Record how a run ended; False if another attempt may succeed."""
        state = run.state
        assert state is not None, "it has ended"
        message = state.message or ""
        if state.is_completed():
            if (found := _PROCESSED.fullmatch(message)) is not None:
                self.codes |= {int(found["code"])} - {0}
                self.stopped = self.stopped or found["reason"]
            return True
        if await _was_cancelled(run):
            self._stop(
                f"{name} was cancelled (flow run {run.id}); its generations at the gateway are still billed, and a new "
                "run of the sweep collects them",
                Unsettled.exit_code,
            )
            return True
        # A run that failed before it started has parameters that the flow does not accept.
        if state.is_failed() and (message.startswith(_BAD_INPUT) or not run.run_count):
            self._stop(f"{name} cannot run (flow run {run.id}): {message}", InputError.exit_code)
            return True
        log.warning("%s has ended as %s (flow run %s): %s", name, state.name, run.id, message)
        return False

    def _stop(self, reason: str, code: int) -> None:
        self.stopped = self.stopped or reason
        self.codes.add(code)
        log.warning("No more shards are started: %s", reason)


def _is_final(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_final()


async def _was_cancelled(run: FlowRun) -> bool:
    """True if a person cancelled a run that has ended.

    Its process may first have recorded it as crashed, which the runner corrects only later.
    """
    if run.state is not None and run.state.is_completed():
        return False
    for state in sorted(
        await _outlasting(partial(_states_of, run)), key=lambda one: one.timestamp, reverse=True
    ):
        if state.is_cancelling() or state.is_cancelled():
            return True
        if state.is_running():
            break  # earlier states belong to an attempt that was retried
    return False


async def _ended(name: str, run: FlowRun) -> FlowRun:
    """Wait for a run to end; say so once if it does not begin."""
    late: float | None = time.monotonic() + _BEGINS_SECONDS
    while not _is_final(run):
        await asyncio.sleep(POLL_SECONDS)
        run = await _outlasting(partial(_read, run))
        if late is not None and time.monotonic() > late:
            late = None
            if not run.run_count:
                log.warning(
                    "%s has not begun yet (flow run %s): is a worker online, and has the work pool room for it? "
                    "The sweep itself takes one place.",
                    name,
                    run.id,
                )
    return run


async def _read(run: FlowRun) -> FlowRun:
    async with get_client() as client:
        return await client.read_flow_run(run.id)


async def _states_of(run: FlowRun) -> list[State[Any]]:
    async with get_client() as client:
        return await client.read_flow_run_states(run.id)


async def _with_key(key: str) -> list[FlowRun]:
    async with get_client() as client:
        chosen = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
        return await client.read_flow_runs(flow_run_filter=chosen)


async def _outlasting(ask: Callable[[], Awaitable[_T]]) -> _T:
    """Ask Prefect's server, through an outage of some minutes; what is asked may be repeated."""
    return await retry(ask, on=Exception, when=_is_outage, backoff=_OUTAGE)


def _is_outage(error: Exception) -> bool:
    if isinstance(error, httpx.HTTPStatusError):  # Prefect's error, too
        return error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)


async def shard_parameters(
    credentials: Any,
    library: SongLibrary | None,
    account: EnvironmentAccount | None,
    waiting: Waiting | None,
    safety: SweepSafety,
    **plain: Any,
) -> dict[str, Any]:
    """The parameters that all shards share, as JSON: blocks as references, and no secrets.

    Raises:
        InputError: a block holds a secret and is not saved.
    """
    given = {
        **plain,
        **{
            name: group.model_dump(exclude_none=True)
            for name, group in (("account", account), ("waiting", waiting))
            if group is not None
        },
        "safety": {
            **safety.model_dump(exclude={"fallbacks"}, exclude_none=True),
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
            f"A shard deployment needs {called} as a saved block: an unsaved one cannot be sent to other machines.",
            next="save it under Blocks, or name a gateway whose key is in the workers' environment; nothing was sent.",
        )
    return {"$ref": {"block_document_id": str(block._block_document_id)}}
