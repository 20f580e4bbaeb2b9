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
        # Its page "Suno API Scenario Application Guide" names chirp-auk and chirp-v4, and its announcement "CometAPI
        # Now Supports Suno v5" chirp-crow. The other two are taken to be sold as well: there is no list.
        **relay_suno(("chirp-v3-5", "chirp-v4", "chirp-auk", "chirp-bluejay", "chirp-crow")),
    },
)
