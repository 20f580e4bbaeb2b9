"""Run the cluster of `compose.yaml` as plain processes, without containers: `python -m deployments.cluster`.

    simulator (optional)    a gateway that costs nothing
    Prefect server          on PostgreSQL, with its events in Redis
    setup, deployments      `songflow setup` and `prefect deploy --all`, once
    workers                 of the pool `songflow`, with the ledger on PostgreSQL and songs in one folder

PostgreSQL must be running; two databases are created in it. A Redis server is started unless one is given.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg
from sqlalchemy import make_url

from deployments.definitions import PREFECT_FILE, WORK_POOL
from deployments.processes import Group, free_port, prefect_command
from songflow.errors import InputError, SongflowError
from songflow.gateways import key_variables
from songflow.gateways.dialects import address_variables
from songflow.settings import inherited
from songflow.simulator import SimulatorServer, SimulatorSettings

__all__ = ["Cluster", "Plan", "main"]

_START_SECONDS = 180.0
# The cluster inherits only what a process needs, and nothing of this machine's own configuration.
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE")


@dataclass(frozen=True, slots=True)
class Plan:
    """Configuration of a cluster.

    Attributes:
        folder: For logs, songs and Prefect's own files.
        postgres: A PostgreSQL URL whose user may create databases.
        redis: A Redis URL (None: start a server).
        name: The databases are `<name>_prefect` and `<name>_ledger`.
        port: For Prefect's API and UI.
        workers: Number of workers.
        more: Further environment variables of every process.
    """

    folder: Path
    postgres: str
    redis: str | None = None
    name: str = "songflow"
    port: int = 4200
    workers: int = 3
    more: dict[str, str] = field(default_factory=dict)

    @property
    def api_url(self) -> str:
        """URL of Prefect's API."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def library(self) -> Path:
        """Folder of the songs."""
        return self.folder / "songs"

    def database(self, part: str, driver: str = "postgresql") -> str:
        """The URL of one of the two databases."""
        url = make_url(self.postgres).set(drivername=driver, database=f"{self.name}_{part}")
        return url.render_as_string(hide_password=False)

    def environment(self) -> dict[str, str]:
        """Environment of every process of the cluster."""
        return {
            **inherited((*_PASSED_ON, *key_variables(), *address_variables())),
            "PREFECT_API_URL": self.api_url,
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "SONGFLOW_LIBRARY": str(self.library),
            "SONGFLOW_LEDGER_URL": self.database("ledger"),
            **self.more,
        }

    def server_environment(self, redis: str) -> dict[str, str]:
        """Settings with which several servers share events, leases and background work, in Redis."""
        return {
            "PREFECT_API_DATABASE_CONNECTION_URL": self.database("prefect", "postgresql+asyncpg"),
            "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
            "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
            "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
            "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE": "prefect_redis.cleanup_queue",
            "PREFECT_SERVER_DOCKET_URL": redis,
            "PREFECT_SERVER_DOCKET_NAME": self.name,
            "PREFECT_REDIS_MESSAGING_URL": redis,
            "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL": redis,
        }


class Cluster:
    """A running cluster; a context manager that starts all processes and ends them.

    Raises:
        SongflowError: on entry, if a process cannot be started; the others are stopped.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        plan.library.mkdir(parents=True, exist_ok=True)
        self.processes = Group(plan.folder, plan.environment())
        self._redis = plan.redis

    def __enter__(self) -> Self:
        try:
            asyncio.run(self._make_databases())
            self._start_redis()
            self.start_server()
            self.processes.run("setup", [sys.executable, "-m", "cli", "setup"])
            self.processes.run("deploy", deploy_command())
            for number in range(1, self.plan.workers + 1):
                self.start_worker(f"worker-{number}")
        except BaseException:
            self.processes.stop_all()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.processes.stop_all()

    def start_server(self) -> None:
        """Start or restart Prefect's server and wait until it is healthy."""
        assert self._redis is not None, "Redis is started first"
        self.processes.start_prefect_server(self.plan.port, more=self.plan.server_environment(self._redis))

    def start_worker(self, name: str) -> None:
        """Start one worker of the pool."""
        self.processes.start(name, prefect_command("worker", "start", "--pool", WORK_POOL, "--name", name))

    async def _make_databases(self) -> None:
        try:
            connection = await asyncpg.connect(self.plan.postgres, timeout=10)
        except (OSError, asyncpg.PostgresError) as error:
            raise InputError(
                f"PostgreSQL cannot be used ({type(error).__name__}).",
                next="start it, or name another with --postgres postgresql://user:password@host/postgres.",
            ) from None
        try:
            for part in ("prefect", "ledger"):
                with suppress(asyncpg.DuplicateDatabaseError):
                    await connection.execute(f'CREATE DATABASE "{self.plan.name}_{part}"')
        finally:
            await connection.close()

    def _start_redis(self) -> None:
        if self._redis is not None:
            return
        command = shutil.which("redis-server")
        if command is None:
            raise InputError(
                "There is no redis-server here.",
                next="install Redis, or name one: --redis redis://host:6379/0.",
            )
        port = free_port()
        options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        self.processes.start("redis", [command, *options])
        self._redis = f"redis://127.0.0.1:{port}/0"
        _await_port(port)


def deploy_command() -> list[str]:
    """The command that writes every deployment to the server."""
    return prefect_command("--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_FILE))


def _await_port(port: int) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise SongflowError(f"Nothing answers on port {port}.", next="see the logs of the cluster.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a cluster until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m deployments.cluster", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--folder", type=Path, default=Path("cluster"), help="logs and songs (default: ./cluster)"
    )
    parser.add_argument(
        "--postgres", default="postgresql://127.0.0.1:5432/postgres", help="a URL that may make databases"
    )
    parser.add_argument("--redis", help="a Redis URL (default: a server of its own)")
    parser.add_argument("--name", default="songflow", help="prefix of the databases")
    parser.add_argument("--port", type=int, default=4200, help="Prefect's API and UI")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--no-simulator", action="store_true", help="no simulated gateway beside it")
    chosen = vars(parser.parse_args(arguments))
    simulated = not chosen.pop("no_simulator")
    plan = Plan(**{**chosen, "folder": chosen["folder"].resolve()})
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Cluster(plan) as cluster:
            _run(cluster, simulated)
    except SongflowError as error:
        sys.stderr.write(f"cluster: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 0
    return 1


def _run(cluster: Cluster, simulated: bool) -> None:
    """Print the addresses, then wait until one of the processes ends."""
    folder = cluster.plan.folder
    sys.stdout.write(f"Prefect: {cluster.plan.api_url.removesuffix('/api')}   logs and songs: {folder}\n")
    if simulated:
        gateway = SimulatorServer(SimulatorSettings(state_dir=folder / "gateway"))
        gateway.start()
        sys.stdout.write(f"Simulated gateway: {gateway.url}\n")
    sys.stdout.write("Ctrl-C ends it.\n")
    sys.stdout.flush()
    while all(map(cluster.processes.is_alive, list(cluster.processes.running))):
        time.sleep(1)
    dead = [name for name in cluster.processes.running if not cluster.processes.is_alive(name)]
    raise cluster.processes.failed(dead[0])


if __name__ == "__main__":
    sys.exit(main())
