"""A gateway that is configured by the user: a base URL, two paths and a shape."""

from __future__ import annotations

import re

from songflow.gateways.dialect import SHAPES, Dialect, check_base_url

__all__ = ["custom_dialect"]


def custom_dialect(base_url: str, submit_path: str, fetch_path: str, shape: str) -> Dialect:
    """Describe a custom gateway; ValueError says which setting is wrong."""
    for name, path in (("submit_path", submit_path), ("fetch_path", fetch_path)):
        if not re.fullmatch(r"/[!-~]*", path) or "#" in path:
            raise ValueError(f"{name} must be a path such as /udio/submit, not {path!r}")
    if fetch_path.count("{id}") + fetch_path.count("{ids}") != 1:
        raise ValueError(
            "fetch_path must hold {id} or {ids} once, as in /udio/fetch/{id} or /udio/query?ids={ids}"
        )
    for known in SHAPES:
        if known == shape.strip().upper():
            url = check_base_url(base_url)
            return Dialect("custom", url, submit_path, fetch_path, known, key_variable="SONGFLOW_API_KEY")
    raise ValueError(f"shape must be one of {', '.join(SHAPES)}, not {shape!r}")
