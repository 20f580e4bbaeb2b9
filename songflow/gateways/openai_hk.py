"""OpenAI-HK: https://www.openai-hk.com. Its documents name two hosts, `api.` and `pi.`, of the same gateway."""

from __future__ import annotations

from songflow.gateways.credit import DASHBOARD
from songflow.gateways.dialect import Dialect
from songflow.gateways.relay_suno import relay_suno
from songflow.gateways.relay_udio import relay_udio

OPENAI_HK = Dialect(
    name="openai-hk",
    base_url="https://api.openai-hk.com",
    key_variable="OPENAI_HK_KEY",
    services={
        **relay_udio("/udio/submit/music", "/udio/fetch/{id}", "B"),
        # Its page "Watermark-Free Suno Music Model", table "Versions & Features".
        **relay_suno(
            ("chirp-v3-5", "chirp-v4", "chirp-auk", "chirp-auk-turbo", "chirp-bluejay", "chirp-crow")
        ),
    },
    hosts=("pi.openai-hk.com",),
    credit=DASHBOARD,
)
