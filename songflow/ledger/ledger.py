"""The open ledger."""

from __future__ import annotations

from sqlalchemy import URL

from songflow.ledger.choices import Choices
from songflow.ledger.engine import Database
from songflow.ledger.key_summaries import Standings
from songflow.ledger.money import Money
from songflow.ledger.pace import Pace
from songflow.ledger.restore import Restoring
from songflow.ledger.songs import Songs
from songflow.ledger.submissions import Submissions

__all__ = ["Ledger"]


class Ledger:
    """One open ledger: `submissions` is the paid step, `songs` what came of it, `money` what it cost, `pace` how fast,
    `choices` with which takes a recipe goes on, `standings` how many keys stand at once.

    `restoring` makes rows from songs' own stories.

    Use it as an async context manager, in one event loop.

    Raises:
        LibraryError: from `open`, when the database cannot be used; nothing was changed then.
    """

    def __init__(self, url: URL) -> None:
        self.database = Database(url)
        self.submissions = Submissions(self.database)
        self.songs = Songs(self.database)
        self.money = Money(self.database)
        self.pace = Pace(self.database)
        self.restoring = Restoring(self.database)
        self.choices = Choices(self.database)
        self.standings = Standings(self.database)

    async def __aenter__(self) -> Ledger:
        await self.database.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.database.close()
