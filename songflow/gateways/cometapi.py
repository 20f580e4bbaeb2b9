"""CometAPI: https://www.cometapi.com. Its fetch takes song ids or the generation's id, several at once."""

from __future__ import annotations

from songflow.gateways.dialect import Dialect
from songflow.gateways.relay_suno import relay_suno
from songflow.gateways.relay_udio import relay_udio

COMETAPI = Dialect(
    name="cometapi",
    base_url="https://api.cometapi.com",
    key_variable="COMETAPI_KEY",
    services={
        **relay_udio("/udio/generate-proxy", "/udio/query?ids={ids}", "A"),
        # Its documents name these; chirp-crow is in the announcement "CometAPI Now Supports Suno v5".
        **relay_suno(("chirp-v3-5", "chirp-v4", "chirp-auk", "chirp-bluejay", "chirp-crow")),
    },
)
