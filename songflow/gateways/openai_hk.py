"""OpenAI-HK: https://www.openai-hk.com. Its documents name two hosts, `api.` and `pi.`, of the same gateway."""

from __future__ import annotations

from songflow.gateways.dialect import Dialect
from songflow.gateways.relay_udio import relay_udio

OPENAI_HK = Dialect(
    name="openai-hk",
    base_url="https://api.openai-hk.com",
    key_variable="OPENAI_HK_KEY",
    services=relay_udio("/udio/submit/music", "/udio/fetch/{id}", "B"),
    hosts=("pi.openai-hk.com",),
)
