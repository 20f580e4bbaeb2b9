"""Serve every deployment from one process, without a worker or a work pool, for example on a laptop.

prefect server start          # in one terminal
python -m deployments.serve   # in another
"""

from __future__ import annotations

from prefect import serve

from deployments.definitions import HEARTBEAT_SECONDS, served

__all__ = ["main"]

AT_ONCE = 10


def main() -> None:
    """Serve until Ctrl-C; runs execute with this process's environment and folder."""
    serve(*served(), limit=AT_ONCE, heartbeat_seconds=HEARTBEAT_SECONDS)


if __name__ == "__main__":
    main()
