"""The ledger: the SQL record of every paid request and its outcome.

The public names are loaded when they are first used: the spool and leases need no SQLAlchemy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from songflow.ledger.ledger import Ledger
    from songflow.ledger.rows import (
        Generation,
        Intent,
        RequestKind,
        RunIds,
        Song,
        StoredFile,
        Submission,
        Timing,
    )
    from songflow.ledger.states import RULES, Billed, SongState, State

__all__ = [
    "RULES",
    "Billed",
    "Generation",
    "Intent",
    "Ledger",
    "RequestKind",
    "RunIds",
    "Song",
    "SongState",
    "State",
    "StoredFile",
    "Submission",
    "Timing",
]

_HOMES = {"Ledger": "ledger", **dict.fromkeys(("RULES", "Billed", "SongState", "State"), "states")}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'rows')}"), name)
