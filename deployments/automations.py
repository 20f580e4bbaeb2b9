"""Automations that `songflow setup` creates in Prefect.

A third one, "Songflow: show trouble in Prefect", belongs to the deployment `attention` in `prefect.yaml`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from deployments.definitions import HEARTBEAT_SECONDS

__all__ = ["CRASH_ZOMBIES", "NOTIFY", "TAG", "TROUBLE", "crash_zombies", "install", "notify"]

TAG = "songflow"
"""Tag of every deployment, inherited by its runs and their events."""

CRASH_ZOMBIES = "Songflow: mark runs whose process died as crashed"
NOTIFY = "Songflow: send trouble to a notification block"
_FORMER_NAMES = {CRASH_ZOMBIES: "songflow: crash zombie runs", NOTIFY: "songflow: notify of trouble"}

TROUBLE = frozenset(
    {
        "songflow.generation.unknown",
        "songflow.generation.failed",
        "songflow.generation.lost",
        "songflow.generation.refused",
        "songflow.budget.nearly-spent",
        "songflow.budget.used-up",
        "songflow.account.credit-low",
    }
)
"""Events that notify a person; `prefect.yaml` lists the same."""

_HEARTBEAT = "prefect.flow-run.heartbeat"
# States after which no heartbeat is expected. Without Suspended and AwaitingRetry, a run whose process ended as it
# should would count as a zombie.
_AT_REST = (
    "Completed",
    "Failed",
    "Cancelled",
    "Crashed",
    "Suspended",
    "Paused",
    "AwaitingRetry",
    "Scheduled",
)
# Three heartbeats may be late or lost before a run counts as dead.
_SILENCE = timedelta(seconds=4 * HEARTBEAT_SECONDS)


def crash_zombies(silence: timedelta = _SILENCE) -> AutomationCore:
    """Mark a run as Crashed if its heartbeats stop, because its process vanished together with its worker."""
    return AutomationCore(
        name=CRASH_ZOMBIES,
        description="A run of Songflow that has not been heard of for a while is marked as crashed. What it paid "
        "for is collected by the deployment `rescue`.",
        trigger=EventTrigger(
            after={_HEARTBEAT},
            expect={_HEARTBEAT, *(f"prefect.flow-run.{state}" for state in _AT_REST)},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.id": f"prefect.tag.{TAG}"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"Nothing was heard of this run for {silence.total_seconds():.0f} s. What it paid for is "
                "not lost: `songflow rescue`, or the deployment rescue, collects it.",
            )
        ],
    )


def notify(block_document_id: UUID) -> AutomationCore:
    """Send a message through a notification block for each event in `TROUBLE`."""
    return AutomationCore(
        name=NOTIFY,
        description="Sends what a person should know of: an unknown or failed generation, a budget that is "
        "nearly spent.",
        trigger=EventTrigger(expect=set(TROUBLE), posture=Posture.Reactive, threshold=1),
        actions=[
            SendNotification(
                block_document_id=block_document_id,
                subject="{{ event.event }}",
                body="{{ event.payload.said }}\n\nNext: {{ event.payload.next }}\n\n{{ event.resource.id }}",
            )
        ],
    )


async def install(client: PrefectClient, wanted: AutomationCore) -> Literal["made", "changed", "kept"]:
    """Create an automation, or update the one with its name, or with the name that an older version gave it.

    A disabled one stays disabled.
    """
    found = await client.read_automations_by_name(wanted.name)
    if not found and wanted.name in _FORMER_NAMES:
        found = await client.read_automations_by_name(_FORMER_NAMES[wanted.name])
    if not found:
        await client.create_automation(wanted)
        return "made"
    current = found[0]
    if _essence(current) == _essence(wanted):
        return "kept"
    await client.update_automation(current.id, wanted.model_copy(update={"enabled": current.enabled}))
    return "changed"


def _essence(automation: AutomationCore) -> dict[str, object]:
    """The parts of an automation to compare, without the ids that the server adds to its trigger."""
    fields = automation.model_dump(mode="json", include={"name", "description", "trigger", "actions"})
    trigger = {
        name: sorted(value) if isinstance(value, list) else value
        for name, value in fields["trigger"].items()
        if name != "id"
    }
    return {**fields, "trigger": trigger}
