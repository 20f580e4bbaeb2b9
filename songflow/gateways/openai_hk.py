"""OpenAI-HK: https://www.openai-hk.com. Its documents name two hosts, `api.` and `pi.`, of the same gateway."""

from __future__ import annotations

from songflow.gateways.dialect import Dialect

OPENAI_HK = Dialect(
    name="openai-hk",
    base_url="https://api.openai-hk.com",
    submit_path="/udio/submit/music",
    fetch_path="/udio/fetch/{id}",
    shape="B",
    key_variable="OPENAI_HK_KEY",
    hosts=("pi.openai-hk.com",),
)
