"""Fixtures that these tests share with others."""

from support.commands import prefect_fork_server, program
from support.prefect_server import prefect_server, running_prefect_server
from support.songs import studio

__all__ = ["prefect_fork_server", "prefect_server", "program", "running_prefect_server", "studio"]
