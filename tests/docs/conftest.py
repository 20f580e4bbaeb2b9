"""Fixtures shared with other folders."""

from support.prefect_server import running_prefect_server
from support.reader import reader, serving_processes

__all__ = ["reader", "running_prefect_server", "serving_processes"]
