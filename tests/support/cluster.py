"""A cluster for tests, started as `python -m deployments.cluster` does, with queries and faults."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from support.databases import POSTGRES, SERVICES_REQUIRED, execute
from support.prefect_server import CALM

from deployments.cluster import Cluster, Plan
from deployments.processes import free_port
from songflow.ledger.rows import Song, Submission
from songflow.ledger.states import State
from songflow.library.library import Library
from songflow.settings import LibrarySettings

PATIENCE = 400.0
"""How long (s) anything may take: 30 s on a quiet machine are minutes on a slow one that has other tests to run."""

# Shorter intervals than in production where a test waits for it, and longer ones where none does; nothing else differs.
QUICK = {
    **CALM,
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_REDIS_MESSAGING_PUBLISHER_BATCH_SIZE": "1",
}


@dataclass(frozen=True)
class Team:
    """A running cluster, seen from outside."""

    cluster: Cluster

    @property
    def library(self) -> LibrarySettings:
        """The settings of its workers' library."""
        return LibrarySettings(self.cluster.plan.library, ledger_url=self.cluster.plan.database("ledger"))

    async def run(self, deployment: str, **parameters: Any) -> UUID:
        """A new run of a deployment."""
        async with get_client() as client:
            found = await client.read_deployment_by_name(deployment)
            return (await client.create_flow_run_from_deployment(found.id, parameters=parameters)).id

    async def state(self, run: UUID) -> FlowRun:
        """Read a run."""
        async with get_client() as client:
            return await client.read_flow_run(run)

    async def reached(self, run: UUID, *names: str) -> FlowRun:
        """Wait until a run is in one of these states (by default any final one)."""
        async with asyncio.timeout(PATIENCE), get_client() as client:
            while True:
                found = await _patiently(client, run)
                state = found.state if found else None
                if state is not None and (state.name in names if names else state.is_final()):
                    return found
                await asyncio.sleep(0.5)

    async def ledger(self, run: UUID) -> tuple[list[Submission], list[Song]]:
        """The ledger's submissions and songs of a run."""
        async with Library(self.library) as library:
            submissions = await library.ledger.submissions.of_flow_run(str(run))
            songs = [song for one in submissions for song in await library.ledger.songs.of_submission(one.id)]
        return submissions, songs

    async def accepted(self, run: UUID) -> Submission:
        """Wait until the gateway has accepted a run's request."""
        async with asyncio.timeout(PATIENCE):
            while True:
                submissions, _songs = await self.ledger(run)
                if submissions and submissions[0].any_id:
                    return submissions[0]
                await asyncio.sleep(0.5)

    async def busy_shard(self, cells: int) -> UUID:
        """Wait for a shard of a sweep that has paid for all its cells and polls them."""
        async with asyncio.timeout(PATIENCE), get_client() as client:
            while True:
                for run in await client.read_flow_runs(
                    flow_filter=FlowFilter(name=FlowFilterName(any_=["sweep-shard"])), limit=200
                ):
                    if run.state is not None and run.state.name == "Running":
                        submissions, _songs = await self.ledger(run.id)
                        if len(submissions) == cells and all(one.any_id for one in submissions):
                            return run.id
                await asyncio.sleep(0.5)

    async def songs_of(self, base_url: str) -> list[Song]:
        """Every take of a gateway in the ledger."""
        async with Library(self.library) as library:
            ledger = library.ledger
            submissions = await ledger.submissions.in_states(list(State))
            return [
                song
                for one in submissions
                if one.base_url == base_url
                for song in await ledger.songs.of_submission(one.id)
            ]

    async def kill_flow(self, run: UUID) -> None:
        """Send SIGKILL to the process that executes a run."""
        pid = (await self.reached(run, "Running")).infrastructure_pid
        assert pid, "a worker notes where it runs a flow"
        os.kill(int(pid.rpartition(":")[2]), signal.SIGKILL)

    async def cut_connections(self) -> int:
        """End every connection to both databases, as a restart of PostgreSQL does; returns their number."""
        connection = await asyncpg.connect(POSTGRES, timeout=10)
        try:
            rows = await connection.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY($1::text[])",
                [f"{self.cluster.plan.name}_{part}" for part in ("prefect", "ledger")],
            )
        finally:
            await connection.close()
        return len(rows)

    async def rescued(self) -> FlowRun:
        """Run the deployment `rescue` to its end."""
        return await self.reached(await self.run("rescue-songs/rescue", deadline=60.0))


async def _patiently(client: PrefectClient, run: UUID) -> FlowRun | None:
    """None while the server is away."""
    try:
        return await client.read_flow_run(run)
    except (httpx.HTTPError, RuntimeError):
        return None


async def _drop(name: str) -> None:
    for part in ("prefect", "ledger"):
        await execute(POSTGRES, f'DROP DATABASE IF EXISTS "{name}_{part}" WITH (FORCE)')


def _unusable() -> str | None:
    """The reason why no cluster can run on this machine, or None."""
    import shutil

    async def connect() -> None:
        await (await asyncpg.connect(POSTGRES, timeout=10)).close()

    if shutil.which("redis-server") is None:
        return "there is no redis-server"
    try:
        asyncio.run(connect())
    except (OSError, asyncpg.PostgresError) as error:
        return f"PostgreSQL cannot be used at SONGFLOW_TEST_POSTGRES ({type(error).__name__})"
    return None


@contextmanager
def running_team(folder: Path) -> Iterator[Team]:
    """Three workers with PostgreSQL and Redis; everything is removed at the end."""
    if reason := _unusable():
        if SERVICES_REQUIRED:
            pytest.fail(f"{reason}, and SONGFLOW_REQUIRE_SERVICES=1")
        pytest.skip(reason)
    name = f"songflow_test_{uuid.uuid4().hex[:8]}"
    plan = Plan(folder, POSTGRES, name=name, port=free_port(), workers=3, more=QUICK)
    try:
        with Cluster(plan) as cluster:
            chosen = {PREFECT_API_URL: plan.api_url, PREFECT_HOME: folder / "tests"}
            with temporary_settings(chosen):
                yield Team(cluster)
    finally:
        with suppress(OSError):
            asyncio.run(_drop(name))
