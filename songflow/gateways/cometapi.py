"""CometAPI: https://www.cometapi.com. Its fetch takes song ids or the generation's id, several at once."""

from __future__ import annotations

from songflow.gateways.dialect import Dialect

COMETAPI = Dialect(
    name="cometapi",
    base_url="https://api.cometapi.com",
    submit_path="/udio/generate-proxy",
    fetch_path="/udio/query?ids={ids}",
    shape="A",
    key_variable="COMETAPI_KEY",
)
