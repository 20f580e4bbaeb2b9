"""The ledger: the SQL tables that are the truth about what was paid for and what became of it."""

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
