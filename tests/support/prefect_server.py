"""A real Prefect server for each test process, and the requests that tests make to it.

Its database is PostgreSQL where there is one: on SQLite, parallel flows meet "database is locked", after which
Prefect's client waits about two seconds. One test runs on SQLite (tests/flows/test_on_sqlite.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterName,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.events.worker import EventsWorker
from prefect.exceptions import ObjectNotFound
from prefect.logging.handlers import APILogWorker
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_LOGGING_TO_API_BATCH_INTERVAL,
    temporary_settings,
)
from prefect.states import Cancelling
from sqlalchemy import make_url
from support import databases

from deployments.processes import Group, free_port

_LOG_SECONDS = 90.0

# What a server does every few seconds and no test waits for takes 1 % of a core in each server as long as it runs; to
# write each event of a task run by itself takes a quarter of a server's CPU.
CALM = {
    **{
        f"PREFECT_SERVER_SERVICES_{name}_LOOP_SECONDS": "300"
        for name in (
            "CLEANUP_RECONCILER",
            "FOREMAN",
            "LATE_RUNS",
            "PAUSE_EXPIRATIONS",
            "SCHEDULER",
            "SCHEDULER_RECENT_DEPLOYMENTS",
        )
    },
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "1000",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "2",
}


@dataclass(frozen=True)
class PrefectServer:
    """A running server: its API, its folder, and its database where that is PostgreSQL."""

    url: str
    home: Path
    database: str | None = None

    @property
    def ui(self) -> str:
        """The address of its user interface."""
        return self.url.removesuffix("/api")

    async def artifacts(self, flow_run_id: object, kind: str | None = None) -> list[str]:
        """The data of a flow run's artifacts, as text."""
        async with get_client() as client:
            found = await client.read_artifacts(
                artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[_uuid(flow_run_id)]))
            )
        return [str(one.data) for one in found if kind in (None, one.type)]

    async def logs(self, flow_run_id: object, until: str = "") -> str:
        """The log of a flow run, with all lines of this process; waits for `until` from another one."""
        drained = APILogWorker.drain_all()
        if drained is not None and not isinstance(drained, tuple):
            await drained
        end = time.monotonic() + _LOG_SECONDS
        while True:
            log = await self._logs(flow_run_id)
            if until in log or time.monotonic() > end:
                return log
            await asyncio.sleep(0.2)

    async def _logs(self, flow_run_id: object) -> str:
        lines: list[str] = []
        async with get_client() as client:
            while True:
                page = await client.read_logs(
                    LogFilter(flow_run_id=LogFilterFlowRunId(any_=[_uuid(flow_run_id)])),
                    limit=200,
                    offset=len(lines),
                )
                lines += [one.message for one in page]
                if len(page) < 200:
                    return "\n".join(lines)

    async def events(self, name: str, resource: str) -> list[dict[str, Any]]:
        """Wait for events of a name about a resource: they arrive independently of states."""
        asked = {"event": {"name": [name]}, "resource": {"id": [resource]}}
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(_LOG_SECONDS):
            while True:
                answer = await client.post(f"{self.url}/events/filter", json={"filter": asked})
                found: list[dict[str, Any]] = answer.raise_for_status().json()["events"]
                if found:
                    return found
                await asyncio.sleep(0.2)

    async def task_runs(self, flow_run_id: object, number: int) -> list[str]:
        """Wait for a number of task runs, which the server takes from events; returns their names."""
        asked = FlowRunFilter(id=FlowRunFilterId(any_=[_uuid(flow_run_id)]))
        async with get_client() as client, asyncio.timeout(_LOG_SECONDS):
            while True:
                found = await client.read_task_runs(flow_run_filter=asked)
                if len(found) >= number:
                    return sorted(one.name for one in found)
                await asyncio.sleep(0.2)

    async def flow_runs(self, name: str) -> list[FlowRun]:
        """The flow runs of a name."""
        async with get_client() as client:
            return await client.read_flow_runs(
                flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name]))
            )

    async def flow_run(self, flow_run_id: object) -> FlowRun:
        """Read a flow run."""
        async with get_client() as client:
            return await client.read_flow_run(_uuid(flow_run_id))

    async def states(self, flow_run_id: object) -> list[str]:
        """The names of a flow run's states, first to last."""
        async with get_client() as client:
            states = await client.read_flow_run_states(_uuid(flow_run_id))
        return [str(state.name) for state in sorted(states, key=lambda one: one.timestamp)]

    async def start(self, deployment: str, parameters: dict[str, Any]) -> UUID:
        """Start a flow run of a deployment, which may not exist yet."""
        async with get_client() as client, asyncio.timeout(180):
            while True:
                with contextlib.suppress(ObjectNotFound):
                    found = await client.read_deployment_by_name(deployment)
                    run = await client.create_flow_run_from_deployment(found.id, parameters=parameters)
                    return run.id
                await asyncio.sleep(0.2)

    async def cancel(self, flow_run_id: UUID) -> None:
        """Cancel a flow run, as Prefect's UI does."""
        async with get_client() as client:
            await client.set_flow_run_state(flow_run_id, Cancelling())

    def dump(self) -> str:
        """The whole database as text, and every other file of the server's folder."""
        files = [path for path in self.home.rglob("*") if path.is_file()]
        if self.database is not None:
            texts = [databases.dump(self.database)]
        else:
            database = next(self.home.glob("*.db"))
            files = [path for path in files if not path.name.startswith(database.name)]
            with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
                texts = list(connection.iterdump())
        return "\n".join([*texts, *(path.read_bytes().decode("latin-1") for path in files)])


def _uuid(value: object) -> UUID:
    return value if isinstance(value, UUID) else UUID(str(value))


@contextlib.contextmanager
def serving(*, ui: bool = False, database: str | None = None) -> Iterator[PrefectServer]:
    """A running Prefect server with a folder of its own; on SQLite unless a PostgreSQL database is named."""
    with tempfile.TemporaryDirectory(prefix="songflow-prefect-", ignore_cleanup_errors=True) as folder:
        home, port = Path(folder), free_port()
        url = f"http://127.0.0.1:{port}/api"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_ENABLED": str(ui).lower(),
            "PREFECT_SERVER_UI_API_URL": url,
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            # Automations are tested where the user interface is.
            "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": str(ui).lower(),
            **CALM,
        }
        if database is not None:
            driver = make_url(database).set(drivername="postgresql+asyncpg")
            environment["PREFECT_API_DATABASE_CONNECTION_URL"] = driver.render_as_string(hide_password=False)
        processes = Group(home, environment)
        try:
            processes.start_prefect_server(port)
            yield PrefectServer(url, home, database)
        finally:
            # What this process has not sent by now, Prefect would try to send to a server that is gone, for a minute.
            for worker in (APILogWorker, EventsWorker):
                worker.drain_all(timeout=10)
            processes.stop("server")


@cache
def _start(config: pytest.Config, ui: bool) -> PrefectServer:
    """Start the test process's server for whichever conftest asks first; it ends with the session."""
    exits = contextlib.ExitStack()
    config.add_cleanup(exits.close)
    database = None
    try:
        database = databases.create_database()
    except (OSError, asyncpg.PostgresError):
        if databases.SERVICES_REQUIRED:
            raise
    else:
        exits.callback(databases.drop_database, database)
    return exits.enter_context(serving(ui=ui, database=database))


@pytest.fixture(scope="session")
def running_prefect_server(request: pytest.FixtureRequest) -> PrefectServer:
    """The test process's server; with its user interface where tests look at it."""
    ui = any(item.get_closest_marker("browser") for item in request.session.items)
    return _start(request.config, ui)


@contextlib.contextmanager
def talking_to(server: PrefectServer, home: Path) -> Iterator[PrefectServer]:
    """Have Prefect in this process talk to a server, with a home folder of its own."""
    with temporary_settings(
        {
            PREFECT_API_URL: server.url,
            PREFECT_HOME: home,
            PREFECT_LOGGING_TO_API_BATCH_INTERVAL: 0.5,
        }
    ):
        yield server


@pytest.fixture
def prefect_server(running_prefect_server: PrefectServer, tmp_path: Path) -> Iterator[PrefectServer]:
    """The test process's server, as the one that Prefect talks to during this test."""
    with talking_to(running_prefect_server, tmp_path / "prefect"):
        yield running_prefect_server
