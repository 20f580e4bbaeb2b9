"""`songflow setup`: create what the deployments need on a Prefect server."""

from __future__ import annotations

import asyncio

from cli.options import Common
from cli.output import Output
from cli.prefect_mode import configured_server, load_prefect, trouble_with
from songflow.errors import InputError

__all__ = ["require_server", "setup"]


def setup(*, notify: str | None = None, overwrite: bool = False, common: Common = Common()) -> None:
    """Prepare a Prefect server for the deployments: blocks, limits, work pool, automations. It may be run again.

    The gateways' keys in the environment are saved as blocks; they are never printed. What is there already is kept.

    Parameters
    ----------
    notify
        A notification block (TYPE/NAME, such as slack-webhook/team) for failed and unknown generations and for
        budgets that are nearly spent.
    overwrite
        Replace saved blocks that differ from the environment.
    """
    output = Output(as_json=common.json, quiet=common.quiet)
    url = require_server()
    steps = asyncio.run(_set_up(output, common, notify, overwrite))
    changed = sum(step["outcome"] in {"made", "changed"} for step in steps)
    if output.as_json:
        output.object({"server": url, "changed": changed, "steps": steps})
        return
    output.line(
        f"{changed} parts were made or changed at {url}." if changed else f"Nothing to change at {url}."
    )
    output.line("Next: `make deploy` (or serve: `python -m deployments.serve`), then `songflow doctor`.")


def require_server() -> str:
    """The address of the Prefect server that is configured and answers.

    Raises:
        InputError: there is none, or it cannot be asked, with what to do about it.
    """
    server = configured_server()
    if server is None:
        raise InputError(
            "No Prefect server is configured: this needs one that stays up.",
            next="run `prefect server start` in another terminal and set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api; songs on the command line need no server.",
        )
    trouble = asyncio.run(trouble_with(server))
    if trouble is not None:
        raise InputError(
            f"The Prefect server at {server.shown} {trouble}.",
            next="start it (`prefect server start`), or correct PREFECT_API_URL.",
        )
    load_prefect()
    return server.shown


async def _set_up(
    output: Output, common: Common, notify: str | None, overwrite: bool
) -> list[dict[str, str]]:
    from deployments.setup import set_up

    steps = []
    async for step in set_up(common.library_settings(), notify_block=notify, overwrite=overwrite):
        steps.append(step.as_dict())
        if not output.as_json:
            output.line(f"{step.outcome:>8}  {step.part}" + (f": {step.note}" if step.note else ""))
    return steps
