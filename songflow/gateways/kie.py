"""Kie.ai: https://kie.ai. Sells Suno; its keys, credits and songs are its own."""

from __future__ import annotations

from songflow.gateways.dialect import Dialect
from songflow.gateways.kie_suno import KIE_SUNO

KIE = Dialect(name="kie", base_url="https://api.kie.ai", key_variable="KIE_KEY", services=KIE_SUNO)
