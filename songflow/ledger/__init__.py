"""The ledger: the SQL record of every paid request and its outcome."""

from songflow.ledger.ledger import Ledger
from songflow.ledger.rows import Generation, Intent, RequestKind, RunIds, Song, StoredFile, Submission, Timing
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
