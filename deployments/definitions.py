"""What is deployed: `prefect.yaml` beside this file, which `prefect deploy` reads as well.

There is one list of deployments, and it is that file. Here it becomes plain data, for `songflow doctor`, and
deployments that one process can serve.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.flows import load_flow_from_entrypoint
from prefect.schedules import Schedule

__all__ = ["HEARTBEAT_SECONDS", "PREFECT_FILE", "WORK_POOL", "Definition", "definitions", "served"]

PREFECT_FILE = Path(__file__).with_name("prefect.yaml")
WORK_POOL = "songflow"
HEARTBEAT_SECONDS = 30
"""How often a flow run says that it is alive; Prefect's engine takes nothing shorter."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One deployment, as `prefect.yaml` describes it."""

    name: str
    entrypoint: str
    fields: dict[str, Any]

    @property
    def full_name(self) -> str:
        """`flow/deployment`, as Prefect names it (the flow is imported for that)."""
        return f"{load_flow_from_entrypoint(self.entrypoint).name}/{self.name}"

    def served(self) -> RunnerDeployment:
        """The same deployment for a process that serves it, without a work pool."""
        limit = self.fields.get("concurrency_limit")
        deployment: RunnerDeployment = RunnerDeployment.from_entrypoint(
            self.entrypoint,
            self.name,
            description=self.fields.get("description")
            or load_flow_from_entrypoint(self.entrypoint).description,
            version=str(self.fields["version"]),
            tags=self.fields["tags"],
            parameters=self.fields.get("parameters"),
            schedules=[_schedule(one) for one in self.fields.get("schedules", ())],
            concurrency_limit=ConcurrencyLimitConfig(**limit) if limit else None,
            triggers=[DeploymentEventTrigger(**one) for one in self.fields.get("triggers", ())],
        )
        return deployment


def definitions(path: Path = PREFECT_FILE) -> list[Definition]:
    """Every deployment of the file, in its order."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [Definition(one["name"], one["entrypoint"], one) for one in document["deployments"]]


def served() -> list[RunnerDeployment]:
    """Every deployment, ready to be served."""
    return [definition.served() for definition in definitions()]


def _schedule(fields: dict[str, Any]) -> Schedule:
    interval = fields.get("interval")
    return Schedule(**{**fields, "interval": None if interval is None else timedelta(seconds=interval)})
