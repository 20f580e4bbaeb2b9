"""The shared fixtures: tests have no packages, so the folder above goes on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.prefect_server import running_prefect_server
from support.reader import reader, serving_processes

__all__ = ["reader", "running_prefect_server", "serving_processes"]
