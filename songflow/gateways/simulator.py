"""The song simulator: it answers with the paths and the shapes of OpenAI-HK and of ACE-Step, and needs no key."""

from __future__ import annotations

from songflow.gateways.ace_step import ACE_STEP
from songflow.gateways.dialect import Dialect
from songflow.gateways.openai_hk import OPENAI_HK

SIMULATOR = Dialect(
    name="simulator",
    base_url=None,
    key_variable="SONGFLOW_API_KEY",
    services={**OPENAI_HK.services, **ACE_STEP.services},
    key_required=False,
)
