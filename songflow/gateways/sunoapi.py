"""sunoapi.org: https://sunoapi.org. Sells Suno through the same API as Kie.ai, with keys of its own."""

from __future__ import annotations

from songflow.gateways.dialect import Dialect
from songflow.gateways.kie_suno import KIE_SUNO

SUNOAPI = Dialect(
    name="sunoapi", base_url="https://api.sunoapi.org", key_variable="SUNOAPI_KEY", services=KIE_SUNO
)
