"""A gateway that the user configures: a relay that sells Udio, with a base URL, two paths and a shape."""

from __future__ import annotations

import re

from songflow.gateways.dialect import Dialect, check_base_url
from songflow.gateways.relay_udio import FETCH_PATH, SHAPE, SHAPES, SUBMIT_PATH, relay_udio

__all__ = ["FETCH_PATH", "FETCH_PATHS", "SHAPE", "SUBMIT_PATH", "custom_dialect"]

FETCH_PATHS = (FETCH_PATH, "/udio/query?ids={ids}")
"""Examples: one id in the path, several in the query."""


def custom_dialect(base_url: str, submit_path: str, fetch_path: str, shape: str) -> Dialect:
    """Describe a custom gateway.

    Raises:
        ValueError: names the setting that is wrong.
    """
    for name, path in (("submit_path", submit_path), ("fetch_path", fetch_path)):
        if not re.fullmatch(r"/[!-~]*", path) or "#" in path:
            raise ValueError(f"{name} must be a path such as {SUBMIT_PATH}, not {path!r}")
    if fetch_path.count("{id}") + fetch_path.count("{ids}") != 1:
        raise ValueError(f"fetch_path must hold {{id}} or {{ids}} once, as in {' or '.join(FETCH_PATHS)}")
    for known in SHAPES:
        if known == shape.strip().upper():
            services = relay_udio(submit_path, fetch_path, known)
            return Dialect("custom", check_base_url(base_url), "SONGFLOW_API_KEY", services)
    raise ValueError(f"shape must be one of {', '.join(SHAPES)}, not {shape!r}")
