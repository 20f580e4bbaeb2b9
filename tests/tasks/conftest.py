"""Fixtures that these tests share with others."""

from support.prefect_server import prefect_server, running_prefect_server
from support.songs import studio

__all__ = ["prefect_server", "running_prefect_server", "studio"]
