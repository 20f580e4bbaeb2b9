"""How long generations take: by the ledger's history, else as gateways publish it, else as the simulator is built."""

from __future__ import annotations

from songflow.accounts import Access
from songflow.generation.session_settings import EMBEDDED_SPEED
from songflow.ledger.key_summaries import KeySummaries
from songflow.polling.durations import TYPICAL_SECONDS
from songflow.simulator.settings import MODEL_SECONDS

__all__ = ["expected_seconds", "rendering_seconds", "usual_seconds"]

_TAKES = 2
_RENDERING = 0.03
"""Seconds of this machine's work for one second of simulated music, measured on two cores."""


async def expected_seconds(ledger: KeySummaries | None, access: Access, model_type: str, mode: str) -> float:
    """Seconds that one generation takes; `ledger` is None if there is no library yet."""
    known = None if ledger is None else await ledger.typical_seconds(access.gateway, model_type, mode)
    if known is not None:
        return known
    return usual_seconds(access, model_type)


def usual_seconds(access: Access, model_type: str) -> float:
    """Seconds that one generation takes without any history."""
    if not access.is_embedded:
        return TYPICAL_SECONDS
    return max(TYPICAL_SECONDS / EMBEDDED_SPEED, rendering_seconds(access, model_type))


def rendering_seconds(access: Access, model_type: str) -> float:
    """Seconds in which this machine renders one generation, whatever else runs at once: 0 for a real gateway."""
    if not access.is_embedded:
        return 0.0
    return MODEL_SECONDS[model_type] * _TAKES * _RENDERING
