"""Serve every deployment from one process, without a worker or a work pool, for example on a laptop.

prefect server start          # in one terminal
python -m deployments.serve   # in another
"""

from __future__ import annotations

import asyncio
import sys

from prefect import get_client, serve
from prefect.settings import PREFECT_API_URL

from deployments.definitions import HEARTBEAT_SECONDS, served
from songflow.runtime.programs import as_typed

__all__ = ["main"]

AT_ONCE = 10


def main() -> None:
    """Serve until Ctrl-C; runs execute with this process's environment and folder."""
    if (trouble := server_trouble()) is not None:
        start = as_typed("run `prefect server start` in another terminal")
        sys.exit(
            f"songflow: {trouble} Next: {start}, and set PREFECT_API_URL=http://127.0.0.1:4200/api here."
        )
    serve(*served(), limit=AT_ONCE, heartbeat_seconds=HEARTBEAT_SECONDS)


def server_trouble() -> str | None:
    """Why no Prefect server can be used, as a sentence; None if one answers."""
    url = PREFECT_API_URL.value()
    if url is None:
        return "No Prefect server is configured."

    async def ask() -> Exception | None:
        async with get_client() as client:
            return await client.api_healthcheck()

    error = asyncio.run(ask())
    return None if error is None else f"The Prefect server at {url} does not answer ({type(error).__name__})."


if __name__ == "__main__":
    main()
