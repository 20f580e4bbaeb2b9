"""The crew of a recipe: who makes its generations and asks its questions, and the orders that it is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from songflow.accounts import Access
from songflow.errors import SongflowError
from songflow.families.family import Request
from songflow.families.registry import check_start, starts_in_seconds
from songflow.generation.extensions import find_parent
from songflow.generation.policy import PayingPolicy
from songflow.generation.session import Session
from songflow.recipes.answers import Answer, Question
from songflow.recipes.branches import Branch
from songflow.recipes.model import Step

__all__ = ["Crew", "Order", "Orders", "Place"]


@dataclass(frozen=True, slots=True)
class Order:
    """One generation to make.

    Attributes:
        path: Its place in the recipe's tree.
        key: Its request key.
        request: What to make.
        accounts: Who may take it, in order: the caller's for the core, then only the account that took the core.
        again: True for a further pair: the same request was made before, on purpose.
    """

    path: str
    key: str
    request: Request
    accounts: Sequence[Access]
    again: bool = False

    def policy(self, given: PayingPolicy) -> PayingPolicy:
        """The caller's policy, with this order's fallbacks; a further pair does not stop at the first one."""
        if_unsettled = "new" if self.again else given.if_unsettled
        return replace(given, if_unsettled=if_unsettled, fallbacks=tuple(self.accounts[1:]))


class Crew(Protocol):
    """Makes the generations of a recipe and asks its questions: plain Python, Prefect's tasks, or a command line."""

    async def make(self, order: Order) -> None:
        """Make one generation and store its takes, or collect it by its key. Raises SongflowError."""

    async def ask(self, question: Question) -> Answer:
        """Let a person choose. Raises ChoiceNeeded if nobody can be waited for."""


@dataclass(frozen=True, slots=True)
class Place:
    """A step at one branch of the tree."""

    step: Step
    branch: Branch

    @property
    def key(self) -> str:
        """The request key of the step here."""
        return self.branch.key


class Orders:
    """Gives a crew the orders of one recipe run.

    Attributes:
        accounts: Who may take the next orders, in order.
    """

    def __init__(self, session: Session, crew: Crew, base: str, accounts: Sequence[Access]) -> None:
        self.accounts = tuple(accounts)
        self._session = session
        self._crew = crew
        self._base = base

    async def make(self, place: Place, key: str | None = None, *, again: bool = False) -> None:
        """Have a place's generation made, under its own key or under that of a further pair (`again`).

        Raises:
            SongflowError: its message names the step, and its key is that of the whole song.
        """
        request, key = place.step.request, key or place.key
        with _named_after(place):
            if place.branch.song_id is not None:
                request = await self._continued(request, place.branch.song_id)
            order = Order(key.removeprefix(f"{self._base}:"), key, request, self.accounts, again)
            await self._crew.make(order)

    async def _continued(self, request: Request, song_id: str) -> Request:
        """The request of a step with the song that it extends in place of the recipe's placeholder.

        Raises:
            InvalidRequest: it would begin behind the song's end, or add nothing to it.
        """
        if request.source_generation_field is None and not starts_in_seconds(request.model_type):
            return request.with_source(song_id, None)
        parent = await find_parent(self._session, song_id, self.accounts[0])
        check_start(request, parent.seconds)
        return request.with_source(song_id, parent.submission.generation_id)

    async def ask(self, question: Question) -> Answer:
        """Let a person choose."""
        return await self._crew.ask(question)


@contextmanager
def _named_after(place: Place) -> Iterator[None]:
    """Rewrite a step's error for the whole song: which step failed, and the key to continue with."""
    try:
        yield
    except SongflowError as error:
        failed = error.key or place.key
        ours = failed.startswith(f"{place.branch.base}:")
        # A twin is the same step of another run.
        whole = place.branch.base if ours else failed.removesuffix(f":{place.branch.path}")
        error.message = f"{place.branch.path}: {error.message}"
        error.next = error.next and error.next.replace(f"--key {failed}", f"--key {whole}")
        error.key = whole
        raise
