"""Songflow's events in Prefect, for automations: `songflow.song.stored`, `songflow.generation.unknown`, ...

The list and the payloads are those of `songflow.events`. Every event's resource is `songflow.generation.<key>` or
`songflow.budget.<scope>`; Prefect adds the flow run, its deployment and its tags as related resources. An event is
handed to Prefect's own background queue: it neither blocks a song nor fails it.
"""

from __future__ import annotations

from prefect.events import emit_event
from prefect.settings import PREFECT_API_URL

from songflow.events import Notice
from tasks.wording import worded

__all__ = ["PREFIX", "emit"]

PREFIX = "songflow"


def emit(notice: Notice) -> None:
    """Emit a notice as an event if a Prefect server is configured; without one, Prefect would start a server for it."""
    if not PREFECT_API_URL.value():
        return
    name = notice.facts.get("title") or notice.about
    emit_event(
        event=f"{PREFIX}.{notice.kind}",
        resource={
            "prefect.resource.id": f"{PREFIX}.{notice.about}",
            "prefect.resource.name": str(name),
            **_label("gateway", notice),
            **_label("key", notice),
        },
        payload={**notice.facts, **_texts(notice)},
    )


def _texts(notice: Notice) -> dict[str, str]:
    return {name: worded(str(notice.facts[name])) for name in ("said", "next") if notice.facts.get(name)}


def _label(name: str, notice: Notice) -> dict[str, str]:
    """A value that automations may match on."""
    value = notice.facts.get(name)
    return {} if value is None else {f"{PREFIX}.{name}": str(value)}
