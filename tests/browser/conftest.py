"""The shared fixtures: tests have no packages, so the folder above goes on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.browser import browser, images, page
from support.prefect_server import prefect_server, running_prefect_server
from support.songs import studio

__all__ = ["browser", "images", "page", "prefect_server", "running_prefect_server", "studio"]
