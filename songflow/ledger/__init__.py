"""The ledger: the SQL tables that are the truth about what was paid for and what became of it."""

from songflow.ledger.ledger import Ledger
from songflow.ledger.rows import Generation, Intent, RunIds, Song, StoredFile, Submission
from songflow.ledger.states import RULES, Billed, SongState, State

__all__ = [
    "RULES",
    "Billed",
    "Generation",
    "Intent",
    "Ledger",
    "RunIds",
    "Song",
    "SongState",
    "State",
    "StoredFile",
    "Submission",
]
