"""CometAPI: https://www.cometapi.com. Its fetch takes song ids or the generation's id, several at once."""

from __future__ import annotations

from songflow.gateways.credit import CreditQuery, data_number
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
    # Its page "Query Quota": {"username", "total_quota" (USD), "total_used_quota", "request_count", "keys"}. It does
    # not say whether the total is what is left, like the relay's own `quota`, or all that was ever paid in.
    credit=CreditQuery(
        paths=("/user/quota?key={key}",),
        read=data_number("total_quota"),
        unit="USD",
        host="https://query.cometapi.com",
    ),
)
