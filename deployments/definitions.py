"""Read the deployments from `prefect.yaml`, the file that `prefect deploy` reads as well.

It is the only list of deployments. `songflow doctor` uses it as plain data, and `deployments.serve` serves it.
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
"""Interval of the heartbeats of a flow run; the shortest that Prefect's engine accepts."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One deployment, as `prefect.yaml` describes it."""

    name: str
    entrypoint: str
    fields: dict[str, Any]

    @property
    def full_name(self) -> str:
        """`flow/deployment`, the name in Prefect; imports the flow."""
        return f"{load_flow_from_entrypoint(self.entrypoint).name}/{self.name}"

    def served(self) -> RunnerDeployment:
        """This deployment for a process that serves it without a work pool."""
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
    """All deployments of the file, in its order."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [Definition(one["name"], one["entrypoint"], one) for one in document["deployments"]]


def served() -> list[RunnerDeployment]:
    """All deployments, for a process that serves them."""
    return [definition.served() for definition in definitions()]


def _schedule(fields: dict[str, Any]) -> Schedule:
    interval = fields.get("interval")
    return Schedule(**{**fields, "interval": None if interval is None else timedelta(seconds=interval)})
