"""Kie.ai: https://kie.ai. Sells Suno; its keys, credits and songs are its own."""

from __future__ import annotations

from songflow.gateways.credit import CreditQuery, data_number
from songflow.gateways.dialect import Dialect
from songflow.gateways.kie_suno import kie_suno, read_callback

# Its page "Generate Music": "call frequency too high".
_CODES = {"405": "429", "430": "429"}

KIE = Dialect(
    name="kie",
    base_url="https://api.kie.ai",
    key_variable="KIE_KEY",
    services=kie_suno(_CODES),
    # Its page "Get Remaining Credits": {"code", "msg", "data": 100}.
    credit=CreditQuery(paths=("/api/v1/chat/credit",), read=data_number(), unit="credits"),
    read_callback=read_callback,
)
