"""The song simulator: it answers with the paths and the shape of OpenAI-HK, and needs no key."""

from __future__ import annotations

from songflow.gateways.dialect import Dialect

SIMULATOR = Dialect(
    name="simulator",
    base_url=None,
    submit_path="/udio/submit/music",
    fetch_path="/udio/fetch/{id}",
    shape="B",
    key_variable="SONGFLOW_API_KEY",
)
