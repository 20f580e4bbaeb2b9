"""The song simulator: it answers with the paths and the shape of OpenAI-HK, and needs no key."""

from __future__ import annotations

from songflow.gateways.dialect import Dialect
from songflow.gateways.relay_udio import relay_udio

SIMULATOR = Dialect(
    name="simulator",
    base_url=None,
    key_variable="SONGFLOW_API_KEY",
    services=relay_udio("/udio/submit/music", "/udio/fetch/{id}", "B"),
)
