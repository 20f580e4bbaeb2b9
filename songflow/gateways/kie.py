"""Kie.ai: https://kie.ai. Sells Suno; its keys, credits and songs are its own."""

from __future__ import annotations

from songflow.gateways.dialect import Dialect
from songflow.gateways.kie_suno import kie_suno

# Its page "Generate Music": "call frequency too high".
_CODES = {"405": "429", "430": "429"}

KIE = Dialect(name="kie", base_url="https://api.kie.ai", key_variable="KIE_KEY", services=kie_suno(_CODES))
