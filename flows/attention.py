"""The flow that reports trouble in Prefect's UI, without any other service."""

# Without `from __future__ import annotations`: Prefect would evaluate them where `fields` is something else.
import hashlib
from typing import Annotated

from prefect import runtime
from prefect.artifacts import acreate_markdown_artifact
from prefect.logging import get_run_logger

from flows import fields
from flows.song_flow import song_flow
from tasks.runs import short
from tasks.ui.markdown import escape

__all__ = ["attention"]

EventName = Annotated[
    str, fields.described("Event", "The event, such as songflow.generation.unknown.", min_length=1)
]
Happened = Annotated[str, fields.described("What happened", "In one sentence.")]
Next = Annotated[str, fields.described("What to do next", "The command to run or the decision to make.")]
About = Annotated[str, fields.described("About", "The generation or the budget concerned.")]


def _run_name() -> str:
    parameters = runtime.flow_run.parameters
    return short(f"{parameters.get('event')}: {parameters.get('about')}")


@song_flow("attention", _run_name, moved={})
async def attention(event: EventName, happened: Happened = "", next: Next = "", about: About = "") -> None:
    """Report what needs your attention: an **unknown** or failed generation, or a budget that is nearly spent.

    An automation starts it for each such event. It changes nothing and costs nothing; what happened, and what to do,
    is in its artifact and its log. To be notified elsewhere (Slack, mail, ...), name a notification block:
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
