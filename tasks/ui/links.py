"""Links of pages in Prefect's UI: to the same page in its V1 UI, and to forms that are filled in already.

A form takes its values from the query: `deployments/deployment/<id>/run?parameters=<JSON>`, in both of Prefect's UIs.
The links are relative, since only the browser knows the server's name: pages of artifacts and runs are two levels below
the UI's root. Accounts and libraries go into a link as saved blocks only, so nothing in it is secret.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound

from songflow.sweeps.shards import DEFAULT_SHARD_SIZE
from tasks.ui.pages import shown

__all__ = ["EXTEND", "NO_LINKS", "SWEEP", "FormLinks", "form_links", "page_in_v1", "run_in_v1"]

EXTEND, SWEEP = "extend-song/extend", "sweep/sweep"
_MORE = {
    "generate-song": "generate-song/generate",
    "extend-song": EXTEND,
    "make-song": "make-song/whole-song",
}
"""The deployment whose form makes more of what a flow has made."""

# Servers and proxies refuse much longer addresses.
_LONGEST = 6000
_BLOCKS = ("credentials", "library")
# A key or a seed would make the same song.
_OWN = ("safety", "seed")
_GROUPS = ("account", "waiting", "safety", "shards", "sound", "placement", "details")


def page_in_v1(key: str) -> str:
    """A link to an artifact in Prefect's V1 UI, relative to a page of the V2 UI such as `/v2/artifacts/artifact/ID`."""
    return f"../../../artifacts/key/{key}"


def run_in_v1(run_id: UUID) -> str:
    """A link to a flow run in Prefect's V1 UI, relative to a page of the V2 UI such as `/v2/runs/flow-run/ID`."""
    return f"../../../runs/flow-run/{run_id}"


@dataclass(frozen=True)
class FormLinks:
    """The forms that pages of the current run link to.

    Attributes:
        deployments: The deployments of this server that are linked to, by `flow/deployment`.
        blocks: The run's account and library, as references; None if one is not saved, and nothing can be linked.
        given: The other parameters of the run.
        flow: The name of the run's flow.
    """

    deployments: Mapping[str, DeploymentResponse] = field(default_factory=dict)
    blocks: Mapping[str, Any] | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    flow: str = ""

    def extend(self, song_id: str | None, label: str = "extend this") -> str | None:
        """A link to the form that extends a song, at the account that made it."""
        return None if song_id is None else self._form(label, EXTEND, {"song_id": song_id}, only=("library",))

    def more(self, label: str = "More like this") -> str | None:
        """A link to the form that this run was started from, with its parameters and another seed."""
        given = {name: value for name, value in self.given.items() if name not in _OWN}
        return self._form(label, _MORE.get(self.flow, ""), given)

    def again(self, label: str, *, failed: bool) -> str | None:
        """A link to the form of a sweep that makes the cells that have no songs.

        Args:
            label: Its text.
            failed: Cells failed at the gateway: they are paid for again.
        """
        given = dict(self.given)
        safety = _set_members(given.pop("safety", None), leave_out=("key",))
        if failed:
            safety["retry_errors"] = True
        # A run without shards stays so: the deployment's own would refuse a review.
        given.setdefault("shards", {"shard_size": DEFAULT_SHARD_SIZE})
        return self._form(label, SWEEP, {**given, "safety": safety} if safety else given)

    def _form(
        self, label: str, deployment: str, parameters: Mapping[str, Any], only: Sequence[str] = _BLOCKS
    ) -> str | None:
        found = self.deployments.get(deployment)
        if found is None or self.blocks is None:
            return None
        # Parameters in a link replace those of the deployment.
        blocks = {name: value for name, value in self.blocks.items() if name in only}
        groups = {name: _set_members(parameters[name]) for name in _GROUPS if parameters.get(name)}
        values = _with_references({**(found.parameters or {}), **parameters, **groups, **blocks})
        if values is None:
            return None
        query = quote(json.dumps(values, separators=(",", ":"), default=str), safe="")
        if len(query) > _LONGEST:
            return None
        return f"**[{label}](../../deployments/deployment/{found.id}/run?parameters={query})**"


NO_LINKS = FormLinks()


async def form_links(*deployments: str) -> FormLinks:
    """The links for pages of the current flow run; none if there is no run, or Prefect cannot be asked."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow is None:
        return NO_LINKS
    stored = {name: value for name, value in context.flow_run.parameters.items() if value is not None}
    blocks = {name: _reference(stored.pop(name)) for name in _BLOCKS if name in stored}
    if None in blocks.values():
        return NO_LINKS
    names = {*deployments, _MORE.get(context.flow.name, "")} - {""}
    found: list[DeploymentResponse | None] = []
    async with shown("Links to forms", "the page is without them"), get_client() as client:
        found = list(await asyncio.gather(*(_deployment(client, name) for name in names)))
    return FormLinks(
        {name: one for name, one in zip(names, found, strict=False) if one is not None},
        blocks,
        stored,
        context.flow.name,
    )


async def _deployment(client: PrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return await client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def _with_references(parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """The parameters with a reference for each block; None if one is not saved: its fields may be secret."""
    found = {name: value for name, value in parameters.items() if value is not None}
    blocks = {name: _reference(found[name]) for name in _BLOCKS if name in found}
    safety = _set_members(found.get("safety"))
    fallbacks = [_reference(one) for one in safety.get("fallbacks", ())]
    if None in blocks.values() or None in fallbacks:
        return None
    if fallbacks:
        found["safety"] = {**safety, "fallbacks": fallbacks}
    return {**found, **blocks}


def _set_members(group: Any, leave_out: Sequence[str] = ()) -> dict[str, Any]:
    """A parameter group without what is not set in it: a form refuses null."""
    members = group.items() if isinstance(group, Mapping) else ()
    return {name: value for name, value in members if value is not None and name not in leave_out}


def _reference(stored: Any) -> dict[str, Any] | None:
    """A saved block as a form refers to it; None for an unsaved one."""
    if not isinstance(stored, dict):
        return None
    if isinstance(stored.get("$ref"), dict):
        return {"$ref": stored["$ref"]}
    saved = stored.get("$ref") or stored.get("_block_document_id")
    return {"$ref": {"block_document_id": str(saved)}} if saved else None
