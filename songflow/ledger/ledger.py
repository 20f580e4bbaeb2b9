"""The open ledger: one attribute for each group of transactions."""

from __future__ import annotations

from sqlalchemy import URL

from songflow.ledger.choices import Choices
from songflow.ledger.engine import Database
from songflow.ledger.finished import FinishedCopies
from songflow.ledger.hints import Hints
from songflow.ledger.judgements import Judgements
from songflow.ledger.key_summaries import KeySummaries
from songflow.ledger.measures import SongMeasures
from songflow.ledger.money import Money
from songflow.ledger.pace import Pace
from songflow.ledger.restore import Restore
from songflow.ledger.songs import Songs
from songflow.ledger.submissions import Submissions

__all__ = ["Ledger"]


class Ledger:
    """One open ledger, to be used as an async context manager in one event loop.

    Args:
        url: The database's.
        reads_only: Nothing will be written: a file that may only be read is enough.

    Attributes:
        submissions: Submissions and their state changes.
        songs: The takes of each generation and their files.
        money: Budgets, and the pause of spending.
        pace: The submit rate of accounts that were rate-limited.
        restore: Rows rebuilt from the metadata of song files.
        choices: The takes that recipes continue from.
        finished: Finished copies of songs.
        judgements: What people say of songs.
        key_summaries: Summaries of many request keys.
        measures: What stored songs sound like.

    Raises:
        LibraryError: on entering, if the database cannot be used; nothing is changed then.
    """

    def __init__(self, url: URL, *, reads_only: bool = False) -> None:
        self.database = Database(url, reads_only=reads_only)
        self.submissions = Submissions(self.database)
        self.songs = Songs(self.database)
        self.money = Money(self.database)
        self.pace = Pace(self.database)
        self.restore = Restore(self.database)
        self.choices = Choices(self.database)
        self.hints = Hints(self.database)
        self.finished = FinishedCopies(self.database)
        self.judgements = Judgements(self.database)
        self.key_summaries = KeySummaries(self.database)
        self.measures = SongMeasures(self.database)

    async def __aenter__(self) -> Ledger:
        await self.database.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.database.close()
