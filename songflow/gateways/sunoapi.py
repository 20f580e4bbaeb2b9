"""sunoapi.org: https://sunoapi.org. Sells Suno through the same API as Kie.ai, with keys of its own."""

from __future__ import annotations

from songflow.gateways.credit import CreditQuery, data_number
from songflow.gateways.dialect import Dialect
from songflow.gateways.kie_suno import kie_suno, read_callback

# Its page "Get Remaining Credits": "rate limit exceeded", "insufficient credits", "call frequency is too high".
_CODES = {"405": "429", "429": "402", "430": "429"}

SUNOAPI = Dialect(
    name="sunoapi",
    base_url="https://api.sunoapi.org",
    key_variable="SUNOAPI_KEY",
    services=kie_suno(_CODES),
    # Its page "Get Remaining Credits": {"code", "msg", "data": 100}.
    credit=CreditQuery(paths=("/api/v1/generate/credit",), read=data_number(), unit="credits"),
    read_callback=read_callback,
)
