"""Fixtures that these tests share with others."""

from support.prefect_server import running_prefect_server
from support.reader import reader, serving_processes

__all__ = ["reader", "running_prefect_server", "serving_processes"]
