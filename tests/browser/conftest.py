"""Fixtures that these tests share with others."""

from support.browser import beside, browser, images, page
from support.manifests import manifest
from support.prefect_server import prefect_server, running_prefect_server
from support.songs import studio

__all__ = [
    "beside",
    "browser",
    "images",
    "manifest",
    "page",
    "prefect_server",
    "running_prefect_server",
    "studio",
]
