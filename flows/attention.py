"""The flow that tells a person of trouble, in Prefect's own UI: it needs no other service."""

# Without `from __future__ import annotations`: Prefect would evaluate them where `fields` is something else.
import hashlib

from prefect import flow, runtime
from prefect.artifacts import acreate_markdown_artifact
from prefect.logging import get_run_logger

from flows import fields
from tasks.runs import short
from tasks.ui.markdown import escape

__all__ = ["attention"]


def _run_name() -> str:
    parameters = runtime.flow_run.parameters
    return short(f"{parameters.get('event')}: {parameters.get('about')}")


@flow(name="attention", flow_run_name=_run_name, persist_result=False)
async def attention(
    event: fields.EventName, happened: fields.Happened = "", next: fields.Next = "", about: fields.About = ""
) -> None:
    """Shows what a person should know of: an **unknown** or failed generation, a budget that is nearly spent.

    An automation starts it for each such event. It asks nobody, changes nothing and costs nothing; what it says is
    on this page's artifact, and in the log. To be told elsewhere (Slack, mail, ...), name a notification block:
    `songflow setup --notify slack-webhook/team`.
    """
    get_run_logger().warning("%s: %s Next: %s", event, happened, next)
    await acreate_markdown_artifact(
        "\n\n".join(
            [f"# {escape(event)}", escape(happened, 1000), f"**Next:** {escape(next, 1000)}", escape(about)]
        ),
        key=f"attention-{hashlib.sha256(about.encode()).hexdigest()[:12]}",
        description=escape(happened, 200),
    )
